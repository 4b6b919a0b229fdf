"""Shards over real Ray actors: retries, lost workers, workers that never come."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import ClassVar

import polars as pl
import pyarrow as pa
import pytest
from conftest import importable, patience

from curate.annotate.step import annotate
from curate.cluster.cluster import Cluster
from curate.errors import CurateError
from curate.op import Rows, Score
from curate.read.source import ReadOptions
from curate.read.step import read
from curate.store.store import Store


class Square:
    """Counts its calls in files; fails or dies where told."""

    def __init__(
        self, folder: str, deadly: tuple[int, ...] = (), flaky: tuple[int, ...] = (), broken: tuple[int, ...] = ()
    ):
        self.folder, self.deadly, self.flaky, self.broken = Path(folder), deadly, flaky, broken

    def __call__(self, shard: int) -> dict[str, int]:
        calls = self.folder / f"{shard}.calls"
        with calls.open("a") as file:
            file.write("x")
        first = calls.stat().st_size == 1
        if shard in self.deadly or (shard in self.flaky and first):
            os.kill(os.getpid(), signal.SIGKILL)
        if shard in self.broken:
            raise ValueError(f"shard {shard} is broken")
        return {"square": shard * shard}


class CannotStart:
    def setup(self) -> None:
        raise OSError("no weights here")

    def __call__(self, shard: int) -> dict[str, int]:
        return {}


class Phases:
    """A job of two phases, which is set up where it works: there it has what cannot travel."""

    def __init__(self, factor: int):
        self.factor, self.processes = factor, list[int]()

    def setup(self) -> None:
        self.heavy = threading.Lock()
        self.processes.append(os.getpid())

    def times(self, number: int) -> tuple[int, list[int]]:
        with self.heavy:
            return self.factor * number, self.processes

    def plus(self, number: int) -> tuple[int, list[int]]:
        with self.heavy:
            return self.factor + number, self.processes


def squares(cluster: Cluster, folder: Path, shards: range, **trouble: tuple[int, ...]) -> dict[int, int]:
    rows = dict.fromkeys(shards, 1)
    return {s: r["square"] for s, r in cluster.each("squares", Square(str(folder), **trouble), shards, rows, cpus=0.5)}


def calls(folder: Path, shard: int) -> int:
    return (folder / f"{shard}.calls").stat().st_size


def test_every_shard_is_done_once(ray_cluster: Cluster, tmp_path: Path) -> None:
    assert squares(ray_cluster, tmp_path, range(9)) == {s: s * s for s in range(9)}
    assert [calls(tmp_path, s) for s in range(9)] == [1] * 9


def test_a_worker_killed_once_costs_one_more_attempt(ray_cluster: Cluster, tmp_path: Path) -> None:
    assert squares(ray_cluster, tmp_path, range(6), flaky=(2,)) == {s: s * s for s in range(6)}
    assert calls(tmp_path, 2) == 2


def test_a_shard_that_kills_its_worker_is_set_aside_and_the_others_are_done(
    ray_cluster: Cluster, tmp_path: Path
) -> None:
    done: dict[int, int] = {}
    with pytest.raises(CurateError, match=r"1 of 6 shards failed and were set aside.*\[3\]") as error:
        for shard, report in ray_cluster.each("squares", Square(str(tmp_path), deadly=(3,)), range(6), {}, cpus=0.5):
            done[shard] = report["square"]
    assert sorted(done) == [0, 1, 2, 4, 5]
    # A worker that dies at once may take the answer of the shard before with it: then that one is blamed first.
    assert calls(tmp_path, 3) in (3, 4)
    assert "the same command again" in str(error.value)


def test_an_error_is_named_with_its_shard(ray_cluster: Cluster, tmp_path: Path) -> None:
    with pytest.raises(CurateError, match="shard 1: ValueError: shard 1 is broken"):
        squares(ray_cluster, tmp_path, range(3), broken=(1,))


def test_workers_that_cannot_start_end_the_run_at_once(ray_cluster: Cluster) -> None:
    with pytest.raises(CurateError, match="a worker cannot start: OSError: no weights here"):
        list(ray_cluster.each("x", CannotStart(), range(100), {}, cpus=0.5))


def test_a_phase_is_a_method_of_a_job_that_is_set_up_once_in_each_worker(ray_cluster: Cluster) -> None:
    job = Phases(3)
    for phase, results in ((job.times, [0, 3, 6, 9]), (job.plus, [3, 4, 5, 6])):
        reports = dict(ray_cluster.each("phase", phase, range(4), {}, cpus=0.5))
        assert [reports[number][0] for number in range(4)] == results
        for _, processes in reports.values():
            assert len(processes) == 1 and processes != [os.getpid()]
    assert not job.processes, "the driver sets nothing up"
    here = dict(Cluster(workers=0).each("phase", job.plus, range(4), {}))
    assert here == {number: (3 + number, [os.getpid()]) for number in range(4)}


def test_a_job_that_cannot_travel_is_told_before_any_work(ray_cluster: Cluster) -> None:
    job = Phases(3)
    job.setup()
    with pytest.raises(CurateError, match=r"Phases cannot be sent to workers: .*lock.*Make what"):
        list(ray_cluster.each("phase", job.times, range(4), {}))


def test_more_workers_than_the_cluster_has_room_for(ray_cluster: Cluster, tmp_path: Path) -> None:
    crowd = Cluster(workers=50)
    assert squares(crowd, tmp_path, range(60)) == {s: s * s for s in range(60)}


def test_more_memory_than_any_node_has_is_not_waited_for(ray_cluster: Cluster, tmp_path: Path) -> None:
    done = ray_cluster.each("squares", Square(str(tmp_path)), range(6), {}, cpus=0.5, memory=10**15)
    assert sorted(report["square"] for _, report in done) == [0, 1, 4, 9, 16, 25]


def test_a_worker_has_the_memory_of_its_cpus(ray_cluster: Cluster) -> None:
    import ray

    have = ray.cluster_resources()
    assert ray_cluster.worker_memory(1) == int(have["memory"] / have["CPU"])
    assert ray_cluster.worker_memory(0.5) == int(have["memory"] / have["CPU"] / 2)
    assert Cluster(memory=5).worker_memory(1) == 5
    machine = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    assert 0 < Cluster(workers=0).worker_memory(1) <= machine / 2


@pytest.mark.slow
def test_a_limit_for_its_workers_leaves_a_cluster_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[str] = []
    ray = SimpleNamespace(
        is_initialized=lambda: calls == ["init"],
        init=lambda **options: calls.append("init"),
        shutdown=lambda: calls.append("shutdown"),
        cluster_resources=dict,
    )
    monkeypatch.setitem(sys.modules, "ray", ray)
    cluster = Cluster(workers=3)
    limited = cluster.with_memory(10**9)
    assert (limited.workers, limited.memory, cluster.memory) == (3, 10**9, None)
    assert cluster.with_memory(None) is cluster
    assert limited.with_memory(5).memory == 10**9, "a limit of its own comes first"
    limited.start()
    cluster.stop()
    limited.stop()
    assert calls == ["init", "shutdown"], "they are one Ray"


def test_in_this_process_without_ray(tmp_path: Path) -> None:
    assert squares(Cluster(workers=0), tmp_path, range(3)) == {0: 0, 1: 1, 2: 4}
    with pytest.raises(CurateError, match="shard 0: ValueError"):
        squares(Cluster(workers=0), tmp_path, range(2), broken=(0,))


class FullDisk:
    def __init__(self) -> None:
        self.items: list[int] = []

    def __deepcopy__(self, memo: object) -> FullDisk:
        return self

    def __call__(self, item: int) -> int:
        self.items.append(item)
        raise OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.parametrize("workers", [0, None])
def test_a_full_disk_ends_the_step_at_once(monkeypatch: pytest.MonkeyPatch, workers: int | None) -> None:
    """Also where a small step begins here: Ray is not started for what it could not write either."""
    monkeypatch.setattr("curate.cluster.cluster.ray_runs", lambda: False)
    monkeypatch.setattr(Cluster, "start", lambda self: pytest.fail("Ray is started"))
    task = FullDisk()
    with pytest.raises(CurateError, match="No space left on device"):
        list(Cluster(workers=workers).each("full", task, range(4), dict.fromkeys(range(4), 1)))
    assert task.items == [0]


@pytest.mark.slow
def test_an_address_where_nobody_listens_is_said_at_once() -> None:
    code = "from curate.cluster.cluster import Cluster; Cluster(address='127.0.0.1:1').start()"
    done = subprocess.run(
        [sys.executable, "-c", code], check=False, timeout=patience(60), capture_output=True, text=True
    )
    assert "no Ray cluster answers at '127.0.0.1:1'" in done.stderr


@pytest.mark.slow
def test_a_cluster_that_is_no_longer_there_is_not_joined(tmp_path: Path) -> None:
    """Ray leaves a note of the last cluster on a machine; without an address it would wait for that one."""
    note = Path("/tmp/ray/ray_current_cluster")
    if not note.parent.exists():
        note.parent.mkdir()
    before = note.read_text() if note.exists() else None
    note.write_text("127.0.0.1:1")
    try:
        command = [
            sys.executable,
            "-c",
            "from curate.cluster.cluster import Cluster; c = Cluster(); c.start(); c.stop()",
        ]
        subprocess.run(command, check=True, timeout=patience(90), capture_output=True)
    finally:
        if before is None:
            note.unlink(missing_ok=True)
        else:
            note.write_text(before)


class Poison(Score):
    """Dies on some captions, as a decoder may on an image."""

    cite: ClassVar[str] = "ours"
    batch_size: int = 8

    def reads(self) -> tuple[str, ...]:
        return ("text",)

    def makes(self) -> dict[str, pa.DataType]:
        return {"length": pa.int32()}

    def batch(self, rows: Rows) -> dict[str, list[int]]:
        texts = rows["text"].to_pylist()
        if "poison" in texts:
            os.kill(os.getpid(), signal.SIGKILL)
        return {"length": [len(text) for text in texts]}


def test_rows_that_kill_their_worker_are_found_and_marked(ray_cluster: Cluster, tmp_path: Path) -> None:
    texts = [f"caption {i}" for i in range(60)]
    texts[21] = texts[45] = "poison"
    urls = [f"http://a.example/{i}" for i in range(60)]
    pl.DataFrame({"url": urls, "text": texts}).write_parquet(tmp_path / "in.parquet")
    options = ReadOptions(input=str(tmp_path / "in.parquet"), rows_per_shard=30)
    view = read(Store(str(tmp_path / "store")), options, Cluster(workers=0))
    after = annotate(view, [Poison()], ray_cluster)
    found = pl.concat([after.frame(shard, ["length"]) for shard in (0, 1)])["length"].to_list()
    assert found == [None if text == "poison" else len(text) for text in texts]
    folder = after.columns["length"]
    words = pl.concat([pl.DataFrame(after.store.read_part(folder, shard)) for shard in (0, 1)])
    assert words["poison_status"].value_counts(sort=True).rows() == [("ok", 58), ("killed_its_worker", 2)]
    assert not [name for name in after.store.names(folder) if name.startswith(".")]


# ---- small steps begin in this process ----


class Where:
    """Tells where an item was done; fails in one process, and takes its time."""

    def __init__(self, fails_in: int = 0, seconds: float = 0.0):
        self.fails_in, self.seconds = fails_in, seconds

    def setup(self) -> None:
        self.ready = threading.Lock()

    def __call__(self, item: int) -> int:
        with self.ready:
            if os.getpid() == self.fails_in:
                raise ValueError("not here")
            time.sleep(self.seconds)
        return os.getpid()


class Careful(Where):
    def careful(self, item: int) -> int:
        return os.getpid()


SMALL = """
import os
from curate.cluster import cluster, this_process
from curate.cluster.nodes import ray_runs
from test_cluster import Careful, Where

this_process.SMALL_SECONDS, here, sizes = 0.2, os.getpid(), dict.fromkeys(range(4), 10)
with_ray = cluster.Cluster()


def processes(task, sizes=sizes, **use):
    return [pid == here for _, pid in with_ray.each("where", task, range(4), sizes, **use)]


print(processes(Where()), ray_runs())
print(processes(Where(), {}, file_bytes=10_000_000), ray_runs())
print(processes(Where(seconds=0.15)), ray_runs())
with_ray.stop()
print(processes(Where(fails_in=here)), ray_runs())
with_ray.stop()
for task, rows in ((Careful(), sizes), (Where(), {}), (Where(), dict.fromkeys(range(4), 1_000_000))):
    print(processes(task, rows))
    with_ray.stop()
print(processes(Where(), {}, file_bytes=10_000_001))
with_ray.stop()
"""

LITTLE = """
import sys
import curate

curate.run(sys.argv[1], input=sys.argv[2], root=sys.argv[3])
print("ray" in sys.modules)
"""

LITTLE_STEPS = """
name: little
set: {input: , root: }
steps:
  - read: {input: "${input}"}
  - dedupe: [exact: {by: url_text}, minhash: {}]
  - filter: {name: long, keep: [{if: text IS NOT NULL, else: no caption}]}
"""


@pytest.mark.slow
@pytest.mark.soak
def test_a_small_step_begins_in_this_process_where_ray_would_have_to_be_started() -> None:
    done = subprocess.run(
        [sys.executable, "-c", SMALL], env={**os.environ, "PYTHONPATH": importable()}, capture_output=True, text=True
    )
    assert done.stdout.splitlines() == [
        *["[True, True, True, True] False"] * 2,
        "[True, True, False, False] True",
        "[False, False, False, False] True",
        *["[False, False, False, False]"] * 4,
    ], done.stderr


@pytest.mark.slow
def test_a_little_csv_is_read_and_deduplicated_without_ray(tmp_path: Path) -> None:
    (tmp_path / "little.yaml").write_text(LITTLE_STEPS)
    (tmp_path / "pairs.csv").write_text("url,text\nhttp://a.b/1,one\nhttp://a.b/2,two\nhttp://a.b/2,two\n")
    places = [str(tmp_path / name) for name in ("little.yaml", "pairs.csv", "store")]
    done = subprocess.run(
        [sys.executable, "-c", LITTLE, *places],
        env={**os.environ, "PYTHONPATH": importable()},
        capture_output=True,
        text=True,
    )
    assert done.stdout == "False\n", done.stderr
    assert "1 dropped, 2 left" in done.stderr


@dataclass
class Down:
    """Storage that does not answer, but for some items."""

    folder: str
    answers: tuple[int, ...] = ()

    def __call__(self, item: int) -> int:
        with open(f"{self.folder}/{item}.calls", "a") as file:
            file.write("x")
        if item not in self.answers:
            raise OSError(errno.EBUSY, "Please reduce your request rate.")
        return item


@pytest.mark.parametrize("on_ray", [False, True])
def test_a_step_in_which_everything_fails_ends(tmp_path: Path, ray_cluster: Cluster, on_ray: bool) -> None:
    cluster = ray_cluster if on_ray else Cluster(workers=0)
    with pytest.raises(CurateError, match=r"images: 10 shards failed one after the other .* request rate"):
        list(cluster.each("images", Down(str(tmp_path)), range(500), dict.fromkeys(range(500), 1)))
    assert len(list(tmp_path.iterdir())) < 20


def test_failures_with_successes_between_do_not_end_a_step(tmp_path: Path) -> None:
    task, done = Down(str(tmp_path), answers=tuple(range(0, 60, 9))), []
    with pytest.raises(CurateError, match="images: 53 of 60 shards failed"):
        for item, _ in Cluster(workers=0).each("images", task, range(60), dict.fromkeys(range(60), 1)):
            done.append(item)
    assert done == list(range(0, 60, 9))
