"""Arrow strings as the numpy arrays that compiled loops take."""

from __future__ import annotations

import numpy as np
import pyarrow as pa


def string_array(texts: pa.Array) -> pa.Array:
    """The same strings as a string or large_string array, without a copy where they are one."""
    kind = texts.type
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        return texts
    inner = kind.value_type if pa.types.is_dictionary(kind) else kind
    if pa.types.is_null(inner) or pa.types.is_string_view(inner) or pa.types.is_string(inner):
        return texts.cast(pa.string())
    if pa.types.is_large_string(inner):
        return texts.cast(pa.large_string())
    raise TypeError(f"expected an Arrow array of strings, got {kind}")


def string_buffers(texts: pa.Array) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(uint8 data, int64 offsets[n+1] of the slice, uint8 validity bitmap or empty), as views where possible."""
    validity, offsets, data = texts.buffers()
    width = np.int64 if pa.types.is_large_string(texts.type) else np.int32
    if len(texts) == 0 or offsets is None:
        bounds = np.zeros(len(texts) + 1, np.int64)
    else:
        bounds = np.frombuffer(offsets, width)[texts.offset : texts.offset + len(texts) + 1].astype(np.int64)
    bounds.setflags(write=False)
    has_nulls = validity is not None and texts.null_count > 0
    return _bytes(data), bounds, _bytes(validity if has_nulls else None)


def _bytes(buffer: pa.Buffer | None) -> np.ndarray:
    if buffer is None or buffer.size == 0:
        empty = np.empty(0, np.uint8)
        empty.setflags(write=False)
        return empty
    view = np.frombuffer(buffer, np.uint8)
    view.setflags(write=False)
    return view
