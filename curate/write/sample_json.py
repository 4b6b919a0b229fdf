"""The json of samples, a column at a time: byte by byte what `json.dumps(sample, ensure_ascii=False)` writes.

orjson writes strings as the standard library does, and these it writes here. It does not write whole samples: there it
leaves out the space behind `,` and `:`, and has 1e16 for 1e+16, and files that were written before would differ.
"""

from __future__ import annotations

import base64
import json
import math
from itertools import pairwise
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc

_BYTES = pa.large_binary()
_json = json.JSONEncoder(ensure_ascii=False, allow_nan=False).encode


def sample_json(samples: pa.Table) -> list[memoryview]:
    """The json of each row: an object of its columns, in UTF-8; null for NaN and infinities, which are no JSON.

    Raises:
        pyarrow.ArrowInvalid: for a string that is not UTF-8.
    """
    parts: list[pa.Array | pa.Scalar] = []
    before = "{"
    for name, column in zip(samples.column_names, samples.columns, strict=True):
        parts += [pa.scalar(f"{before}{_json(name)}: ".encode(), _BYTES), _texts(column)]
        before = ", "
    joined = pc.binary_join_element_wise(*parts, pa.scalar(b"}", _BYTES), pa.scalar(b"", _BYTES))
    return values_of(joined.cast(pa.large_string()))


def values_of(strings: pa.Array) -> list[memoryview]:
    """The bytes of each of an array's strings, none of which is null; they are not copied."""
    text, offsets = _buffers(strings.cast(_BYTES))
    whole = text.data
    return [whole[start:stop] for start, stop in pairwise(offsets.tolist())]


def _buffers(strings: pa.Array) -> tuple[np.ndarray, np.ndarray]:
    """Bytes of all strings of a large_binary array, and where each begins in them, and the last one's end (int64)."""
    _, offsets, text = strings.buffers()
    places = np.frombuffer(offsets, np.int64)[strings.offset : strings.offset + len(strings) + 1]
    return np.frombuffer(text or b"", np.uint8), places


def _texts(column: pa.ChunkedArray) -> pa.Array:
    """A column's values as JSON, as large_binary."""
    kind = column.type
    if pa.types.is_null(kind):
        return pa.repeat(pa.scalar(b"null", _BYTES), len(column))
    values = column.combine_chunks()
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        texts = _quoted(values.cast(_BYTES))
    elif pa.types.is_floating(kind):
        texts = _numbers(values)
    elif pa.types.is_integer(kind) or pa.types.is_boolean(kind):
        texts = values.cast(pa.large_string()).cast(_BYTES)
    else:
        plain = [_json(plain_value(value)) for value in values.to_pylist()]
        texts = pa.array([text.encode("utf-8", "replace") for text in plain], _BYTES)
    return pc.fill_null(texts, pa.scalar(b"null", _BYTES))


def _quoted(values: pa.Array) -> pa.Array:
    mark, nothing = pa.scalar(b'"', _BYTES), pa.scalar(b"", _BYTES)
    quoted = pc.binary_join_element_wise(mark, values, mark, nothing)
    odd = _odd(values)
    if not odd.any():
        return quoted
    mask = pa.array(odd)
    escaped = [orjson.dumps(text.decode()) for text in values.filter(mask).to_pylist()]
    return pc.replace_with_mask(quoted, mask, pa.array(escaped, _BYTES))


def _odd(values: pa.Array) -> np.ndarray:
    """Which strings hold a character that JSON escapes: a quotation mark, a backslash, a control character."""
    text, places = _buffers(values)
    odd = np.zeros(len(values), bool)
    first = places[0]
    text = text[first : places[-1]]
    at = np.flatnonzero((text < 0x20) | (text == 0x22) | (text == 0x5C))
    odd[np.searchsorted(places, at + first, "right") - 1] = True
    return odd


def _numbers(values: pa.Array) -> pa.Array:
    numbers = values.cast(pa.float64())
    doubles = numbers.to_numpy(zero_copy_only=False)  # NaN for null
    texts = list(map(repr, doubles.tolist()))
    return pa.array(texts, pa.large_string(), mask=~np.isfinite(doubles)).cast(_BYTES)


def plain_value(value: Any) -> Any:
    """A value as JSON has it: bytes as base64, dates and decimals as text, lists and objects as such.

    >>> plain_value({"box": [0.5, float("nan")], "data": b"x"})
    {'box': [0.5, None], 'data': 'eA=='}
    """
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        # Strict readers refuse the NaN that Python would write.
        return value if math.isfinite(value) else None
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    if isinstance(value, dict):
        return {str(name): plain_value(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [plain_value(inner) for inner in value]
    return value.isoformat() if hasattr(value, "isoformat") else str(value)
