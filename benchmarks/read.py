"""CSV and JSON lines, parsed as `read` parses them, beside polars; uids beside DuckDB. In one process, on one core.

    python benchmarks/read.py [--rows 500000] [--rounds 3]

`read` parses such a file twice: once to count its rows, to find every line that is damaged and the types that hold all
values, and once to write them. polars parses it once, and here gets a file without a damaged line. What both read is
compared first. A second file has one line in 5,000 cut off, which costs us the lines around it. DuckDB is left out
where it is not installed (`pip install duckdb`). Time is processor time; polars and DuckDB have one thread.
"""

from __future__ import annotations

import argparse
import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ["POLARS_MAX_THREADS"] = "1"

import polars as pl
import pyarrow as pa
from exact import make_rows
from in_turn import processor_seconds

from curate.read.inputs import csv, jsonl
from curate.record import uid, uids

#: One line of so many is cut off in the second file.
ODD = 5_000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=500_000)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="read_benchmark."))
    try:
        frame = rows_of(options.rows)
        frame.write_csv(folder / "plain.csv")
        frame.write_ndjson(folder / "plain.jsonl")
        for ending in ("csv", "jsonl"):
            cut_lines(folder / f"plain.{ending}", folder / f"odd.{ending}")
        parsing(folder, frame, options.rounds)
        hashing(frame.to_arrow(), options.rounds)
    finally:
        shutil.rmtree(folder)


def rows_of(rows: int) -> pl.DataFrame:
    """A url, a caption of 2 to 20 words, one in five with a comma and quotes, a width and a similarity."""
    numbers = pl.int_range(rows, eager=True)
    return pl.DataFrame(make_rows(rows)).with_columns(
        text=pl.when(numbers % 5 == 0).then('"' + pl.col("text") + '", it says').otherwise("text"),
        width=100 + numbers % 1900,
        similarity=(numbers * 0.6180339887) % 1,
    )


def cut_lines(source: Path, target: Path) -> None:
    lines = source.read_bytes().split(b"\n")
    for number in range(ODD, len(lines) - 1, ODD):
        lines[number] = lines[number][:20]
    target.write_bytes(b"\n".join(lines))


def parsing(folder: Path, frame: pl.DataFrame, rounds: int) -> None:
    texts = frame.with_columns(pl.all().cast(pl.String))
    for module, ending, parse, expected in (
        (csv, "csv", lambda file: pl.read_csv(file, infer_schema=False), texts),
        (jsonl, "jsonl", pl.read_ndjson, frame),
    ):
        plain, odd = (str(folder / f"{name}.{ending}") for name in ("plain", "odd"))
        if not (both := pl.DataFrame(rows_read(module, plain)).drop("malformed")).equals(expected):
            raise SystemExit(f"{ending}: curate reads other rows than were written:\n{both}")
        ways: dict[str, Callable[[], Any]] = {
            f"{ending}: polars": lambda parse=parse, plain=plain: parse(plain),
            f"{ending}: curate, first pass": lambda module=module, plain=plain: module.scan(plain),
            f"{ending}: curate, both passes": lambda module=module, plain=plain: rows_read(module, plain),
            f"{ending}: the same, a line in {ODD:,} cut": lambda module=module, odd=odd: rows_read(module, odd),
        }
        compared(ways, frame.height, rounds)


def rows_read(module: Any, file: str) -> pa.Table:
    """Both passes over a file, as the step `read` makes them."""
    scan = module.scan(file)
    options = {} if module.DECLARED else {"types": scan.schema}
    return pa.Table.from_batches(module.read(file, **options))


def hashing(table: pa.Table, rounds: int) -> None:
    """uids by shards of 10,000 rows; DuckDB's of all rows at once."""
    shards = [table.slice(first, 10_000) for first in range(0, len(table), 10_000)]
    ways: dict[str, Callable[[], Any]] = {}
    try:
        import duckdb

        connection = duckdb.connect()
        connection.execute("SET threads = 1")
        query = "SELECT md5(coalesce(text, '') || coalesce(url, '')) AS uid FROM pairs"
        ways["uids: DuckDB"] = lambda: connection.from_arrow(table).query("pairs", query).to_arrow_table()
        theirs = ways["uids: DuckDB"]()["uid"].combine_chunks().cast(pa.string())
        if not theirs.equals(uids(table["url"], table["text"])):
            raise SystemExit("DuckDB's uids are others")
    except ImportError:
        print("DuckDB is not installed: left out")
    ways["uids: curate"] = lambda: [uids(shard["url"], shard["text"]) for shard in shards]
    pairs = list(zip(table["url"].to_pylist(), table["text"].to_pylist(), strict=True))
    ways["uids: hashlib, a pair a call"] = lambda: [uid(*pair) for pair in pairs]
    compared(ways, len(table), rounds)


def compared(ways: dict[str, Callable[[], Any]], rows: int, rounds: int) -> None:
    """Print the median seconds of each way, and their ratio to the first one's."""
    middle = processor_seconds(ways, rounds)
    first = next(iter(middle.values()))
    for name, seconds in middle.items():
        print(
            f"{name:42} {seconds / rows * 1e6:6.2f} s per million rows, {rows / seconds:11,.0f} rows/s, "
            f"{first / seconds:5.2f} of the first one's speed"
        )


if __name__ == "__main__":
    main()
