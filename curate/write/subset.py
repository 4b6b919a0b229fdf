"""The rows that a filter keeps, as a file: DataComp's .npy of uids, or .parquet, .csv, .txt, by the name's ending."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import PurePosixPath
from typing import IO

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from curate.cluster.many_shards import in_threads
from curate.errors import CurateError
from curate.record import UID
from curate.store.folder import folder_and_name
from curate.store.view import View

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
    """Write the rows that are in, each as often as it is taken, in the order of the input (.npy: sorted, as DataComp
    reads it); returns how many lines or uids that are.

    Raises:
        CurateError: for an ending that says no format; for a uid that a .npy cannot hold.
    """
    ending = check_ending(to)
    if ending == ".npy":
        return write_subset([subset_rows(rows["uid"].to_list()) for rows in _kept(view, ["uid"])], to)
    folder, name = folder_and_name(to)
    with folder.writing(name) as file:
        return _WRITERS[ending](view, file)


def subset_rows(uids: list[str]) -> np.ndarray:
    """uids as DataComp's subset dtype: two uint64 halves, the high half first.

    Raises:
        CurateError: for a uid that is not 32 lower-case hex characters.
    """
    for uid in uids:
        if not UID.match(uid):
            raise CurateError(f"uid '{uid}' is not 32 lower-case hex characters: a DataComp subset file cannot hold it")
    halves = np.frombuffer(bytes.fromhex("".join(uids)), ">u8").reshape(-1, 2).astype("<u8")
    return halves.view("u8,u8").reshape(-1)


def write_subset(rows: list[np.ndarray], to: str) -> int:
    """A DataComp subset file: sorted, a uid that occurs k times is written k times; returns the number of rows."""
    joined = np.concatenate(rows) if rows else np.empty(0, "u8,u8")
    ordered = joined[np.lexsort((joined["f1"], joined["f0"]))]
    folder, name = folder_and_name(to)
    with folder.writing(name) as file:
        np.save(file, ordered)
    return len(ordered)


def _kept(view: View, columns: list[str]) -> Iterator[pl.DataFrame]:
    shards = list(view.store.shard_rows())

    def one(place: int) -> pl.DataFrame:
        rows, verdicts = view.frame(shards[place], columns), view.verdicts(shards[place])
        if verdicts is not None and verdicts.copies is not None:
            return rows[np.repeat(np.arange(len(rows)), verdicts.copies)]
        return rows if verdicts is None else rows.filter(pl.Series(verdicts.kept, dtype=pl.Boolean))

    yield from in_threads(one, len(shards))


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
