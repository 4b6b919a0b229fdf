"""The same rows through one pipeline on a Ray cluster of several nodes, by 1, 2 and 4 workers: same bytes, and seconds.

    python benchmarks/run.py --nodes 2 [--rows 100000]

All nodes are processes of this machine: together they have no more cores than it has, so seconds cannot fall further
than to those of its cores. Captions are those of benchmarks/exact.py, of which a fifth repeat an earlier row. Each
number of workers begins with an empty store and with workers that are still to be started; a first run does all in this
process. Every file of the tables, and of the lists of inputs, has to be the same byte for byte.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import pyarrow.parquet as pq
from exact import make_rows

from curate.cluster import many_shards
from curate.cluster.cluster import Cluster
from curate.pipeline.file import load_pipeline
from curate.run import run

WORKERS = (1, 2, 4)
SHARDS = 24
PIPELINE = """\
set: {root: ""}
steps:
  - read: {input: FOLDER/pairs.parquet, rows_per_shard: ROWS}
  - score: [score.words, score.text_rules]
  - dedupe: [exact: {by: url_text}, minhash]
  - filter: {name: long, keep: [{if: words > 3, else: short}, {if: NOT boilerplate, else: boilerplate}]}
"""


@contextlib.contextmanager
def nodes(count: int) -> Iterator[str]:
    """The address of a cluster of so many nodes on this machine, two workers each."""
    import ray
    from ray.cluster_utils import Cluster as Nodes

    # Workers of all nodes find the modules that this process finds.
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(Path.cwd()), os.environ.get("PYTHONPATH")]))
    cluster = Nodes(initialize_head=True, head_node_args={"num_cpus": 2, "include_dashboard": False})
    try:
        for _ in range(count - 1):
            cluster.add_node(num_cpus=2)
        cluster.wait_for_nodes()
        yield cluster.address
    finally:
        ray.shutdown()
        cluster.shutdown()


def on_nodes(count: int, rows: int, folder: Path) -> Iterator[str]:
    """A line for each number of workers.

    Raises:
        SystemExit: where a file differs.
    """
    pq.write_table(make_rows(rows), folder / "pairs.parquet")
    per_shard = str(-(-rows // SHARDS))
    (folder / "steps.yaml").write_text(PIPELINE.replace("FOLDER", str(folder)).replace("ROWS", per_shard))
    # Few shards would be left to threads of this process.
    many_shards.FEW_SHARDS, many_shards.RUN_ROWS = 0, int(per_shard)
    # First, so that what is compiled once a node is there.
    alone = _run(folder, Cluster(workers=0))
    with nodes(count) as address:
        taken = {workers: _run(folder, Cluster(address=address, workers=workers)) for workers in WORKERS}
    expected = _files(folder / "store-0")
    for workers, (seconds, steps) in taken.items():
        _compare(expected, _files(folder / f"store-{workers}"), workers)
        parts = ", ".join(f"{label} {one:.1f}" for label, one in steps.items())
        yield f"{workers} workers {seconds:7.1f} s, {seconds / taken[WORKERS[0]][0]:5.2f} of one worker's: {parts}"
    total = sum(map(len, expected.values()))
    yield f"this process {alone[0]:5.1f} s; {len(expected):,} files of tables, {total:,} bytes: the same in every run"


def _run(folder: Path, cluster: Cluster) -> tuple[float, Mapping[str, float]]:
    """Seconds of all, and of each step."""
    began = time.perf_counter()
    pipeline = load_pipeline(str(folder / "steps.yaml"), {"root": f"{folder}/store-{cluster.workers}"})
    try:
        result = run(pipeline, cluster)
        return time.perf_counter() - began, result["seconds"]
    finally:
        cluster.stop()


def _files(root: Path) -> dict[str, bytes]:
    """Every file of a store but what says how long it took."""
    files = {str(file.relative_to(root)): file.read_bytes() for file in root.rglob("*") if file.is_file()}
    return {name: data for name, data in files.items() if name not in ("manifest.json", "lease.json")}


def _compare(expected: Mapping[str, bytes], files: Mapping[str, bytes], workers: int) -> None:
    names = sorted(expected.keys() | files.keys())
    differ = [name for name in names if expected.get(name) != files.get(name)]
    if differ:
        raise SystemExit(f"{workers} workers: {len(differ)} of {len(names)} files differ: {', '.join(differ[:5])}")
