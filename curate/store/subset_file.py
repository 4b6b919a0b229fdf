"""DataComp's subset file: which uids are taken, and how often; looked up where it lies, however large it is.

A .npy of two uint64 a row, the upper and the lower half of a uid, sorted; a uid that is there k times is taken k times.
The same bytes without numpy's head are read, too, and so is a .npy of uids as texts.
"""

from __future__ import annotations

import io
import os
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import fsspec
import numpy as np
import polars as pl

from curate.errors import CurateError
from curate.record import UID

#: A row: the halves of a uid, as numpy has them in memory and in the file.
HALVES = np.dtype("<u8,<u8")

_MAGIC = b"\x93NUMPY"
#: Rows that are compared with their neighbours at a time.
_ROWS = 1 << 20

EXPECTED = "expected a .npy of two uint64 a row (dtype u8,u8), the halves of a uid, as DataComp and --output write it"


@dataclass(frozen=True)
class Subset:
    """rows: (n,) of HALVES, sorted. distinct, repeated: uids, each counted once, and those of them that are there more
    than once. sorted_before: whether the file has them in this order."""

    rows: np.ndarray
    distinct: int
    repeated: int = 0
    sorted_before: bool = True

    @property
    def repeats(self) -> bool:
        """Whether a uid is there more than once."""
        return self.distinct < len(self.rows)

    def bounds(self, halves: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Where the rows of each uid begin, and where they end. halves: of HALVES."""
        return _search(self.rows, halves, right=False), _search(self.rows, halves, right=True)

    def look_up(self, uids: pl.Series) -> tuple[np.ndarray, np.ndarray]:
        """Of each uid the place of its first row, and how many rows it has; the place says nothing where it has none.

        >>> subset = Subset(np.array([(0, 5), (0, 7), (0, 7)], HALVES), 2, 1)
        >>> [part.tolist() for part in subset.look_up(pl.Series([f"{7:032x}", f"{6:032x}", "my-own-id"]))]
        [[1, 1, 0], [2, 0, 0]]
        """
        halves, valid = _halves(uids)
        first, last = self.bounds(halves)
        places, counts = np.zeros(len(uids), np.int64), np.zeros(len(uids), np.int64)
        places[valid], counts[valid] = first, last - first
        return places, counts


def subset_at(path: str) -> Subset:
    """
    Raises:
        CurateError: when there is no file, or it holds no uids.
    """
    try:
        return _opened(path, _version(path))
    except FileNotFoundError as error:
        raise CurateError(f"subset: there is no file '{path}'") from error
    except (OSError, ValueError) as error:
        raise CurateError(f"subset: '{path}' cannot be read ({type(error).__name__}: {error}): {EXPECTED}") from error


def _version(path: str) -> Any:
    """What tells the content of a file from an earlier one."""
    if "://" in path:
        fs, place = fsspec.core.url_to_fs(path, use_listings_cache=False)
        return str(fs.ukey(place))
    facts = os.stat(path)
    return facts.st_size, facts.st_mtime_ns, facts.st_ino


@lru_cache(maxsize=4)
def _opened(path: str, version: Any) -> Subset:
    rows = _rows(path, _array(path))
    in_order, distinct, repeated, goes_on = True, min(1, len(rows)), 0, False
    for start in range(0, len(rows) - 1, _ROWS):
        some = rows[start : start + _ROWS + 1]
        high, low = some["f0"], some["f1"]
        later = (high[1:] > high[:-1]) | ((high[1:] == high[:-1]) & (low[1:] > low[:-1]))
        same = (high[1:] == high[:-1]) & (low[1:] == low[:-1])
        in_order &= bool((later | same).all())
        distinct += int(later.sum())
        # A uid counts where its second row lies.
        repeated += int((same & ~np.append(goes_on, same[:-1])).sum())
        goes_on = bool(same[-1])
    if in_order:
        return Subset(rows, distinct, repeated)
    ordered = rows[np.lexsort((rows["f1"], rows["f0"]))]
    times = np.unique(ordered, return_counts=True)[1]
    return Subset(ordered, len(times), int((times > 1).sum()), sorted_before=False)


def _array(path: str) -> np.ndarray:
    """What the file holds; a local one stays on the disk."""
    with fsspec.open(path, "rb") as file:
        begins = file.read(len(_MAGIC))
        rest = file.read() if "://" in path else b""
    if begins != _MAGIC:
        return _without_head(path, begins + rest)
    if "://" in path:
        return np.load(io.BytesIO(begins + rest), allow_pickle=False)  # type: ignore[no-any-return]
    return np.load(path, mmap_mode="r", allow_pickle=False)  # type: ignore[no-any-return]


def _without_head(path: str, data: bytes) -> np.ndarray:
    """The rows of a file that is nothing but them."""
    size = len(data) if "://" in path else os.path.getsize(path)
    if path.endswith(".npy") or not size or size % HALVES.itemsize:
        raise CurateError(f"subset: '{path}' is no .npy: {EXPECTED}")
    rows = np.frombuffer(data, HALVES) if "://" in path else np.memmap(path, HALVES, mode="r")
    high = rows["f0"]
    if (high[1:] < high[:-1]).any():
        raise CurateError(f"subset: '{path}' has no head of numpy's, and its rows are not sorted: {EXPECTED}")
    return rows


def _rows(path: str, array: np.ndarray) -> np.ndarray:
    """The rows as HALVES."""
    kind = array.dtype
    if array.ndim == 1 and kind.kind in "US":
        return _from_texts(path, array)
    fields = [kind[place] for place in range(len(kind.names or ()))]
    if array.ndim != 1 or len(fields) != 2 or not all(f.kind == "u" and f.itemsize == 8 for f in fields):
        raise CurateError(f"subset: '{path}' holds {kind} of shape {array.shape}: {EXPECTED}")
    if all(field.newbyteorder("<") == field for field in fields) and kind.itemsize == HALVES.itemsize:
        return array.view(HALVES)
    first, second = kind.names or ()
    rows = np.empty(len(array), HALVES)
    rows["f0"], rows["f1"] = array[first], array[second]
    return rows


def _from_texts(path: str, array: np.ndarray) -> np.ndarray:
    texts = array.astype("U").tolist()
    for number, text in enumerate(texts):
        if not UID.match(text.lower()):
            raise CurateError(f"subset: '{path}', row {number}: '{text}' is no uid of 32 hex digits")
    return _halves(pl.Series([text.lower() for text in texts], dtype=pl.String))[0]


def _halves(uids: pl.Series) -> tuple[np.ndarray, np.ndarray]:
    """Those of the uids that are 32 hex digits, as HALVES, and a bool for each uid: whether it is."""
    data = uids.cast(pl.String).str.decode("hex", strict=False)
    valid = (data.bin.size() == 16).fill_null(False)
    joined = b"".join(data.filter(valid).to_list())
    halves = np.frombuffer(joined, ">u8").astype("<u8").view(HALVES)
    return halves.reshape(-1), valid.to_numpy()


def _search(rows: np.ndarray, halves: np.ndarray, right: bool) -> np.ndarray:
    """As np.searchsorted, which would copy all of a file's rows."""
    high, low = halves["f0"], halves["f1"]
    first, last = np.zeros(len(halves), np.int64), np.full(len(halves), len(rows), np.int64)
    for _ in range(len(rows).bit_length()):
        middle = np.minimum((first + last) // 2, len(rows) - 1)
        at = rows[middle]
        before = (at["f0"] < high) | ((at["f0"] == high) & ((at["f1"] <= low) if right else (at["f1"] < low)))
        unsettled = first < last
        first = np.where(unsettled & before, middle + 1, first)
        last = np.where(unsettled & ~before, middle, last)
    return first
