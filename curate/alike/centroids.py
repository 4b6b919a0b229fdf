"""Centroids that were made before: kept beside a table of balance.clusters, or in a .npy."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
import xxhash

from curate.alike.against_old import OldStore
from curate.errors import CurateError
from curate.store.folder import Folder
from curate.store.store import LEARNED, Store


def digest(centroids: np.ndarray) -> str:
    """12 hex digits that tell centroids from others."""
    return xxhash.xxh3_128_hexdigest(np.ascontiguousarray(centroids, np.float32).tobytes())[:12]


@dataclass(frozen=True)
class Centroids:
    """Those of a table of a store, or of a .npy. name: their digest. read: them, float32[k, d]."""

    name: str
    read: Callable[[], np.ndarray]

    @classmethod
    def of(cls, place: str, table: str) -> Centroids:
        """
        place: a store, whose table is called `table`, or a .npy.

        Raises:
            CurateError: when there is no such table or file, or it keeps no centroids.
        """
        if place.partition("?")[0].endswith(".npy"):
            return cls(digest(_of_file(place)), partial(_of_file, place))
        return cls._of_store(place, table)

    @classmethod
    def _of_store(cls, store: str, table: str) -> Centroids:
        old = OldStore.of(store)
        folder = old.manifest.table_folder(table, old.name)
        if not (name := old.learned(folder)):
            raise CurateError(
                f"centroids: table '{table}' of {old.name} keeps none: it is not of balance.clusters, or of an earlier "
                f"curate; delete the folder {old.name}/{folder}, and make it again there"
            )
        return cls(name, partial(_of_table, old.view.store, f"{folder}/{LEARNED}"))


def _of_table(store: Store, file: str) -> np.ndarray:
    column = store.read_file(file)["centroid"].combine_chunks()
    return np.asarray(column.flatten()).reshape(len(column), column.type.list_size)


def _of_file(path: str) -> np.ndarray:
    file = Folder(path.rpartition("/")[0] or ".")
    name = path.rpartition("/")[2]
    try:
        rows = np.load(io.BytesIO(file.read_bytes(name)), allow_pickle=False)
    except FileNotFoundError as error:
        raise CurateError(f"centroids: no file '{path}'") from error
    except (OSError, ValueError, EOFError) as error:
        raise CurateError(f"centroids: '{path}' is no .npy file of numbers: {error}") from error
    if rows.ndim != 2 or rows.dtype.kind != "f" or not rows.size:
        raise CurateError(f"centroids: '{path}' holds {rows.dtype}{list(rows.shape)}, expected float[k, d]")
    if not np.isfinite(rows).all():
        raise CurateError(f"centroids: '{path}': not all numbers are finite")
    return np.asarray(rows.astype(np.float32))


def write_centroids(rows: np.ndarray, path: str) -> None:
    """All of it or nothing. rows: float32[k, d]. path: of a .npy, or an fsspec URL.

    Raises:
        CurateError: when it cannot be written.
    """
    data = io.BytesIO()
    np.save(data, rows)
    folder, _, name = path.rpartition("/")
    try:
        Folder(folder or ".").write_bytes(name, data.getvalue())
    except OSError as error:
        raise CurateError(f"cannot write '{path}': {error}") from error
