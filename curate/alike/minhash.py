"""MinHash signatures of captions, bit for bit those of datasketch, and the true Jaccard similarity of near ones.

Shingles are slices of the text as `plain` makes it. The signature of a text equals that of datasketch 1.x's
`MinHash(num_perm, seed)`, which 2.x calls `scheme="legacy"`, updated with each shingle's UTF-8 bytes (Broder, 1997).
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import polars as pl
import pyarrow as pa

from curate.arrays.string_buffers import string_array, string_buffers

#: Where the letters, marks and digits of a caption end, for word shingles.
_NOT_WORD = r"[^\p{L}\p{M}\p{N}]+"
_BLANKS = r"[\s\x1c-\x1f]+"


def plain(texts: pl.Series, *, words: bool = False, digits: bool = True) -> pl.Series:
    """Captions as they are cut into shingles: NFC, lower case, blanks collapsed.

    digits: every decimal digit counts as 0, so that numbers of one length are equal.
    words: all that is no letter, mark or number counts as a blank.

    >>> plain(pl.Series(["A  Red\\tCar, 2019", None])).to_list()
    ['a red car, 0000', None]
    >>> plain(pl.Series(["A  Red-Car, 2019"]), words=True, digits=False).to_list()
    ['a red car 2019']
    """
    low = texts.cast(pl.String).str.normalize("NFC").str.to_lowercase()
    if digits:
        low = low.str.replace_all(r"\d", "0")
    joined: pl.Series = low.str.replace_all(_NOT_WORD if words else _BLANKS, " ").str.strip_chars(" ")
    return joined


def shingles(texts: pl.Series | pa.Array, k: int = 5, *, words: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """(uint64 ids, int64 bounds[n+1]): the sorted distinct shingles ids[bounds[i] : bounds[i + 1]] of each text.

    A shingle is k code points in a row (a text of fewer is one shingle), or with `words` one to k words in a row
    between single blanks. Its id is the first eight bytes of its SHA-1, little end first. An empty text and null have
    none. Texts are taken as they are: `plain` comes before.

    >>> ids, bounds = shingles(pl.Series(["a red stop sign", "a red stop sign!", "cat", ""]))
    >>> np.diff(bounds).tolist()
    [11, 12, 1, 0]
    >>> int(shingles(pl.Series(["hello"]))[0][0]) & 0xFFFFFFFF
    499578026
    """
    from curate.alike import sha1_kernels, shingle_kernels

    array = texts.to_arrow() if isinstance(texts, pl.Series) else texts
    if array.null_count:
        array = array.fill_null("")
    data, offsets, _ = string_buffers(string_array(array))
    first, last = int(offsets[0]), int(offsets[-1])
    padded = np.zeros(last - first + sha1_kernels.SPARE_BYTES, np.uint8)
    padded[: last - first] = data[first:last]
    bounds = np.empty(len(array) + 1, np.int64)
    blanks = np.count_nonzero(padded[: last - first] == ord(" "))
    most = k * (blanks + len(array)) if words else last - first
    begins, ends = np.empty(most, np.int64), np.empty(most, np.int64)
    cut = shingle_kernels.word_shingles if words else shingle_kernels.char_shingles
    cut(padded, offsets - first, k, begins, ends, bounds)
    count = int(bounds[-1])
    ids = np.empty(count, np.uint64)
    sha1_kernels.sha1_all(padded, begins[:count], ends[:count], ids, *sha1_kernels.scratch())
    longest = int(np.diff(bounds).max(initial=0))
    shingle_kernels.sorted_sets(ids, bounds, np.empty(2 * longest + 1, np.int64), np.empty(longest, np.uint64))
    return ids[: bounds[-1]].copy(), bounds


@lru_cache(maxsize=8)
def permutations(num_perm: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """(a, c) of datasketch's permutations a x + c, uint64 each.

    >>> [int(part[0]) for part in permutations(128, 1)]
    [775169054918279404, 1758426461858698312]
    """
    from datasketch import MinHash

    a, c = MinHash(num_perm=num_perm, seed=seed, scheme="legacy").permutations
    return a, c


def signatures(ids: np.ndarray, bounds: np.ndarray, *, num_perm: int = 128, seed: int = 1) -> np.ndarray:
    """uint32[n, num_perm] from `shingles`; a row without shingles has all ones, which says nothing: leave it out.

    >>> signatures(*shingles(pl.Series(["a"])), num_perm=4).tolist()
    [[297616339, 2290196162, 2013617805, 1974455217]]
    """
    from curate.alike import minhash_kernels as kernels

    more = -num_perm % kernels.PERMUTED
    a, c = (np.pad(numbers, (0, more)) for numbers in permutations(num_perm, seed))
    values = np.empty((len(bounds) - 1, len(a)), np.uint32)
    kernels.signatures(ids, bounds, a, c, values)
    return np.ascontiguousarray(values[:, :num_perm])


def candidate_probability(similarity: float | np.ndarray, bands: int, rows: int) -> np.ndarray:
    """Probability that two sets of this Jaccard similarity agree in all `rows` values of one band or more.

    >>> f"{candidate_probability(0.8, 9, 13):.4f}"
    '0.3988'
    """
    return np.asarray(1 - (1 - np.asarray(similarity, np.float64) ** rows) ** bands)


@lru_cache(maxsize=64)
def optimal_bands(num_perm: int, threshold: float) -> tuple[int, int]:
    """(bands, rows) that give the fewest errors at a threshold, false candidates and missed ones counting alike;
    by datasketch.

    >>> optimal_bands(128, 0.8)
    (9, 13)
    """
    from datasketch.lsh import _optimal_param

    bands, rows = _optimal_param(threshold, num_perm, 0.5, 0.5)
    return int(bands), int(rows)


def recalling_bands(num_perm: int, threshold: float, recall: float) -> tuple[int, int]:
    """(bands, rows): the longest bands, so the fewest false candidates, that still find a pair that is just at the
    threshold with the probability `recall`. One row per band is all that can be done when none does.

    >>> recalling_bands(128, 0.8, 0.95)
    (18, 7)
    """
    fits = [r for r in range(1, num_perm + 1) if candidate_probability(threshold, num_perm // r, r) >= recall]
    rows = max(fits, default=1)
    return num_perm // rows, rows


def band_keys(values: np.ndarray, bands: int, rows: int) -> np.ndarray:
    """uint64[n, bands] from signatures: equal in a band where all its values are."""
    if bands * rows > values.shape[1]:
        raise ValueError(f"{bands} bands of {rows} need {bands * rows} values, got {values.shape[1]}")
    from curate.alike import minhash_kernels as kernels

    keys = np.empty((len(values), bands), np.uint64)
    kernels.band_keys(values, bands, rows, keys)
    return keys


def similar_sets(
    ids: np.ndarray, bounds: np.ndarray, members: np.ndarray, groups: np.ndarray, threshold: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(a, b, Jaccard similarity) of links between sets of one group, places in `members`: a maximum spanning forest of
    all pairs at or above the threshold, so it has their connected components at every threshold from there up.

    members: which set stands at each place; groups: int64 bounds of the runs of places that are compared.
    """
    from curate.alike import minhash_kernels as kernels

    largest = int(np.diff(groups).max(initial=0))
    ends, weight = np.empty((2, len(members)), np.int64), np.empty(len(members))
    count = kernels.similar_sets(
        ids, bounds, members, groups, threshold, ends, weight, np.empty((2, largest), np.int64), np.empty(largest)
    )
    a, b = ends[:, :count].copy()
    return a, b, weight[:count].copy()
