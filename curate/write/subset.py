"""The rows that a filter keeps, as a file: DataComp's .npy of uids, or .parquet, .csv, .txt, by the name's ending."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import PurePosixPath
from typing import IO

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from curate.errors import CurateError
from curate.store.folder import Folder
from curate.store.view import View
from curate.write.step import subset_rows, write_subset

#: What a row is in .parquet and .csv; .txt has a uid a line.
COLUMNS = ("uid", "url", "text")


def check_ending(to: str) -> str:
    """The ending of a subset file's name.

    Raises:
        CurateError: for one that says no format.
    """
    ending = "" if to.endswith("/") else PurePosixPath(to).suffix.lower()
    if ending not in (".npy", *_WRITERS):
        raise CurateError(
            f"--output {to}: its ending must say the format: .npy (DataComp's subset file), .parquet, .csv or .txt"
        )
    return ending


def write_kept(view: View, to: str) -> int:
    """Write the rows that are in, in the order of the input (.npy: sorted, as DataComp reads it); returns how many.

    Raises:
        CurateError: for an ending that says no format; for a uid that a .npy cannot hold.
    """
    ending = check_ending(to)
    if ending == ".npy":
        return write_subset([subset_rows(rows["uid"].to_list()) for rows in _kept(view, ["uid"])], to)
    folder, _, name = to.rpartition("/")
    with Folder(folder or ("/" if to.startswith("/") else ".")).writing(name) as file:
        return _WRITERS[ending](view, file)


def _kept(view: View, columns: list[str]) -> Iterator[pl.DataFrame]:
    for shard in sorted(view.store.shard_rows()):
        rows, kept = view.frame(shard, columns), view.kept(shard)
        yield rows if kept is None else rows.filter(pl.Series(kept, dtype=pl.Boolean))


def _columns(view: View) -> list[str]:
    return [name for name in COLUMNS if name in view.columns]


def _parquet(view: View, file: IO[bytes]) -> int:
    columns = _columns(view)
    schema = pa.schema([(name, pa.large_string()) for name in columns])
    total = 0
    with pq.ParquetWriter(file, schema, compression="zstd") as writer:
        for rows in _kept(view, columns):
            writer.write_table(rows.select(pl.all().cast(pl.String)).to_arrow().cast(schema))
            total += len(rows)
    return total


def _csv(view: View, file: IO[bytes]) -> int:
    columns, total = _columns(view), 0
    file.write((",".join(columns) + "\n").encode())
    for rows in _kept(view, columns):
        file.write(rows.write_csv(include_header=False).encode())
        total += len(rows)
    return total


def _txt(view: View, file: IO[bytes]) -> int:
    total = 0
    for rows in _kept(view, ["uid"]):
        file.write("".join(f"{uid}\n" for uid in rows["uid"]).encode())
        total += len(rows)
    return total


_WRITERS: dict[str, Callable[[View, IO[bytes]], int]] = {".parquet": _parquet, ".csv": _csv, ".txt": _txt}
