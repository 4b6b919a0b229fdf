"""Builds a demo pool: pictures and captions drawn by code, so that the right answer is known for every row."""

from __future__ import annotations

import difflib
import math
import random
from collections.abc import Mapping
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from curate.demo.kinds import KINDS
from curate.demo.rows import COPIES, MAKERS, Row, Workshop, original

_COPIES_PER_ORIGINAL = {"exact_duplicate": 1.25, "same_url": 1.0, "near_duplicate": 1.25}


def build(
    folder: str | Path,
    rows: int = 2000,
    seed: int = 0,
    *,
    base_url: str = "http://127.0.0.1:8765",
    shares: Mapping[str, float] | None = None,
) -> Path:
    """Writes `pool.parquet` (url, text), `truth.parquet` (url, text, kind, group) and `files/`; returns the pool.

    Both tables have the same rows in the same order. `truth.parquet` is what a user would not have: the kind of trouble
    each row is (see `curate.demo.kinds.KINDS`) and, for rows that show the same picture, the original's url as `group`.
    `shares` changes the default weight of the kinds it names. The same arguments write the same bytes. The pictures
    are served at `base_url` by `curate.demo.server`, which may be started first, on the empty folder.

    Raises ValueError for an unknown kind, and for shares with too few good rows to make copies of.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    counts = row_counts(rows, shares)
    shop = Workshop(folder, base_url.rstrip("/"), random.Random(seed))
    pairs = _with_copies(shop, counts)
    for kind, count in counts.items():
        if kind != "good" and kind not in COPIES:
            pairs += [MAKERS[kind](shop, kind, number) for number in range(count)]
    shop.rng.shuffle(pairs)
    strings = {name: pa.array([getattr(row, name) for row in pairs], pa.string()) for name in Row.__annotations__}
    pq.write_table(pa.table(strings), folder / "truth.parquet")
    pool = folder / "pool.parquet"
    pq.write_table(pa.table({name: strings[name] for name in ("url", "text")}), pool)
    return pool


def row_counts(rows: int, shares: Mapping[str, float] | None = None) -> dict[str, int]:
    """Rows of each kind, adding up to `rows` (largest remainders get the rows that rounding leaves over).

    >>> row_counts(100)["parrot"], sum(row_counts(101).values())
    (5, 101)
    >>> row_counts(10, {"god": 1.0})
    Traceback (most recent call last):
    ValueError: no kind 'god' in a demo pool (did you mean 'good'?); there are: good, redirect_ok, exact_duplicate, ...
    """
    for name in shares or {}:
        if name not in KINDS:
            near = difflib.get_close_matches(name, KINDS, n=1)
            hint = f" (did you mean '{near[0]}'?)" if near else ""
            raise ValueError(f"no kind '{name}' in a demo pool{hint}; there are: {', '.join(KINDS)}")
    weights = {name: (shares or {}).get(name, kind.share) for name, kind in KINDS.items()}
    total = sum(weights.values())
    if total <= 0 or min(weights.values()) < 0:
        raise ValueError(f"shares of a demo pool must be 0 or more and not all 0; got {dict(shares or {})}")
    exact = {name: rows * weight / total for name, weight in weights.items()}
    counts = {name: math.floor(share + 1e-9) for name, share in exact.items()}
    by_remainder = sorted(KINDS, key=lambda name: counts[name] - exact[name])
    for name in by_remainder[: rows - sum(counts.values())]:
        counts[name] += 1
    return counts


def _with_copies(shop: Workshop, counts: Mapping[str, int]) -> list[Row]:
    """The good rows and the copies of some of them; each original is copied in one way only, at most twice."""
    needed = {kind: math.ceil(counts[kind] / _COPIES_PER_ORIGINAL[kind]) for kind in COPIES}
    if sum(needed.values()) > counts["good"]:
        copies = " + ".join(f"{counts[kind]} {kind}" for kind in COPIES)
        raise ValueError(f"{counts['good']} good rows are too few to make {copies} of; raise the share of good")
    pairs = [MAKERS["good"](shop, "good", number) for number in range(counts["good"] - sum(needed.values()))]
    for kind, count in needed.items():
        sources = [original(shop) for _ in range(count)]
        pairs += [source.row for source in sources]
        pairs += [COPIES[kind](shop, sources[number % count]) for number in range(counts[kind])]
    return pairs
