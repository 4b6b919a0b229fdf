"""Rows on their way between tasks: each writer leaves one file, in which every reader finds its part.

    <folder>/<writer>.spill     int64[readers + 1] where each part starts and the last one ends, int64[readers] its
                                rows, then the parts: Arrow streams

A file per writer, not one per writer and reader: 10^4 tasks that write for 10^4 are 10^4 files instead of 10^8.
"""

from __future__ import annotations

import io
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import polars as pl

from curate.store import Store

#: Reading small ranges waits for storage more than it computes.
THREADS = 8


def _range(store: Store, folder: str, writer: int, start: int, end: int) -> bytes:
    # By name: S3's file system has a version before them.
    path = store.path(f"{folder}/{writer:05d}.spill")
    return store.fs.cat_file(path, start=start, end=end)  # type: ignore[no-any-return]


def by_key(high: np.ndarray, readers: int) -> np.ndarray:
    """The reader of each key, from the key's upper 32 bits: all rows of a key go to one, keys spread over all."""
    return (high.astype(np.uint64) * np.uint64(readers) >> np.uint64(32)).astype(np.int64)  # type: ignore[no-any-return]


def spill(store: Store, folder: str, writer: int, frame: pl.DataFrame, reader: np.ndarray, readers: int) -> None:
    """Write a frame for `readers`, the row i for reader[i]; each gets its rows in the order of the frame."""
    order = np.argsort(reader, kind="stable")
    rows = np.bincount(reader, minlength=readers).astype(np.int64)
    starts = np.cumsum(rows) - rows
    bounds = np.zeros(readers + 1, np.int64)
    with store.writing(f"{folder}/{writer:05d}.spill") as file:
        file.seek(bounds.nbytes + rows.nbytes)
        for number, (start, count) in enumerate(zip(starts.tolist(), rows.tolist(), strict=True)):
            bounds[number] = file.tell()
            part = io.BytesIO()
            frame[order[start : start + count]].write_ipc_stream(part, compression="zstd")
            file.write(part.getbuffer())
        bounds[-1] = file.tell()
        file.seek(0)
        file.write(bounds.tobytes() + rows.tobytes())


def spilled(store: Store, folder: str) -> set[int]:
    """Writers whose file is there."""
    return {int(name.removesuffix(".spill")) for name in store.names(folder) if name.endswith(".spill")}


def spilled_rows(store: Store, folder: str, readers: int) -> np.ndarray:
    """int64[readers]: rows for each reader in the files that are there."""

    def of(writer: int) -> np.ndarray:
        start = 8 * (readers + 1)
        return np.frombuffer(_range(store, folder, writer, start, start + 8 * readers), np.int64)

    with ThreadPoolExecutor(THREADS) as threads:
        return sum(threads.map(of, sorted(spilled(store, folder))), np.zeros(readers, np.int64))


def read_spilled(store: Store, folder: str, writers: int, reader: int) -> pl.DataFrame:
    """What all writers left for one reader, in the order of the writers."""

    def of(writer: int) -> pl.DataFrame:
        start, end = np.frombuffer(_range(store, folder, writer, 8 * reader, 8 * reader + 16), np.int64).tolist()
        return pl.read_ipc_stream(io.BytesIO(_range(store, folder, writer, start, end)))

    with ThreadPoolExecutor(THREADS) as threads:
        return pl.concat(threads.map(of, range(writers)))
