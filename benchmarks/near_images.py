"""Groups of near hashes in one process: dedupe.perceptual beside imagehash, numpy and a dictionary of pieces.

    python benchmarks/near_images.py [--rows 100000] [--radius 6]

Hashes are random, a fifth of them a few bits from another. All find the pairs within the radius and join them, and the
groups are compared. `imagehash loop` subtracts every pair of ImageHash objects, as its users do; `dictionary` looks up
each of radius + 1 pieces and compares what it finds there, in Python; `numpy` counts the bits of one hash against all
later ones, a call per row. Time is processor time. The slow ones get fewer rows: they all grow with their
square, so the ratio does too.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import imagehash
import numpy as np
import polars as pl
import pyarrow as pa
from in_turn import processor_seconds

from curate.alike.forest import components
from curate.dedupe.perceptual import Perceptual
from curate.op import Rows

BITS = 64


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--radius", type=int, default=6)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    ours(make_hashes(1000, 0), options.radius)
    runners: list[tuple[str, int, Callable[..., Any]]] = [
        ("imagehash loop", 1500, by_imagehash),
        ("dictionary", options.rows, by_dictionary),
        ("numpy", options.rows, by_numpy),
    ]
    for name, rows, run in runners:
        hashes = make_hashes(min(rows, options.rows), options.seed)
        if not np.array_equal(run(hashes, options.radius), ours(hashes, options.radius)):
            raise SystemExit(f"{name} finds other groups")
        compare(name, hashes, run, options)


def make_hashes(rows: int, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    hashes = rng.integers(0, 2**64, rows, np.uint64, endpoint=False)
    near = rng.choice(rows, rows // 5, replace=False)
    flips = np.uint64(1) << rng.integers(0, BITS, (len(near), 6)).astype(np.uint64)
    flips[rng.random(flips.shape) < 0.4] = 0
    hashes[near] = hashes[rng.integers(0, rows, len(near))] ^ np.bitwise_xor.reduce(flips, axis=1)
    return hashes


def grouped(a: np.ndarray, b: np.ndarray, rows: int) -> np.ndarray:
    """The smallest row of each row's group."""
    labels = np.arange(rows)
    nodes, found, _ = components(a, b, np.ones(len(a)), 2)
    labels[nodes] = found
    return labels


def ours(hashes: np.ndarray, radius: int) -> np.ndarray:
    op = Perceptual(radius=radius, colours=None)
    keys = op.keys(Rows({"phash": pa.array(hashes)}))
    found: list[Any] = []
    nodes = np.arange(len(hashes))
    for key in keys:
        frame = pl.DataFrame({"key": pl.Series(key), "node": nodes, "phash": hashes})
        frame = frame.filter(pl.col("key").is_duplicated()).sort("key", "node")
        a, b, _ = op.links(frame)
        found.append(frame["node"].to_numpy()[np.stack([a, b])])
    a, b = np.concatenate(found, axis=1)
    return grouped(a, b, len(hashes))


def by_imagehash(hashes: np.ndarray, radius: int) -> np.ndarray:
    bits = np.unpackbits(hashes.astype(">u8").view(np.uint8).reshape(-1, 8), axis=1).astype(bool)
    made = [imagehash.ImageHash(row.reshape(8, 8)) for row in bits]
    pairs = [(i, j) for i in range(len(made)) for j in range(i + 1, len(made)) if made[i] - made[j] <= radius]
    a, b = np.array(pairs).T if pairs else np.empty((2, 0), int)
    return grouped(a, b, len(hashes))


def by_numpy(hashes: np.ndarray, radius: int) -> np.ndarray:
    found = [np.empty((2, 0), np.int64)]
    for i in range(len(hashes)):
        near = i + 1 + np.flatnonzero(np.bitwise_count(hashes[i + 1 :] ^ hashes[i]) <= radius)
        found.append(np.stack([np.full(len(near), i), near]))
    a, b = np.concatenate(found, axis=1)
    return grouped(a, b, len(hashes))


def by_dictionary(hashes: np.ndarray, radius: int) -> np.ndarray:
    bounds = [round(i * BITS / (radius + 1)) for i in range(radius + 2)]
    masks = [((1 << stop) - 1) ^ ((1 << start) - 1) for start, stop in pairwise(bounds)]
    seen: dict[tuple[int, int], list[int]] = defaultdict(list)
    values, pairs = hashes.tolist(), []
    for i, value in enumerate(values):
        for piece, mask in enumerate(masks):
            rows = seen[piece, value & mask]
            pairs += [(j, i) for j in rows if (values[j] ^ value).bit_count() <= radius]
            rows.append(i)
    a, b = np.array(pairs).T if pairs else np.empty((2, 0), int)
    return grouped(a, b, len(hashes))


def compare(name: str, hashes: np.ndarray, run: Callable[..., Any], options: argparse.Namespace) -> None:
    """Alternating rounds, so that a slow minute of the machine falls on both; medians."""
    ways = {way.__name__: lambda way=way: way(hashes, options.radius) for way in (run, ours)}
    other, mine = processor_seconds(ways, options.rounds).values()
    print(f"{len(hashes):8,} rows: {name:16} {other:8.3f} s, curate {mine:7.3f} s; curate is {other / mine:.1f}x")


if __name__ == "__main__":
    main()
