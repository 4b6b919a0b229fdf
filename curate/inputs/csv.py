"""CSV and TSV files, plain, .gz or .zst; every value stays the text it was."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import fsspec
import pyarrow as pa
import pyarrow.csv as pa_csv

EXTENSIONS = (".csv", ".tsv", ".csv.gz", ".tsv.gz", ".csv.zst", ".tsv.zst", ".csv.bz2", ".tsv.bz2")

SEEKABLE = False

#: A row must fit in a block; captions of megabytes occur.
BLOCK_BYTES = 32 << 20

#: Column that holds a line which has not as many fields as the header; such a row has no url and no text.
MALFORMED = "malformed"


def _open(file: str) -> Any:
    return fsspec.open(file, "rb", compression="infer").open()


def _parse_options(file: str, bad: list[str]) -> pa_csv.ParseOptions:
    def keep_for_later(row: Any) -> str:
        bad.append(row.text if row.text is not None else f"{row.actual_columns} fields instead of {row.expected_columns}")
        return "skip"

    separator = "\t" if ".tsv" in file.lower() else ","
    return pa_csv.ParseOptions(delimiter=separator, newlines_in_values=True, invalid_row_handler=keep_for_later)


def schema(file: str) -> pa.Schema:
    with _open(file) as handle:
        names = pa_csv.open_csv(
            handle, pa_csv.ReadOptions(block_size=BLOCK_BYTES, use_threads=False), _parse_options(file, [])
        ).schema.names
    return pa.schema([(name, pa.string()) for name in [*names, MALFORMED]])


def count(file: str) -> int:
    return sum(batch.num_rows for batch in read(file))


def read(file: str, start: int = 0, batch_rows: int = 10_000) -> Iterator[pa.RecordBatch]:
    """Batches from row `start` on, all columns as text; a malformed line is a row of its own, after its block."""
    bad: list[str] = []
    names = schema(file).names
    # Read as bytes: one caption that is not UTF-8 must not end the file.
    types = {name: pa.large_binary() for name in names}
    options = pa_csv.ConvertOptions(column_types=types, strings_can_be_null=True, null_values=[""], quoted_strings_can_be_null=False)
    with _open(file) as handle:
        reader = pa_csv.open_csv(
            handle,
            pa_csv.ReadOptions(block_size=BLOCK_BYTES, use_threads=False),
            _parse_options(file, bad),
            options,
        )
        for block in reader:
            columns = {name: _text(block[name]) for name in block.schema.names}
            columns[MALFORMED] = pa.nulls(block.num_rows, pa.large_string())
            table = pa.table(columns)
            if bad:
                lines = pa.table({MALFORMED: pa.array(bad, pa.large_string())})
                table = pa.concat_tables([table, lines], promote_options="default")
                bad.clear()
            if start >= table.num_rows:
                start -= table.num_rows
                continue
            yield from table.slice(start).combine_chunks().to_batches(max_chunksize=batch_rows)
            start = 0


def _text(values: pa.Array) -> pa.Array:
    try:
        return values.cast(pa.large_string())
    except pa.ArrowInvalid:
        decoded = [None if v is None else v.decode("utf-8", "replace") for v in values.to_pylist()]
        return pa.array(decoded, pa.large_string())
