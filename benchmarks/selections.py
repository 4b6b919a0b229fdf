"""Selections by stored vectors, beside plain numpy on the same vectors and beside what the processor can multiply.

    python benchmarks/selections.py [--rows 20000] [--dim 768] [--threads 1] [--only ncl]

Vectors are made up, float16 of length 1. Ours is the op's own `batch` or `judge`, from an Arrow column to its columns,
so reading, checking and making float32 are in it. numpy is what one would write at a desk: whole matrices, float32
(float64 for backdoor), as many rows at a time as the op takes. The limit is the multiplications of the method over the
rate of one matrix product of the same type and shape, measured in the same process before and after: no way that
multiplies as often can be faster. Times are processor time of all threads, the least of --rounds; numbers of a busy
machine are good as ratios only.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Callable
from typing import NamedTuple


class Way(NamedTuple):
    """ours, plain: do all rows. multiplications: of the method, all rows. double: whether they are of float64.
    agree: whether both give the same, to rounding."""

    ours: Callable[[], object]
    plain: Callable[[], object]
    multiplications: float
    double: bool
    agree: Callable[[object, object], bool]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=20_000)
    parser.add_argument("--dim", type=int, default=768)
    parser.add_argument("--centroids", type=int, default=10_000)
    parser.add_argument("--targets", type=int, default=10_000)
    parser.add_argument("--batch", type=int, default=8192, help="of ncl; 32,768 is published")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--only", default="")
    options = parser.parse_args()
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[name] = str(options.threads)
    measure(options)


def measure(options: argparse.Namespace) -> None:
    ways = {name: way for name, way in ways_of(options).items() if options.only in name}
    rates = {double: rate(options.dim, double) for double in {way.double for way in ways.values()}}
    print(f"{options.rows:,} rows of {options.dim}, {options.threads} thread(s)")
    for name, way in ways.items():
        same = way.agree(way.ours(), way.plain())
        ours, plain = (min(seconds(do) for _ in range(options.rounds)) for do in (way.ours, way.plain))
        fastest = max(rates[way.double], rate(options.dim, way.double))
        limit = way.multiplications / fastest
        print(
            f"{name:16} {options.rows / ours:10,.0f} rows/s a core; numpy {options.rows / plain:10,.0f}, "
            f"{plain / ours:.2f}x; limit {options.rows / limit:10,.0f} ({limit / ours:.0%} of it reached, at "
            f"{fastest / 1e9:.0f} billion multiplications a second); "
            f"{'same values' if same else 'VALUES DIFFER'}"
        )


def seconds(do: Callable[[], object]) -> float:
    began = time.process_time()
    do()
    return time.process_time() - began


def rate(dim: int, double: bool) -> float:
    """Multiplications a second of one matrix product."""
    import numpy as np

    one = np.random.default_rng(0).standard_normal((2048, dim)).astype(np.float64 if double else np.float32)
    one @ one.T
    return max(2048 * 2048 * dim / seconds(lambda: one @ one.T) for _ in range(5))


def ways_of(options: argparse.Namespace) -> dict[str, Way]:
    import numpy as np
    import polars as pl
    import pyarrow as pa

    from curate.arrays.vectors import vectors_array
    from curate.op import Rows
    from curate.score.backdoor import Backdoor
    from curate.score.ncl import Ncl
    from curate.score.near_centroids import NearCentroids
    from curate.score.normsim import NormSim

    rng, n, d = np.random.default_rng(0), options.rows, options.dim

    def unit(rows: int) -> np.ndarray:
        vectors = rng.standard_normal((rows, d), np.float32)
        return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float16)

    images, texts = unit(n), unit(n)
    centroids, targets = unit(options.centroids), unit(options.targets)
    folder = tempfile.mkdtemp()
    for name, values in (("centroids", centroids), ("targets", targets)):
        np.save(f"{folder}/{name}.npy", values)
    column, captions = (vectors_array(some, np.zeros(n, bool)) for some in (images, texts))

    def batches(op: NearCentroids | NormSim) -> Callable[[], object]:
        op.setup()
        (name, *_), size = list(op.makes())[-1:], op.batch_size

        def all_rows() -> object:
            parts = [op.batch(Rows({"v": column.slice(at, size)}))[name] for at in range(0, n, size)]
            return np.concatenate([part.to_numpy(zero_copy_only=False) for part in parts])

        return all_rows

    def judged(op: Ncl | Backdoor, size: int) -> Callable[[], object]:
        columns = {"uid": [f"{i:032x}" for i in range(n)], "v": column, "t": captions}
        keys = [f"{i // size:016d}".encode() for i in range(n)]
        place = {"key": keys, "shard": pa.array(np.zeros(n, np.int32)), "row": pa.array(np.arange(n, dtype=np.int32))}
        frame = pl.DataFrame(pa.table(place | columns))
        first = next(iter(op.makes()))

        def all_rows() -> object:
            return op.judge(frame).sort("row")[first].to_numpy()

        return all_rows

    def in_batches(one: Callable[[slice], np.ndarray], size: int) -> Callable[[], object]:
        return lambda: np.concatenate([one(slice(at, at + size)) for at in range(0, n, size)])

    def plain_ncl(some: slice) -> np.ndarray:
        cosines = images[some].astype(np.float32) @ texts[some].astype(np.float32).T / np.float32(0.01)
        sums = []
        for axis in (1, 0):
            most = cosines.max(axis=axis, keepdims=True)
            sums.append(np.log(np.exp(cosines - most).sum(axis=axis)) + most.ravel())
        return np.asarray(0.01 * (cosines.diagonal() - (sums[0] + sums[1]) / 2))

    def plain_kdist(some: slice) -> np.ndarray:
        points = images[some].astype(np.float64)
        squares = (points**2).sum(axis=1)
        distances = np.sqrt(np.maximum(squares[:, None] + squares - 2 * points @ points.T, 0))
        np.fill_diagonal(distances, np.inf)
        near = np.argsort(distances, axis=1)[:, :16]
        far = np.take_along_axis(distances, near, axis=1)
        reach = far[:, -1]
        (reach[:, None] / reach[near]).mean(axis=1)  # SLOF, which only needs to take its time
        return np.asarray(reach)

    def close(tolerance: float) -> Callable[[object, object], bool]:
        return lambda one, other: bool(np.allclose(one, other, atol=tolerance))  # type: ignore[call-overload]

    near = NearCentroids(by="v", centroids=f"{folder}/centroids.npy")
    greatest, squared = (NormSim(by="v", targets=f"{folder}/targets.npy", p=p) for p in ("inf", "2"))
    whole = {"c": centroids.astype(np.float32), "t": targets.astype(np.float32)}
    sizes = in_batches(lambda s: (images[s].astype(np.float32) @ whole["c"].T).max(axis=1), 4096)
    return {
        "near_centroids": Way(batches(near), sizes, n * d * len(centroids), False, close(1e-3)),
        "normsim inf": Way(
            batches(greatest),
            in_batches(lambda s: (images[s].astype(np.float32) @ whole["t"].T).max(axis=1), 4096),
            n * d * len(targets), False, close(1e-3),
        ),
        "normsim 2": Way(
            batches(squared),
            in_batches(lambda s: np.sqrt(((images[s].astype(np.float32) @ whole["t"].T) ** 2).sum(axis=1)), 4096),
            n * d * d, True, close(1e-2),
        ),
        "ncl, a partition": Way(
            judged(Ncl(by="v", texts="t", partitions=1), options.batch),
            in_batches(plain_ncl, options.batch), n * d * min(n, options.batch), False, close(1e-3),
        ),
        "backdoor, a round": Way(
            judged(Backdoor(by="v", rounds=1), 2048),
            in_batches(plain_kdist, 2048), n * d * min(n, 2048), True, close(1e-6),
        ),
    }  # fmt: skip


if __name__ == "__main__":
    main()
