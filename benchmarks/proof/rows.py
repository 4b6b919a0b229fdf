"""The rows of the proof: a pure function of kind, seed and block, so that any part can be made again.

A fifth of the rows of a block are near copies: half of them of rows of the same block, half of the first rows of an
earlier one.
`source` is the number of the row that was copied, -1 for rows that are none. Copies lie on both sides of the usual
thresholds: hashes 0 to 6 bits away; captions equal, with one letter more, or with one word changed; vectors with a
cosine of .999 to .94. The row that was copied may be a copy itself; then its own content is not in the store.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

#: Rows that are made together.
BLOCK = 100_000
#: Share of the rows that are copies.
COPIES = 0.2
WORDS, WIDTH, DIRECTIONS = 200_000, 512, 2_000
FLOATS = pa.list_(pa.float16())


@cache
def vocabulary() -> tuple[pa.Array, np.ndarray]:
    """(words, cumulative share of each): the n-th is met 1 / n as often as the first."""
    rng = np.random.default_rng(0)
    letters = np.array(list("etaoinshrdlcumwfgypbvk"))
    weights = 1 / np.arange(1, WORDS + 1)
    return pa.array(["".join(rng.choice(letters, n)) for n in rng.integers(2, 9, WORDS)]), np.cumsum(
        weights / weights.sum()
    )


@cache
def directions() -> np.ndarray:
    return np.random.default_rng(0).standard_normal((DIRECTIONS, WIDTH), np.float32)


def _generator(seed: int, block: int, use: int) -> np.random.Generator:
    return np.random.default_rng([seed, block, use])


def _own(kind: str, seed: int, block: int, rows: int = BLOCK) -> np.ndarray:
    """What the first rows of a block would be without copies: uint64[n]; int32[n, 20] of words, -1 behind the last; or
    float32[n, 512]."""
    rng, second = _generator(seed, block, 0), _generator(seed, block, 1)
    if kind == "perceptual":
        return rng.integers(0, 2**64, rows, np.uint64, endpoint=False)
    if kind == "semantic":
        # Even from -1.7 to 1.7, so as wide as a normal of deviation 1, and made in a tenth of its time.
        values = rng.integers(-128, 128, (rows, WIDTH), np.int8).astype(np.float32)
        values *= np.float32(np.sqrt(3) / 128)
        values += directions()[second.integers(0, DIRECTIONS, rows)]
        return values
    words = np.searchsorted(vocabulary()[1], rng.random((rows, 20))).astype(np.int32)
    words[np.arange(20) >= second.integers(5, 21, rows)[:, None]] = -1
    return words


def _changed(kind: str, rng: np.random.Generator, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(near copies, captions that get one letter more)."""
    size, longer = len(values), np.zeros(len(values), bool)
    if kind == "perceptual":
        bits = np.uint64(1) << rng.integers(0, 64, (size, 6)).astype(np.uint64)
        bits[np.arange(6) >= rng.integers(0, 7, size)[:, None]] = 0
        return values ^ np.bitwise_xor.reduce(bits, axis=1), longer
    if kind == "semantic":
        noise = rng.standard_normal((size, WIDTH), np.float32)
        return values + noise * rng.uniform(0.05, 0.5, (size, 1)).astype(np.float32), longer
    how, values = rng.integers(0, 3, size), values.copy()
    place = rng.integers(0, (values >= 0).sum(axis=1))
    other = np.searchsorted(vocabulary()[1], rng.random(size)).astype(np.int32)
    values[how == 2, place[how == 2]] = other[how == 2]
    return values, how == 1


def _column(kind: str, values: np.ndarray, longer: np.ndarray) -> pa.Array:
    if kind == "perceptual":
        return pa.array(values)
    if kind == "semantic":
        flat = pa.array(values.astype(np.float16).ravel())
        return pa.ListArray.from_arrays(np.arange(0, len(flat) + 1, WIDTH, np.int32), flat)
    ends = np.concatenate([[0], np.cumsum((values >= 0).sum(axis=1))]).astype(np.int32)
    words = pa.ListArray.from_arrays(ends, vocabulary()[0].take(pa.array(values[values >= 0])))
    return pc.binary_join_element_wise(pc.binary_join(words, " "), pa.array(np.where(longer, "s", "")), "")


def block(kind: str, seed: int, number: int, rows: int) -> pa.Table:
    """url, the column that is compared, source; the first `rows` rows."""
    rng = _generator(seed, number, 2)
    own, longer = _own(kind, seed, number), np.zeros(BLOCK, bool)
    values, source = own.copy(), np.full(BLOCK, -1, np.int64)
    copies = np.flatnonzero(rng.random(BLOCK) < COPIES)
    other = int(rng.integers(0, max(1, number)))
    first = min(rows, BLOCK // 5)
    for places, of, most in ((copies[::2], number, rows), (copies[1::2], other, first)):
        picked = rng.integers(0, most, len(places))
        originals = own if of == number else _own(kind, seed, of, first)
        values[places], longer[places] = _changed(kind, rng, originals[picked])
        source[places] = of * BLOCK + picked
    names = pa.array(np.arange(number * BLOCK, (number + 1) * BLOCK)).cast(pa.string())
    urls = pc.binary_join_element_wise(pa.scalar("http://example.org/"), names, pa.scalar(".jpg"), "")
    column = _column(kind, values, longer)
    text = column if kind == "minhash" else pa.array(["a"]).take(pa.array(np.zeros(BLOCK, np.int8)))
    more = {} if kind == "minhash" else {COLUMN[kind]: column}
    return pa.table({"url": urls, "text": text, **more, "source": source}).slice(0, rows)


#: The column that an op compares.
COLUMN = {"minhash": "text", "perceptual": "phash", "semantic": "v"}


def write_file(path: Path, kind: str, seed: int, first: int, rows: int) -> None:
    """`rows` rows from row `first` on, whole blocks but for the last; written whole or not at all."""
    part = path.with_suffix(".part")
    writer: pq.ParquetWriter | None = None
    for start in range(first, first + rows, BLOCK):
        table = block(kind, seed, start // BLOCK, min(BLOCK, first + rows - start))
        writer = writer or pq.ParquetWriter(part, table.schema, compression="zstd", use_dictionary=["text"])
        writer.write_table(table)
    if writer:
        writer.close()
        part.rename(path)
