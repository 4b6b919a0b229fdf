"""Semantic duplicates of stored embeddings: dedupe.semantic beside SemHash, on the same vectors.

    python benchmarks/semantic.py [--rows 50000] [--clusters 200] [--eps 0.05]

Needs `pip install semhash`, in an environment of its own: it wants another huggingface_hub than transformers 4 does.
SemHash gets the vectors as they are (`from_embeddings`), so that no model is timed: its nearest neighbours by usearch,
then its choice of what stays. Ours is k-means and the assignment of balance.clusters, then each cluster by the
published rule. Vectors are made up: 256 numbers around one of 2,000 directions, a fifth of them close to an earlier
one. The rules differ: SemHash drops a row near one that stays, SemDeDup a row near any before it. So what is compared
is how many of the pairs over the threshold, which are counted exactly, still have both rows, and whether a row without
such a twin was dropped. Time is processor time, of all threads.
"""

from __future__ import annotations

import argparse
import importlib.util
import statistics
import time
from collections.abc import Callable

import numpy as np
import polars as pl
import pyarrow as pa

from curate.balance.clusters import Clusters
from curate.dedupe.semantic import Semantic
from curate.op import Rows

DIM, DIRECTIONS = 256, 2000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=50_000)
    parser.add_argument("--clusters", type=int, default=200)
    parser.add_argument("--eps", type=float, default=0.05)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    if importlib.util.find_spec("semhash") is None:
        print("left out: semhash is not installed")
        return
    vectors = make_vectors(options.rows, options.seed)
    pairs = close(vectors, 1 - options.eps)
    ways: dict[str, Callable[[], np.ndarray]] = {
        "curate, earlier": lambda: ours(vectors, options, "earlier"),
        "earlier, nearest 2": lambda: ours(vectors, options, "earlier", 2),
        "curate, linked": lambda: ours(vectors, options, "linked"),
        "SemHash": lambda: by_semhash(vectors, options),
    }
    print(f"{options.rows:,} vectors of {DIM}, {len(pairs):,} pairs over {1 - options.eps:.2f}")
    times: dict[str, list[float]] = {name: [] for name in ways}
    kept: dict[str, np.ndarray] = {}
    for _ in range(options.rounds):
        for name, way in ways.items():
            start = time.process_time()
            kept[name] = way()
            times[name].append(time.process_time() - start)
    other = statistics.median(times["SemHash"])
    for name, stay in kept.items():
        mine = statistics.median(times[name])
        left = (stay[pairs[:, 0]] & stay[pairs[:, 1]]).sum()
        alone = ~stay & ~np.isin(np.arange(options.rows), pairs)
        print(
            f"{name:18} {mine:7.2f} s, {other / mine:5.1f}x as fast as SemHash; {stay.sum():,} rows stay, with both "
            f"rows of {left:,} pairs ({left / max(1, len(pairs)):.2%}); {alone.sum():,} rows without a twin dropped"
        )


def make_vectors(rows: int, seed: int) -> np.ndarray:
    """float16[rows, 256], as they are stored."""
    rng = np.random.default_rng(seed)
    directions = rng.standard_normal((DIRECTIONS, DIM), np.float32)
    vectors = directions[rng.integers(0, DIRECTIONS, rows)] + rng.standard_normal((rows, DIM), np.float32)
    for i in np.flatnonzero(rng.random(rows) < 0.2)[1:].tolist():
        vectors[i] = vectors[rng.integers(i)] + rng.uniform(0.05, 0.4) * rng.standard_normal(DIM, np.float32)
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float16)


def close(vectors: np.ndarray, over: float) -> np.ndarray:
    """All pairs with a cosine over `over`, int64[n, 2]."""
    unit = vectors.astype(np.float32)
    found = []
    for start in range(0, len(unit), 1000):
        a, b = np.nonzero(unit[start : start + 1000] @ unit.T > over)
        found.append(np.stack([a + start, b], axis=1)[a + start < b])
    return np.concatenate(found)


def ours(vectors: np.ndarray, options: argparse.Namespace, rule: str, nearest: int = 1) -> np.ndarray:
    """Whether each row stays."""
    uids = [f"{i:032x}" for i in range(len(vectors))]
    offsets = pa.array(np.arange(len(vectors) + 1, dtype=np.int32) * DIM)
    column = pa.ListArray.from_arrays(offsets, pa.array(vectors.ravel()))
    clusters = Clusters(by="v", k=options.clusters, nearest=nearest)
    rows = Rows({"v": column, "uid": pa.array(uids)})
    made = clusters.batch(rows, clusters.fit(lambda part: part(rows)))
    op = Semantic(by="v", eps=options.eps, rule=rule, nearest=nearest)
    keys = op.keys(Rows({"v": column, **{name: pa.array(values) for name, values in made.items()}}))
    frame = pl.DataFrame(
        {
            "shard": np.zeros(len(vectors), np.int32),
            "row": np.arange(len(vectors), dtype=np.int32),
            "uid": uids,
            "v": pl.Series(column),
            "v_cluster_cos": pl.Series(made["v_cluster_cos"]),
        }
    )
    bands = [frame.with_columns(key=pl.Series(band)) for band in (keys if nearest > 1 else [keys])]
    verdict = op.judge(pl.concat(bands))
    if nearest > 1:
        verdict = op.merge(verdict)
    return verdict.sort("row")["semantic_v_of"].is_null().to_numpy()


def by_semhash(vectors: np.ndarray, options: argparse.Namespace) -> np.ndarray:
    records = [{"id": str(i)} for i in range(len(vectors))]
    from semhash import SemHash

    hashed = SemHash.from_embeddings(vectors.astype(np.float32), records, model=None, columns=["id"])
    stay = np.zeros(len(vectors), bool)
    stay[[int(record["id"]) for record in hashed.self_deduplicate(threshold=1 - options.eps).selected]] = True
    return stay


if __name__ == "__main__":
    main()
