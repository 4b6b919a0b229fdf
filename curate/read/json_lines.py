"""Lines of JSON objects: by Arrow's reader as columns where it reads them as `json_rows` does, else one by one.

Arrow is told every column's type and takes no other. It refuses a value of another kind, a name that is new or occurs
twice, a number beyond its type, half a character, and what is no JSON. What it takes and yet reads otherwise is told
here: several objects on a line, and doubles that may be whole numbers in the text.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

import numpy as np
import pyarrow as pa
from pyarrow import json as arrow_json

from curate.messages.remarks import Remarks
from curate.read import json_rows
from curate.read.json_documents import Row
from curate.read.json_types import EXACT_DOUBLE
from curate.record import MALFORMED

#: Bytes of lines that are given to Arrow at once: the most, and the fewest, which are read one by one where it refuses.
MOST_BYTES = 4 << 20
LEAST_BYTES = 64 << 10


def rows(block: bytes, number: int, remarks: Remarks) -> Iterator[Row]:
    """(line, row) of each line that is not blank; {MALFORMED: text} of one that is no object."""
    exact = json_rows.is_exact(block)
    for place, line in enumerate(block.split(b"\n"), number):
        if line.strip():
            yield place, json_rows.parse(line, remarks, exact)


def parts(
    blocks: Iterable[tuple[int, bytes]], remarks: Remarks, columns: Callable[[], pa.Schema]
) -> Iterator[pa.Table | list[Row]]:
    """The rows of whole lines, in order: as a table of `columns`, or one by one.

    columns: asked before each part, since what the parts before it hold may have changed them.
    """
    size = MOST_BYTES
    for number, block in blocks:
        begin, line = 0, number
        while begin < len(block):
            end = block.find(b"\n", begin + size) + 1 or len(block)
            some = block[begin:end]
            table = strict(some, columns())
            if table is None and size > LEAST_BYTES:
                # Where an odd line is, few are read with it.
                size = max(LEAST_BYTES, size // 8)
                continue
            size = size if table is None else min(2 * size, MOST_BYTES)
            yield list(rows(some, line, remarks)) if table is None else table
            begin, line = end, line + some.count(b"\n")


def strict(lines: bytes, columns: pa.Schema) -> pa.Table | None:
    """Objects of whole lines, equal to what `json_rows` makes of them; None where Arrow may not read them so.

    >>> kinds = pa.schema([("n", pa.int64()), (MALFORMED, pa.large_string())])
    >>> strict(b'{"n": 1}\\n{}', kinds).to_pylist()
    [{'n': 1, 'malformed': None}, {'n': None, 'malformed': None}]
    >>> strict(b'{"n": 1.5}', kinds), strict(b'{"n": 1, "n": 2}', kinds), strict(b'{"n": 1} {"n": 2}', kinds)
    (None, None, None)
    """
    own = pa.schema([field for field in columns if field.name != MALFORMED])
    count = _objects(lines) if len(own) and len(lines) < 1 << 30 else 0
    if not count:
        return None
    try:
        table = arrow_json.read_json(
            pa.BufferReader(lines),
            arrow_json.ReadOptions(use_threads=False, block_size=len(lines) + 1),
            arrow_json.ParseOptions(explicit_schema=own, unexpected_field_behavior="error"),
        )
        # Arrow counts nulls wrong in lists that hold nothing else.
        table.validate()
    except pa.ArrowException:
        return None
    if table.num_rows != count or not all(_exact(piece) for column in table.columns for piece in column.chunks):
        return None
    arrays = [pa.nulls(count, f.type) if f.name == MALFORMED else table[f.name] for f in columns]
    return pa.Table.from_arrays(arrays, schema=columns)


def _objects(lines: bytes) -> int:
    """Number of lines that all begin and end as an object does, or 0: then no object goes on in the next line, since
    `}` and `{` do not follow each other inside one."""
    lines = lines.rstrip()
    if not (lines.startswith(b"{") and lines.endswith(b"}")):
        return 0
    raw = np.frombuffer(lines, np.uint8)
    ends = np.flatnonzero(raw == ord("\n"))
    last = raw[ends - 1]
    if b"\r" in lines:
        last = np.where(last == ord("\r"), raw[ends - 2], last)
    alone = (last == ord("}")) & (raw[ends + 1] == ord("{"))
    return len(ends) + 1 if alone.all() else 0


def _exact(values: pa.Array) -> bool:
    """Whether no double can be another number in the text: a whole number that it rounds, or -0, which is 0."""
    if pa.types.is_floating(values.type):
        numbers = values.drop_null().to_numpy()
        return bool((np.abs(numbers) < EXACT_DOUBLE).all() and not (np.signbit(numbers) & (numbers == 0)).any())
    if pa.types.is_list(values.type):
        return _exact(values.flatten())
    return not pa.types.is_struct(values.type) or all(map(_exact, values.flatten()))
