"""Workers that stay from step to step, on a real Ray."""

from __future__ import annotations

import gc
import os
import signal
import time
from collections.abc import Iterator

import psutil
import pytest
from conftest import patience

from curate.cluster.cluster import Cluster
from curate.cluster.crew import Crew, Needs

pytestmark = pytest.mark.slow


class Pid:
    """Tells in which process an item was done; an item takes long enough that both workers get some."""

    def __call__(self, item: int) -> int:
        time.sleep(0.05)
        return os.getpid()


@pytest.fixture
def cluster(ray_cluster: Cluster) -> Iterator[Cluster]:
    """A cluster of its own on the Ray that is there."""
    own = Cluster(workers=2)
    yield own
    own.stop()


def processes(cluster: Cluster, **use: float) -> set[int]:
    return {pid for _, pid in cluster.each("pids", Pid(), range(40), {}, **use)}


def alive(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def gone(pids: set[int]) -> bool:
    deadline = time.monotonic() + patience(10)
    while any(map(alive, pids)) and time.monotonic() < deadline:
        time.sleep(0.05)
    return not any(map(alive, pids))


def test_the_next_step_has_the_same_processes(cluster):
    first = processes(cluster, cpus=0.5)
    assert len(first) == 2
    assert processes(cluster, cpus=0.5) == first


def test_all_go_when_the_cluster_is_left(cluster):
    first = processes(cluster, cpus=0.5)
    cluster.stop()
    assert gone(first)


def test_a_worker_that_died_idle_is_replaced_without_a_word(cluster, capsys):
    first = processes(cluster, cpus=0.5)
    for pid in first:
        os.kill(pid, signal.SIGKILL)
    assert gone(first)
    assert not processes(cluster, cpus=0.5) & first
    assert "attempt" not in capsys.readouterr().err


def test_workers_with_other_needs_go_when_there_is_no_room_for_both(cluster):
    """The Ray of the tests has two CPUs."""
    first = processes(cluster, cpus=1)
    second = processes(cluster, cpus=0.9)
    assert not first & second
    assert gone(first)


def test_workers_with_other_needs_stay_where_there_is_room(cluster):
    first = processes(cluster, cpus=0.5)
    second = processes(cluster, cpus=0.4)
    assert not first & second
    assert processes(cluster, cpus=0.5) == first
    assert processes(cluster, cpus=0.4) == second


def test_a_step_that_is_left_in_the_middle_ends_the_workers_that_are_at_an_item(cluster):
    steps = cluster.each("pids", Pid(), range(40), {}, cpus=0.5)
    first = {next(steps)[1]}
    steps.close()
    assert len(processes(cluster, cpus=0.5)) == 2
    assert gone(first)


def test_the_longest_idle_go_first_and_no_more_than_must(monkeypatch):
    """Whose room is taken is arithmetic: no Ray is asked but for its total."""
    ended: list[str] = []
    monkeypatch.setattr("curate.cluster.crew.end", ended.append)
    monkeypatch.setattr("ray.cluster_resources", lambda: {"CPU": 8.0, "memory": 100.0})
    crew = Crew()
    for needs, worker in ((Needs(1), "a"), (Needs(2), "b"), (Needs(1, memory=50), "c")):
        crew.keep(needs, worker)
    crew.make_room(Needs(cpus=3), 1)
    assert ended == []
    crew.make_room(Needs(cpus=5), 1)
    assert ended == ["a"]
    crew.make_room(Needs(cpus=1, memory=50), 2)
    assert ended == ["a"]
    crew.make_room(Needs(cpus=8), 1)
    assert ended == ["a", "b", "c"]


def test_none_is_left_of_a_cluster_that_nobody_stopped(ray_cluster):
    pids = processes(Cluster(workers=2), cpus=0.5)
    gc.collect()
    assert gone(pids)
