"""Parquet files whose every byte is covered by a checksum that any other parquet reader passes over.

Between the last column chunk and the footer, where a reader that goes by the footer's offsets never looks:

    uint64 per column chunk     xxh3 of its bytes, row group by row group
    uint64                      xxh3 of all other bytes before this block
    uint64                      xxh3 of the footer
    uint64, uint64, 8 bytes     number of column chunks, xxh3 of this block so far, MAGIC

A reader that wants three columns reads and checks those, the footer and the block: nothing else is read.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import xxhash

from curate.store.fixed_vectors import as_lists, fixed, lists_schema

MAGIC = b"curate\x02\n"
_WORD = 8
#: uint64s of the block beside those of the column chunks, with MAGIC.
_FIXED = 5
#: Bytes read from the end at first: the footer and the block of nearly every part.
TAIL_BYTES = 1 << 16
#: A file up to here is read whole: another request costs more than the bytes.
SMALL_BYTES = 1 << 20
#: Where a part's metadata names the records that its rows belong to.
ROWS_OF = b"curate.rows_of"

#: Where its metadata names the file itself, below the store: one that lies elsewhere was put there by mistake.
PLACE = b"curate.file"

#: Bytes of a file from start to end.
Fetch = Callable[[int, int], Any]


class Damaged(Exception):
    """Bytes that are not as they were written; says which part of the file."""


def hashed(data: Any) -> int:
    return xxhash.xxh3_64_intdigest(data)


def written(table: pa.Table, **options: Any) -> bytes:
    """A table as a checked parquet file. options: of `pyarrow.parquet.write_table`."""
    table, vectors = fixed(table)
    if vectors:
        options |= _as_they_are(table.schema, vectors, options)
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, **options)
    data = sink.getvalue().to_pybytes()
    footer = int.from_bytes(data[-8:-4], "little")
    end = len(data) - 8 - footer
    chunks = _chunks(pq.read_metadata(pa.BufferReader(data)))
    view = memoryview(data)
    sums = [hashed(view[start:stop]) for start, stop in chunks]
    sums += [_rest(view, chunks, end), hashed(view[end : end + footer])]
    block = np.array([*sums, len(chunks)], "<u8").tobytes()
    block += np.array([hashed(block)], "<u8").tobytes() + MAGIC
    return bytes(data[:end]) + block + bytes(data[end:])


def _as_they_are(schema: pa.Schema, vectors: Sequence[str], options: Mapping[str, Any]) -> dict[str, Any]:
    """Options by which vectors are neither compressed (a tenth of their bytes, for twice the time) nor counted."""
    sink = pa.BufferOutputStream()
    pq.write_table(schema.empty_table(), sink)
    described = pq.read_metadata(pa.BufferReader(sink.getvalue())).schema
    others = [path for n in range(len(described.names)) if (path := described.column(n).path) not in vectors]
    changed: dict[str, Any] = {
        "compression": dict.fromkeys(others, options.get("compression", "snappy")) | dict.fromkeys(vectors, "none"),
        "write_statistics": others if options.get("write_statistics", True) else False,
    }
    repeated = options.get("use_dictionary", True)
    changed["use_dictionary"] = others if repeated is True else [name for name in repeated or () if name not in vectors]
    return changed


def digest(data: Any) -> str:
    """16 hex digits that stand for all bytes of a checked file: the checksum of its block."""
    return f"{_Layout.of(data, 0, len(data)).block_sum:016x}"


def rows_of(schema: pa.Schema) -> str:
    """What `ROWS_OF` says in a part's schema; "" where it says nothing."""
    return str((schema.metadata or {}).get(ROWS_OF, b"").decode())


def check(data: Any) -> None:
    """
    Raises:
        Damaged: when any byte of a whole file is not as it was written.
    """
    layout = _Layout.of(data, 0, len(data))
    for number, (start, stop) in enumerate(layout.chunks):
        if hashed(data[start:stop]) != layout.sums[number]:
            raise Damaged(f"column chunk {number}")
    if _rest(data, layout.chunks, layout.end) != layout.sums[-1]:
        raise Damaged("bytes between the columns")


@dataclass
class Part:
    """A checked file, opened: its schema, and columns as they are asked for.

    size: of the file. fetch: its bytes from start to end, as anything with the buffer protocol.
    """

    size: int
    fetch: Fetch

    def __post_init__(self) -> None:
        begin = 0 if self.size <= SMALL_BYTES else self.size - TAIL_BYTES
        tail = memoryview(self.fetch(begin, self.size))
        self._layout = _Layout.of(tail, begin, self.size)
        if self._layout is None:
            begin = self.size - _Layout.needs(tail)
            tail = memoryview(self.fetch(begin, self.size))
            self._layout = _Layout.of(tail, begin, self.size)
        self._begin, self._tail = begin, tail

    @property
    def schema(self) -> pa.Schema:
        """Of what `read` gives: vectors are lists, whichever way the file keeps them."""
        return lists_schema(self._layout.schema)

    @property
    def digest(self) -> str:
        """As `digest` of the whole file."""
        return f"{self._layout.block_sum:016x}"

    @property
    def rows(self) -> int:
        return int(self._layout.metadata.num_rows)

    def read(self, columns: Sequence[str] | None = None, filters: Any = None) -> pa.Table:
        """
        Raises:
            Damaged: when a column's bytes are not as they were written.
        """
        names = list(self._layout.schema.names if columns is None else columns)
        # Zeros that nothing touches take no memory: only what is read does.
        sparse = np.zeros(self.size, np.uint8) if self._begin else None
        for group in range(self._layout.metadata.num_row_groups):
            for name in dict.fromkeys(names):
                for number in self._layout.leaves(group, name):
                    start, stop = self._layout.chunks[number]
                    if start >= self._begin:
                        data = self._tail[start - self._begin : stop - self._begin]
                    else:
                        data = memoryview(self.fetch(start, stop))
                    if hashed(data) != self._layout.sums[number]:
                        raise Damaged(f"column '{name}'")
                    if sparse is not None:
                        sparse[start:stop] = np.frombuffer(data, np.uint8)
        if sparse is None:
            source = pa.py_buffer(self._tail)
        else:
            sparse[self._begin :] = np.frombuffer(self._tail, np.uint8)
            source = pa.py_buffer(sparse)
        if filters is not None:
            return as_lists(pq.read_table(pa.BufferReader(source), columns=names, filters=filters, partitioning=None))
        table = pq.ParquetFile(pa.BufferReader(source), metadata=self._layout.metadata).read(
            columns=names, use_threads=self.size > SMALL_BYTES
        )
        return as_lists(table.select(names))


class _Layout:
    """Where a file's columns lie, and their checksums: what the footer and the block say, both checked."""

    def __init__(self, metadata: Any, sums: np.ndarray, block_sum: int, end: int):
        self.metadata, self.block_sum, self.end = metadata, block_sum, end
        self.schema: pa.Schema = metadata.schema.to_arrow_schema()
        self.sums: list[int] = sums.tolist()
        self.chunks = _chunks(metadata)
        counts = [_leaf_count(field.type) for field in self.schema]
        starts = np.cumsum([0, *counts]).tolist()
        self._leaves = {f.name: range(a, a + n) for f, a, n in zip(self.schema, starts, counts, strict=False)}
        self._width = starts[-1]

    def leaves(self, group: int, column: str) -> range:
        leaves = self._leaves[column]
        return range(group * self._width + leaves.start, group * self._width + leaves.stop)

    @staticmethod
    def needs(tail: Any) -> int:
        """Bytes from the end that hold the footer and the block, as far as the tail can tell."""
        footer = int.from_bytes(tail[-8:-4], "little")
        block = bytes(tail[-8 - footer - 3 * _WORD : -8 - footer])
        chunks = int.from_bytes(block[:_WORD], "little") if len(block) == 3 * _WORD else 0
        # Without the number of chunks, as much as the footer again: a chunk takes far more of it than of the block.
        return int(8 + footer + (chunks + _FIXED) * _WORD if chunks else 8 + 2 * footer + _FIXED * _WORD)

    @classmethod
    def of(cls, tail: Any, begin: int, size: int) -> Any:
        """From the end of a file, bytes `begin` to `size`; None when more of it is needed.

        Raises:
            Damaged: when footer or block are not as they were written, or the file has none.
        """
        if size < 12 or bytes(tail[-4:]) != b"PAR1":
            raise Damaged("the end of the file")
        footer = int.from_bytes(tail[-8:-4], "little")
        end = size - 8 - footer - begin
        if size - 8 - footer - _FIXED * _WORD < 4:
            raise Damaged("the length of the footer")
        if end - 3 * _WORD < 0:
            return None
        if bytes(tail[end - _WORD : end]) != MAGIC:
            raise Damaged("the checksums, or it is not a file of curate's")
        count = int.from_bytes(tail[end - 3 * _WORD : end - 2 * _WORD], "little")
        start = end - (count + _FIXED) * _WORD
        if start < 0:
            if begin + start < 4:
                raise Damaged("the checksums")
            return None
        block_sum = int.from_bytes(tail[end - 2 * _WORD : end - _WORD], "little")
        if hashed(tail[start : end - 2 * _WORD]) != block_sum:
            raise Damaged("the checksums")
        sums = np.frombuffer(tail[start : end - 3 * _WORD], "<u8")
        if hashed(tail[end : end + footer]) != int(sums[-1]):
            raise Damaged("the footer")
        metadata = pq.read_metadata(pa.BufferReader(pa.py_buffer(bytes(tail[end:]))))
        return cls(metadata, sums[:-1], block_sum, begin + start)


def _leaf_count(kind: pa.DataType) -> int:
    """Columns that parquet keeps for one of Arrow's."""
    if isinstance(kind, pa.BaseExtensionType):
        return _leaf_count(kind.storage_type)
    if pa.types.is_dictionary(kind):
        return _leaf_count(kind.value_type)
    if pa.types.is_nested(kind):
        return sum(_leaf_count(kind.field(i).type) for i in range(kind.num_fields))
    return 1


def _chunks(metadata: Any) -> list[tuple[int, int]]:
    """Start and end of every column chunk, row group by row group."""
    chunks = []
    for group in range(metadata.num_row_groups):
        row_group = metadata.row_group(group)
        for number in range(row_group.num_columns):
            column = row_group.column(number)
            start = column.data_page_offset
            if column.has_dictionary_page and column.dictionary_page_offset is not None:
                start = min(start, column.dictionary_page_offset)
            chunks.append((start, start + column.total_compressed_size))
    return chunks


def _rest(data: Any, chunks: list[tuple[int, int]], end: int) -> int:
    """Checksum of the bytes up to `end` that are in no column chunk."""
    state, at = xxhash.xxh3_64(), 0
    for start, stop in sorted(chunks):
        state.update(data[at:start])
        at = max(at, stop)
    state.update(data[at:end])
    return int(state.intdigest())
