"""Light work on all shards: where it is done, how shards are cut into runs, and that a cluster of two nodes does it."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from two_nodes import node_of, two_nodes

from curate.cluster import many_shards
from curate.cluster.cluster import Cluster
from curate.cluster.many_shards import are_few, each_run, shard_runs


class Elsewhere(Cluster):
    """A cluster that only notes that it was asked."""

    asked = ""

    def each(self, label, task, todo, sizes, **use) -> Iterator[tuple[int, object]]:
        self.asked = label
        for item in todo:
            yield item, (item, sizes[item])


def process(run: int) -> tuple[int, int]:
    return run, os.getpid()


@pytest.mark.parametrize(
    ("shards", "rows", "few"),
    [(2_000, 1, True), (2_001, 1, False), (2, 10_000_000, True), (2, 10_000_001, False), (0, 0, True)],
)
def test_few_shards_are_done_in_this_process(shards, rows, few):
    assert are_few(dict.fromkeys(range(shards), rows)) is few


def test_workers_do_it_only_when_shards_are_many(monkeypatch):
    rows = {0: 4, 1: 3, 2: 5}
    runs = shard_runs(rows, 7)
    assert runs == [range(0, 2), range(2, 3)]
    here = [(run, os.getpid()) for run in range(2)]
    cluster = Elsewhere()
    assert list(each_run("few", process, runs, rows, cluster)) == here
    monkeypatch.setattr(many_shards, "FEW_SHARDS", 2)
    assert list(each_run("none", process, runs, rows, None)) == here
    assert list(each_run("here", process, runs, rows, Elsewhere(workers=0))) == here
    assert not cluster.asked
    assert list(each_run("many", process, runs, rows, cluster)) == [(0, 7), (1, 5)], "runs with their rows"
    assert cluster.asked == "many"


def test_a_fault_in_a_thread_comes_as_it_is():
    def fault(run: int) -> None:
        raise OSError(f"run {run}")

    with pytest.raises(OSError, match="run 0"):
        list(each_run("here", fault, shard_runs({0: 1, 1: 1}, 1), {0: 1, 1: 1}, None))


@pytest.mark.parametrize("rows", [{}, {3: 5}, {0: 1, 1: 0, 2: 9, 5: 1, 6: 1, 7: 11}])
@pytest.mark.parametrize("most", [1, 2, 10, 100])
def test_every_shard_is_in_one_run(rows, most):
    runs = shard_runs(rows, most)
    assert [shard for run in runs for shard in run] == list(rows)
    assert all(len(run) == 1 or sum(rows[shard] for shard in run) <= most for run in runs)


@pytest.mark.slow
def test_both_nodes_of_a_cluster_do_it(monkeypatch):
    monkeypatch.setattr(many_shards, "FEW_SHARDS", 0)
    rows = dict.fromkeys(range(40), 1)
    with two_nodes() as address:
        cluster = Cluster(address=address, workers=4)
        reports = list(each_run("nodes", node_of, shard_runs(rows, 1), rows, cluster))
        cluster.stop()
    assert sorted(item for item, _ in reports) == list(range(40))
    assert len({node for _, node in reports}) == 2


def test_a_run_has_few_shards_however_small_they_are() -> None:
    runs = shard_runs(dict.fromkeys(range(2_500), 1))
    assert runs == [range(1_000), range(1_000, 2_000), range(2_000, 2_500)]
