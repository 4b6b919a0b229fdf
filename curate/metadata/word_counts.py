"""How often words and pairs of neighbours stand in a text of any size, exactly, with the counts spilled to disk.

Both are counted in memory until a table is full, which is then written as a run sorted by key; at the end the runs are
added up a range of keys at a time. Memory depends on the sizes below and, for pairs, on how many words may be in one.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa

from curate.metadata import word_kernels as kernels

#: Distinct words, and bytes of them, counted in memory before a run is written: 130 MB in all.
TABLE_WORDS = 1 << 21
TABLE_BYTES = 48 << 20
#: Pairs held before a run is written: 128 MB.
TABLE_PAIRS = 1 << 24
#: Words cut at a time.
SCAN_WORDS = 1 << 16
#: Rows of all runs added up at a time.
MERGE_ROWS = 1 << 20
#: Bytes of the longest word: longer ones are no words, but data.
LONGEST = 1024


class Runs:
    """Sorted runs of (key, ..., count) in a folder, as parquet, and their sum."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True)
        self.folder, self.rows, self.files, self.highest = folder, 0, 0, 0

    def add(self, run: pl.DataFrame) -> None:
        """Write one run: `key` uint64, any columns that the key decides together with it, `count`."""
        if not run.height:
            return
        if not run["key"].is_sorted():
            run = run.sort("key")
        run.write_parquet(self.folder / f"{self.files:06}.parquet", row_group_size=1 << 16, statistics=True)
        self.files += 1
        self.rows += run.height
        self.highest = max(self.highest, run["key"][-1])

    def merged(self, rows: int = MERGE_ROWS) -> Iterator[pl.DataFrame]:
        """The sum of all runs, by ascending `key`, in frames made of about `rows` rows of the runs each."""
        if not self.files:
            return
        runs = pl.scan_parquet(sorted(self.folder.glob("*.parquet")), glob=False)
        parts = -(-self.rows // rows)
        bounds = [self.highest * part // parts for part in range(1, parts)] + [self.highest]
        low = 0
        for high in bounds:
            yield _summed(runs.filter(pl.col("key").is_between(low, high)).collect())
            low = high + 1


def _summed(part: pl.DataFrame) -> pl.DataFrame:
    """Rows that differ in `count` alone as one, sorted; several times as fast as a group-by on text."""
    rows = part.sort(pl.exclude("count"))
    if not rows.height:
        return rows
    # The first row differs from the null before it.
    first = rows.select(pl.any_horizontal(pl.exclude("count").ne_missing(pl.exclude("count").shift()))).to_series()
    sums = np.add.reduceat(rows["count"].to_numpy(), np.flatnonzero(first.to_numpy()))
    return rows.filter(first).with_columns(pl.Series("count", sums))


class _Scanner:
    """Words of blocks of text as arrays, `SCAN_WORDS` at a time."""

    def __init__(self, kinds: np.ndarray) -> None:
        self.kinds = kinds
        self.starts = np.empty(SCAN_WORDS, np.int64)
        self.sizes = np.empty(SCAN_WORDS, np.int32)
        self.hashes = np.empty(SCAN_WORDS, np.uint64)
        self.breaks = np.empty(SCAN_WORDS, np.uint8)

    def words(self, blocks: Iterable[bytes]) -> Iterator[tuple[np.ndarray, int]]:
        """(block, how many of its words the arrays hold now); no block's first word is a neighbour."""
        for block in blocks:
            data, at, broken = np.frombuffer(block, np.uint8), 0, True
            while at < len(data):
                count, at, broken = kernels.scan(
                    data, at, broken, self.kinds, LONGEST, self.starts, self.sizes, self.hashes, self.breaks
                )
                yield data, count


def count_words(
    blocks: Iterable[bytes],
    kinds: np.ndarray,
    runs: Runs,
    table_words: int = TABLE_WORDS,
    table_bytes: int = TABLE_BYTES,
) -> int:
    """Count the words of valid UTF-8 blocks into `runs` (key: hash, `word`, `count`); returns how many there are.

    `kinds`: what each character does, as `curate.metadata.word_rules.kinds` makes it.
    """
    scanner, total = _Scanner(kinds), 0
    slots = np.zeros(1 << (2 * table_words - 1).bit_length(), np.int32)
    keys, counts = np.empty(table_words, np.uint64), np.empty(table_words, np.int64)
    ends = np.zeros(table_words + 1, np.int64)
    letters = np.empty(max(table_bytes, LONGEST), np.uint8)
    words = 0

    def spill() -> None:
        buffers = [None, pa.py_buffer(ends[: words + 1]), pa.py_buffer(letters)]
        names = pa.Array.from_buffers(pa.large_string(), words, buffers)
        table = pa.table({"key": keys[:words], "word": names, "count": counts[:words]})
        runs.add(pl.DataFrame(table))
        slots.fill(0)

    for data, count in scanner.words(blocks):
        total += count
        done = 0
        while done < count:
            done, words = kernels.count(
                data, scanner.starts, scanner.sizes, scanner.hashes, done, count,
                slots, keys, counts, ends, letters, words,
            )  # fmt: skip
            if done < count:
                spill()
                words = 0
    spill()
    return total


def count_pairs(
    blocks: Iterable[bytes], kinds: np.ndarray, known: np.ndarray, runs: Runs, table_pairs: int = TABLE_PAIRS
) -> None:
    """Count the pairs of neighbours that are both in `known` into `runs` (key: first << 32 | second, `count`).

    `known`: the sorted distinct uint64 hashes of the words that count; a word's number is its place there.
    """
    scanner = _Scanner(kinds)
    bits = max(1, (len(known) - 1).bit_length()) if len(known) else 1
    edges = (np.arange(1 << bits, dtype=np.uint64)) << np.uint64(64 - bits)
    buckets = np.append(np.searchsorted(known, edges), len(known)).astype(np.int64)
    out = np.empty(max(table_pairs, SCAN_WORDS), np.uint64)
    filled, last = 0, -1

    def spill() -> None:
        if not filled:
            return
        pairs = out[:filled]
        pairs.sort()  # in place: np.unique would hold four copies
        first = np.flatnonzero(np.append(True, pairs[1:] != pairs[:-1]))
        runs.add(pl.DataFrame({"key": pairs[first], "count": np.diff(first, append=filled)}))

    for _, count in scanner.words(blocks):
        if filled + count > len(out):
            spill()
            filled = 0
        filled, last = kernels.pairs(
            scanner.hashes, scanner.breaks, count, last, known, buckets, np.uint64(64 - bits), out, filled
        )
    spill()
