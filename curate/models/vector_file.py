"""Files of vectors that scores compare with: a .npy, memory-mapped where it is local, or a column of a .parquet."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow.parquet as pq

from curate.arrays.vectors import lengths, normalised
from curate.errors import CurateError, unknown
from curate.models.heads import UNREADABLE, check_file, check_source, identity, is_url, read_checked
from curate.store.file_hash import file_sha256

FORMATS = (".npy", ".parquet")
#: A file from a URL, and a .parquet, are read whole by every worker.
MOST_BYTES = 8 << 30
#: Vectors of a file that are made float32 at a time: 25 MB of 768 numbers.
AT_ONCE = 8192


@dataclass(frozen=True)
class VectorFile:
    """One file: a .npy or a .parquet, by path or URL. sha256: of it; required for a URL. column: of a .parquet."""

    source: str
    sha256: str = ""
    column: str = ""

    def identity(self) -> str:
        """Of its content."""
        digest = identity(self.source, self.sha256)
        return f"{digest}:{self.column}" if self.source.partition("?")[0].endswith(".parquet") else digest

    def check(self, load: Callable[[], object]) -> None:
        """Before any work: a local file is loaded, and so checked whole; of a URL one byte is read."""

        def whole() -> None:
            load()

        check_file(self.source, self.sha256, whole, FORMATS)

    def numbers(self) -> np.ndarray:
        """In their own type; those of a local .npy stay on the disk until they are used. Of a .parquet, rows of null
        are left out.

        Raises:
            CurateError: for a file that is not there, of another sha256, or not what its ending says.
        """
        suffix = check_source(self.source, self.sha256, FORMATS)
        local = self.source.removeprefix("file://")
        if not is_url(self.source) and self.sha256 and (digest := file_sha256(local)) != self.sha256.lower():
            raise CurateError(f"'{self.source}' has the sha256 {digest}, expected {self.sha256.lower()}")
        try:
            if suffix == ".npy" and not is_url(self.source):
                return np.asanyarray(np.load(local, mmap_mode="r", allow_pickle=False))
            file = io.BytesIO(read_checked(self.source, self.sha256, MOST_BYTES))
            return np.load(file, allow_pickle=False) if suffix == ".npy" else self._parquet(file)
        except UNREADABLE as error:
            raise CurateError(f"'{self.source}' is no {suffix} file of numbers: {error}") from error

    def vectors(self) -> np.ndarray:
        """float[n, d] with n of 1 or more.

        Raises:
            CurateError: as `numbers`; for a file of other numbers, or an empty one.
        """
        rows = self.numbers()
        if rows.ndim != 2 or rows.dtype.kind != "f":
            raise CurateError(f"'{self.source}' holds {rows.dtype}{list(rows.shape)}, expected float[n, d]")
        if not rows.size:
            raise CurateError(f"'{self.source}' is empty: it holds {rows.dtype}{list(rows.shape)}")
        return rows

    def _parquet(self, file: io.BytesIO) -> np.ndarray:
        names = pq.read_schema(file).names
        if self.column not in names:
            raise unknown("column", self.column, names, self.source)
        file.seek(0)
        table = pq.read_table(file, columns=[self.column], page_checksum_verification=True)
        lists = table[self.column].combine_chunks()
        lists = lists.filter(lists.is_valid())
        sizes = np.unique(lengths(lists, self.column))
        if len(sizes) > 1:
            raise CurateError(
                f"'{self.source}', column '{self.column}': vectors of {sizes[0]} numbers and of {sizes[-1]}"
            )
        numbers: np.ndarray = lists.flatten().to_numpy(zero_copy_only=False)
        return numbers.reshape(len(lists), int(sizes[0]) if len(sizes) else 0)


def in_tiles(rows: np.ndarray, source: str, *, unit: bool) -> Iterator[tuple[int, np.ndarray]]:
    """(number of the first, float32[m, d]) of runs of vectors, all of them in their order.

    unit: whether they are made length 1.

    Raises:
        CurateError: for a number that is not finite; where they are made length 1, for a vector of zeros.
    """
    for first in range(0, len(rows), AT_ONCE):
        tile = np.asarray(rows[first : first + AT_ONCE]).astype(np.float32)
        finite = np.isfinite(tile).all(axis=1)
        if not finite.all():
            raise CurateError(f"'{source}', row {first + int(np.argmin(finite))}: not all numbers are finite")
        if unit:
            if not (some := tile.any(axis=1)).all():
                raise CurateError(f"'{source}', row {first + int(np.argmin(some))}: a vector of zeros points nowhere")
            tile = normalised(tile, source)
        yield first, tile
