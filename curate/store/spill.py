"""Rows on their way between tasks: each writer leaves one file, in which every reader finds its part.

    <folder>/<writer>.spill     an entry of 40 bytes for each reader, then the parts: Arrow streams

An entry is five uint64: where the reader's part starts and ends, its rows, the xxh3 of the part, and that of the four
numbers before it. A file per writer, not one per writer and reader: 10^4 tasks that write for 10^4 are 10^4 files
instead of 10^8.
"""

from __future__ import annotations

import io
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import polars as pl
import xxhash

from curate.errors import CurateError
from curate.store.store import Store

#: Reading small ranges waits for storage more than it computes.
THREADS = 8

ENTRY_BYTES = 40


def _range(store: Store, folder: str, writer: int, start: int, end: int) -> bytes:
    # By name: S3's file system has a version before them.
    path = store.path(f"{folder}/{writer:05d}.spill")
    return store.fs.cat_file(path, start=start, end=end)  # type: ignore[no-any-return]


def _entries(store: Store, folder: str, writer: int, first: int, readers: int) -> np.ndarray:
    """uint64[readers, 4]: start, end, rows and checksum of the parts of `readers` readers from `first` on."""
    data = _range(store, folder, writer, ENTRY_BYTES * first, ENTRY_BYTES * (first + readers))
    if len(data) != ENTRY_BYTES * readers:
        raise _damaged(store, folder, writer)
    entries = np.frombuffer(data, "<u8").reshape(readers, 5)
    for entry in entries:
        if xxhash.xxh3_64_intdigest(entry[:4].tobytes()) != int(entry[4]):
            raise _damaged(store, folder, writer)
    return entries[:, :4]


def _damaged(store: Store, folder: str, writer: int) -> CurateError:
    table = folder.partition("/.work")[0]
    return CurateError(
        f"{store.url}/{folder}/{writer:05d}.spill is damaged: it is not as it was written. "
        f"Delete {store.url}/{table}/.work and run the same command again: the step begins anew"
    )


def by_key(high: np.ndarray, readers: int) -> np.ndarray:
    """The reader of each key, from the key's upper 32 bits: all rows of a key go to one, keys spread over all."""
    return (high.astype(np.uint64) * np.uint64(readers) >> np.uint64(32)).astype(np.int64)  # type: ignore[no-any-return]


def spill(store: Store, folder: str, writer: int, frame: pl.DataFrame, reader: np.ndarray, readers: int) -> None:
    """Write a frame for `readers`, the row i for reader[i]; each gets its rows in the order of the frame."""
    order = np.argsort(reader, kind="stable")
    rows = np.bincount(reader, minlength=readers).astype(np.int64)
    starts = np.cumsum(rows) - rows
    entries = np.zeros((readers, 5), "<u8")
    with store.writing(f"{folder}/{writer:05d}.spill") as file:
        file.seek(entries.nbytes)
        for number, (start, count) in enumerate(zip(starts.tolist(), rows.tolist(), strict=True)):
            stream = io.BytesIO()
            rows_of_reader = frame[order[start : start + count]]
            # Texts end to end: with an entry of 16 bytes for each, as polars has them, they take a third more.
            rows_of_reader.write_ipc_stream(stream, compression="zstd", compat_level=pl.CompatLevel.oldest())
            part = stream.getbuffer()
            at = file.tell()
            entries[number, :4] = at, at + len(part), count, xxhash.xxh3_64_intdigest(part)
            entries[number, 4] = xxhash.xxh3_64_intdigest(entries[number, :4].tobytes())
            file.write(part)
        file.seek(0)
        file.write(entries.tobytes())


def spilled(store: Store, folder: str) -> set[int]:
    """Writers whose file is there."""
    return {int(name.removesuffix(".spill")) for name in store.names(folder) if name.endswith(".spill")}


def spilled_rows(store: Store, folder: str, writers: Iterable[int], readers: int) -> np.ndarray:
    """int64[readers]: rows that these writers left for each reader."""

    def of(writer: int) -> np.ndarray:
        return _entries(store, folder, writer, 0, readers)[:, 2].astype(np.int64)

    with ThreadPoolExecutor(THREADS) as threads:
        return sum(threads.map(of, writers), np.zeros(readers, np.int64))


def read_spilled(store: Store, folder: str, writers: int | range, reader: int) -> pl.DataFrame:
    """What so many writers, or these, left for one reader, in the order of the writers.

    Raises:
        CurateError: when a part is not as it was written.
    """

    def of(writer: int) -> pl.DataFrame:
        start, end, _, checksum = _entries(store, folder, writer, reader, 1)[0].tolist()
        data = _range(store, folder, writer, start, end)
        if xxhash.xxh3_64_intdigest(data) != checksum:
            raise _damaged(store, folder, writer)
        return pl.read_ipc_stream(io.BytesIO(data))

    with ThreadPoolExecutor(THREADS) as threads:
        return pl.concat(threads.map(of, range(writers) if isinstance(writers, int) else writers))
