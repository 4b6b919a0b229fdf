"""Groups of near 256-bit hashes in one process: dedupe.perceptual by PDQ beside faiss and numpy.

    python benchmarks/near_pdq.py [--rows 100000] [--radius 31]

Hashes are random, a fifth of them up to 40 bits from another. All find the pairs within the radius, none missed, and
join them; the groups are compared. faiss is IndexBinaryFlat, which compares all with all (its hash indexes miss pairs
or need 2^31 probes), numpy a call per row; both grow with the square of the rows. With --images FOLDER, images a second
of score.pdq and of the authors' code (`pip install pdqhash`), and how many of their hashes are equal. Time is processor
time, of all threads.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import faiss
import numpy as np
import polars as pl
import pyarrow as pa
from near_images import grouped
from PIL import Image

from curate.alike.wide_hamming import agreeing, keys_for, sampled_keys
from curate.dedupe.perceptual import Perceptual
from curate.op import Rows
from curate.score.pdq import brightness, hash_and_quality


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--radius", type=int, default=31)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--recall", type=float, help="how many pairs keys of --key-bits find, by their distance")
    parser.add_argument("--key-bits", type=int, default=24)
    parser.add_argument("--images", type=Path)
    options = parser.parse_args()
    if options.images:
        beside_the_authors(options.images)
        return
    ours(make_hashes(1000, 0), options.radius)
    if options.recall:
        sampled(options.rows, options.radius, options.recall, options.key_bits)
        return
    for name, run in (("faiss", by_faiss), ("numpy", by_numpy)):
        hashes = make_hashes(options.rows if name == "faiss" else min(options.rows, 30_000), options.seed)
        ways: dict[Callable[..., np.ndarray], list[float]] = {run: [], ours: []}
        for _ in range(options.rounds):
            made = []
            for way, spent in ways.items():
                start = time.process_time()
                made.append(way(hashes, options.radius))
                spent.append(time.process_time() - start)
            if not np.array_equal(*made):
                raise SystemExit(f"{name} finds other groups")
        other, mine = (statistics.median(spent) for spent in ways.values())
        print(f"{len(hashes):8,} rows: {name:6} {other:8.2f} s, curate {mine:6.2f} s; curate is {other / mine:.1f}x")


def make_hashes(rows: int, seed: int) -> np.ndarray:
    """uint8[rows, 32]."""
    rng = np.random.default_rng(seed)
    bits = rng.integers(0, 2, (rows, 256), np.uint8)
    for i in rng.choice(rows, rows // 5, replace=False).tolist():
        bits[i] = bits[rng.integers(rows)]
        bits[i, rng.choice(256, rng.integers(41), replace=False)] ^= 1
    return np.packbits(bits, axis=1)


def sampled(rows: int, radius: int, recall: float, bits: int) -> None:
    """Planted pairs: how many share a key, and how many are reckoned; time of the groups, beside the exact way."""
    rng, keys = np.random.default_rng(1), keys_for(recall, radius, bits)
    print(f"{keys} keys of {bits} bits")
    for distance in range(1, radius + 1, 6):
        flips = np.zeros((rows, 256), np.uint8)
        for row in flips:
            row[rng.choice(256, distance, replace=False)] = 1
        words = rng.integers(0, 2**64, (rows, 4), np.uint64, endpoint=False)
        others = words ^ np.packbits(flips, axis=1).view(np.uint64)
        found = (sampled_keys(words, keys, bits) == sampled_keys(others, keys, bits)).any(axis=1).mean()
        print(
            f"  {distance:2} bits apart: {found:.4f} found, {1 - (1 - agreeing(distance, bits)) ** keys:.4f} reckoned"
        )
    hashes = make_hashes(rows, 0)
    for options in ({}, {"recall": recall, "key_bits": bits}):
        start = time.process_time()
        groups = ours(hashes, radius, **options)
        near = int((groups != np.arange(rows)).sum())
        print(f"  {options or 'exact'}: {near:,} of {rows:,} rows near another, {time.process_time() - start:.1f} s")


def ours(hashes: np.ndarray, radius: int, **options: Any) -> np.ndarray:
    op = Perceptual(by="pdq", radius=radius, colours=None, **options)
    column = pa.Array.from_buffers(pa.binary(32), len(hashes), [None, pa.py_buffer(hashes.tobytes())])
    frame = pl.DataFrame({"node": np.arange(len(hashes)), "pdq": pl.Series(column)})
    found = []
    for key in op.keys(Rows({"pdq": column})):
        keyed = frame.with_columns(key=pl.Series(key)).filter(pl.col("key").is_duplicated()).sort("key", "node")
        a, b, _ = op.links(keyed)
        found.append(keyed["node"].to_numpy()[np.stack([a, b])])
    a, b = np.concatenate(found, axis=1)
    return grouped(a, b, len(hashes))


def by_faiss(hashes: np.ndarray, radius: int) -> np.ndarray:
    index = faiss.IndexBinaryFlat(256)
    index.add(hashes)
    # It gives distances under, not up to.
    bounds, _, near = index.range_search(hashes, radius + 1)
    return grouped(np.repeat(np.arange(len(hashes)), np.diff(bounds.astype(np.int64))), near, len(hashes))


def by_numpy(hashes: np.ndarray, radius: int) -> np.ndarray:
    words = hashes.view(np.uint64)
    found = [np.empty((2, 0), np.int64)]
    for i in range(len(words)):
        near = i + 1 + np.flatnonzero(np.bitwise_count(words[i + 1 :] ^ words[i]).sum(axis=1) <= radius)
        found.append(np.stack([np.full(len(near), i), near]))
    a, b = np.concatenate(found, axis=1)
    return grouped(a, b, len(hashes))


def beside_the_authors(folder: Path) -> None:
    import pdqhash

    files = sorted(path for path in folder.rglob("*") if path.suffix in (".jpg", ".jpeg", ".png", ".webp"))
    images = [Image.open(path).convert("RGB") for path in files[:: -(-len(files) // 1000)]]
    images = [image for image in images if min(image.size) >= 5]
    pixels = [np.array(image) for image in images]
    hash_and_quality(pixels[0])
    start = time.process_time()
    ours = [hash_and_quality(image) for image in pixels]
    middle = time.process_time()
    theirs = [pdqhash.compute(image) for image in pixels]
    spent = middle - start, time.process_time() - middle
    equal = sum(np.packbits(bits).tobytes() == value for (bits, _), (value, _) in zip(theirs, ours, strict=True))
    close = sum(quality == other for (_, quality), (_, other) in zip(theirs, ours, strict=True))
    apart = [
        far_from_median(image, np.packbits(bits) ^ np.frombuffer(value, np.uint8))
        for image, (bits, _), (value, _) in zip(pixels, theirs, ours, strict=True)
    ]
    print(
        f"{len(images):,} images: curate {len(images) / spent[0]:,.0f} a second, pdqhash {len(images) / spent[1]:,.0f};"
        f" {equal:,} hashes and {close:,} qualities are equal"
    )
    print(
        f"bits that differ: {sum(map(len, apart)):,}; of a frequency more than 1e-6 from the median of its image: "
        f"{int((np.concatenate(apart) > 1e-6).sum())}"
    )


def far_from_median(pixels: np.ndarray, differing: np.ndarray) -> np.ndarray:
    """Of the bits set in 32 bytes: how far the frequency is from the median. Rounding alone decides those at it."""
    waves = brightness(pixels)[1]
    return np.abs(waves - np.median(waves)).ravel()[::-1][np.unpackbits(differing) == 1]


if __name__ == "__main__":
    main()
