"""What a pass costs: each second counts once, shares add up, and the line says how fast the models alone are."""

from __future__ import annotations

import json
import pickle
import re
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from conftest import HERE, picture
from stopping import stopped_at_part

from curate.annotate import meter as meters
from curate.annotate.meter import Meter
from curate.annotate.one_shard import OneShard, ShardReport
from curate.annotate.speed import Speed
from curate.annotate.step import annotate
from curate.annotate.unfinished import Planned
from curate.errors import CurateError
from curate.filter.rule import Filter
from curate.filter.step import select
from curate.look.cost import costs_of
from curate.op import Rows, Score
from curate.pictures.decoded import Decoded
from curate.store.cost import Cost
from curate.store.manifest import Manifest, Table
from curate.store.view import View


class Sleepy(Score):
    """Sleeps so long in `setup`, for each batch, and for each image that it prepares."""

    name: str = "sleepy"
    batch_size: int = 10
    setup_sleep: float = 0.0
    sleep: float = 0.0
    burn: float = 0.0
    column: str = "text"
    lent: float = 0

    def gpus(self) -> float:
        return self.lent

    def setup(self) -> None:
        time.sleep(self.setup_sleep)

    def reads(self) -> tuple[str, ...]:
        return (self.column,)

    def makes(self) -> dict[str, pa.DataType]:
        return {self.name: pa.int32()}

    def prepare_image(self, decoded: Decoded) -> Any:
        time.sleep(0.05)
        return 1

    def batch(self, rows: Rows) -> Mapping[str, Any]:
        time.sleep(self.sleep)
        end = time.thread_time() + self.burn
        while time.thread_time() < end:
            pass
        return {self.name: [1] * len(rows)}


def cost_of(view: View, table: str) -> Cost:
    manifest = view.store.manifest()
    entry = manifest.op_table(manifest.current[table])
    assert entry is not None
    return entry.cost


def test_the_costs_of_an_op_that_sleeps(make_store, capsys):
    view = annotate(make_store(20), [Sleepy(sleep=0.2, setup_sleep=0.3)], HERE)
    cost = cost_of(view, "sleepy")
    assert cost.rows == 20
    assert 0.4 <= cost.model_seconds <= cost.worker_seconds < 2
    assert 0.3 <= cost.setup_seconds < 1
    assert cost.cpu_seconds < cost.worker_seconds, "to sleep takes no processor"
    assert cost.gpu_seconds == {}
    parts = [Path(view.store.url, view.columns["sleepy"], f"{shard:05d}.parquet") for shard in (0, 1)]
    assert cost.bytes == sum(part.stat().st_size for part in parts)
    (line,) = [line for line in capsys.readouterr().err.splitlines() if "rows/s" in line]
    number = r"[\d.]+"
    expected = rf"sleepy: 20 rows, ({number}) rows/s on 1 worker; the op alone ({number}) rows/s \((0\.\d\d|1\.00)\)"
    said = re.fullmatch(expected, line)
    assert said is not None, line
    fast, alone, share = map(float, said.groups())
    assert 10 <= fast <= alone <= 50, "20 rows in 0.4 seconds are 50 rows/s"
    assert share == pytest.approx(cost.model_seconds / cost.worker_seconds, abs=0.01)


def test_what_computes_nothing_says_nothing_and_costs_nothing(make_store, capsys):
    view = make_store(20)
    annotate(view, [Sleepy()], HERE)
    file = Path(view.store.url, "manifest.json")
    before = file.read_bytes()
    capsys.readouterr()
    annotate(View.of(view.store), [Sleepy()], HERE)
    assert capsys.readouterr().err == ""
    assert file.read_bytes() == before


def test_runs_add_up(make_store):
    view = make_store([{"n": i} for i in range(20)])
    few, _ = select(view, Filter(name="few", where={"n": "n < 5"}))
    annotate(few, [Sleepy(sleep=0.1)], HERE)
    first = cost_of(view, "sleepy")
    assert (first.rows, first.model_seconds >= 0.1) == (5, True)
    annotate(view, [Sleepy(sleep=0.1)], HERE)
    both = cost_of(view, "sleepy")
    assert (both.rows, both.model_seconds >= 0.3) == (20, True)
    assert both.bytes > first.bytes
    assert both.worker_seconds > first.worker_seconds


def test_ops_of_one_pass_share_what_is_spent_for_all_of_them(make_store, capsys):
    images = [picture(number) for number in range(4)]
    view = make_store(4, rows_per_shard=2, images=images)
    ops = [Sleepy(name="slow", sleep=0.3, column="image"), Sleepy(name="fast", sleep=0.1)]
    began = time.perf_counter()
    annotate(view, ops, HERE)
    passed = time.perf_counter() - began
    slow, fast = cost_of(view, "slow"), cost_of(view, "fast")
    assert 0.8 <= slow.worker_seconds + fast.worker_seconds <= passed
    assert slow.model_seconds == pytest.approx(0.6, abs=0.15)
    assert fast.model_seconds == pytest.approx(0.2, abs=0.15)
    assert slow.worker_seconds == pytest.approx(3 * fast.worker_seconds, rel=0.5)
    assert "slow, fast: 4 rows, " in capsys.readouterr().err


def test_processor_time_is_that_of_all_threads(make_store):
    cost = cost_of(annotate(make_store(10), [Sleepy(burn=0.3)], HERE), "sleepy")
    assert 0.3 <= cost.cpu_seconds < 1


@pytest.mark.slow
def test_a_gpu_is_paid_for_as_long_as_it_is_held(make_store, monkeypatch):
    """By the ops that run on it, not by those beside them; half of it where half was lent."""
    monkeypatch.setattr(meters, "gpu_of", lambda op: "NVIDIA H100 80GB HBM3" if op.gpus() else "")
    ops = [Sleepy(name="beside", sleep=0.4), Sleepy(name="on_gpu", sleep=0.1, lent=0.5, setup_sleep=0.2)]
    view = annotate(make_store(10), ops, HERE)
    on_gpu, beside = cost_of(view, "on_gpu"), cost_of(view, "beside")
    assert beside.gpu_seconds == {}
    held = on_gpu.worker_seconds + beside.worker_seconds + on_gpu.setup_seconds
    assert on_gpu.gpu_seconds == {"NVIDIA H100 80GB HBM3": pytest.approx(held / 2, abs=0.01)}
    assert held >= 0.7


@pytest.mark.slow
def test_ops_for_a_gpu_that_run_on_the_cpu_hold_none(make_store):
    torch = pytest.importorskip("torch")
    if torch.cuda.is_available():
        pytest.skip("there is one here")
    assert cost_of(annotate(make_store(10), [Sleepy(lent=1)], HERE), "sleepy").gpu_seconds == {}


@pytest.mark.slow
def test_workers_tell_what_they_spent(make_store, ray_cluster, capsys):
    view = annotate(make_store(40), [Sleepy(sleep=0.3, setup_sleep=0.1)], ray_cluster)
    cost = cost_of(view, "sleepy")
    assert cost.rows == 40
    assert 1.2 <= cost.model_seconds <= cost.worker_seconds
    assert cost.setup_seconds >= 0.2, "that of both workers"
    assert "sleepy: 40 rows, " in (said := capsys.readouterr().err)
    assert "rows/s on 2 workers; the op alone " in said


@pytest.mark.parametrize("fault", [KeyboardInterrupt, OSError])
def test_what_a_stopped_step_did_is_not_forgotten(make_store, fault):
    """Its second shard is not written: the run ends there, or at the end of the step; 20 of 30 rows by then, or 10."""
    view = make_store(30)
    with stopped_at_part(1, fault, raised=KeyboardInterrupt if fault is KeyboardInterrupt else CurateError):
        annotate(view, [Sleepy(sleep=0.1)], HERE)
    manifest = view.store.manifest()
    rows = 10 if fault is KeyboardInterrupt else 20
    assert [cost.rows for cost in manifest.unfinished.values()] == [rows]
    assert [*costs_of(manifest)] == [f"{folder} (not finished)" for folder in manifest.unfinished]
    annotate(view, [Sleepy(sleep=0.1)], HERE)
    cost = cost_of(view, "sleepy")
    assert (cost.rows, cost.model_seconds >= 0.3) == (30, True)
    assert view.store.manifest().unfinished == {}


# ---- the meter ----


def test_a_second_at_two_shards_counts_once():
    meter, began = Meter(), time.perf_counter()
    inside, go_on = threading.Event(), threading.Event()
    walls = []

    def long() -> None:
        meter.begin()
        inside.set()
        go_on.wait()
        walls.append(meter.end().wall)

    thread = threading.Thread(target=long)
    thread.start()
    inside.wait()
    meter.begin()
    time.sleep(0.2)
    short = meter.end()
    time.sleep(0.2)
    go_on.set()
    thread.join()
    assert short.wall >= 0.2
    assert 0.4 <= short.wall + walls[0] <= time.perf_counter() - began


def test_idle_time_is_not_counted():
    meter = Meter()
    meter.begin()
    assert meter.end().wall < 0.2
    time.sleep(0.2)
    meter.begin()
    assert meter.end().wall < 0.2


def test_a_failed_shard_takes_its_seconds_with_it(make_store):
    class FailsOnce(Sleepy):
        def batch(self, rows: Rows) -> Mapping[str, Any]:
            result = super().batch(rows)
            if rows["text"][0].as_py() == "caption number 0":
                raise CurateError("no value")
            return result

    view = make_store(20)
    shards = OneShard(view, [Planned(FailsOnce(sleep=0.3), "sleepy-1")])
    shards.setup()
    with pytest.raises(CurateError, match="no value"):
        shards(0)
    report = shards(1)
    assert isinstance(report, ShardReport)
    assert 0.3 <= report.costs["sleepy-1"].worker_seconds < 0.6


def test_a_meter_travels():
    assert pickle.loads(pickle.dumps(Meter())) == Meter()


# ---- what is said ----


def report(worker: str, rows: int, began: float, ended: float, model_seconds: float) -> ShardReport:
    cost = Cost(rows=rows, worker_seconds=ended - began, model_seconds=model_seconds)
    return ShardReport(worker, rows, {"clip-1": model_seconds}, {"clip-1": cost}, began, ended)


def test_the_line_of_literal_reports():
    """Two workers at 820 rows each from second 100.5 to 217.5: 1,640 rows in 117 seconds."""
    seconds = iter([0.0, 130.0, 130.0])
    speed = Speed(["clip"], clock=lambda: next(seconds))
    speed.add(report("b", 820, 101.5, 217.5, 79.84))
    speed.add(report("a", 820, 100.5, 200.5, 80))
    assert speed.line() == "clip: 1,640 rows, 14 rows/s on 2 workers; the op alone 19 rows/s (0.74)"
    assert speed.costs["clip-1"].worker_seconds == 216


@pytest.mark.parametrize("ended", [-3500.0, 3700.0])
def test_a_clock_that_was_set_meanwhile(ended: float):
    seconds = iter([0.0, 100.0])
    speed = Speed(["clip"], clock=lambda: next(seconds))
    speed.add(report("a", 1000, 10.0, ended, 0.0))
    assert "clip: 1,000 rows, 10 rows/s on 1 worker" in speed.line()


def test_rows_that_no_op_could_look_at(make_store, capsys):
    view = make_store([{"text": None}, {"text": None}], images=None)
    annotate(view, [Sleepy()], HERE)
    said = capsys.readouterr().err
    assert re.search(r"sleepy: 2 rows, \S+ rows/s on 1 worker; the op alone had no row to look at", said), said


# ---- the manifest ----


def test_costs_add_up_number_by_number():
    one = Cost(rows=1, worker_seconds=2, model_seconds=1, cpu_seconds=3, gpu_seconds={"A": 1, "B": 2}, bytes=5)
    two = Cost(rows=2, worker_seconds=1, setup_seconds=4, gpu_seconds={"B": 0.5}, bytes=1)
    assert one + two == Cost(
        rows=3,
        worker_seconds=3,
        model_seconds=1,
        setup_seconds=4,
        cpu_seconds=3,
        gpu_seconds={"A": 1, "B": 2.5},
        bytes=6,
    )
    assert (one + two).model_share == pytest.approx(1 / 3)
    assert Cost().model_share == 0


def test_a_manifest_from_before_there_were_costs():
    table = {"name": "clip", "op": "score.clip", "columns": ["clip"], "seconds": 3.5}
    manifest = Manifest.model_validate({"tables": {"clip-1": table}, "current": {"clip": "clip-1"}})
    assert manifest.json_tree()["tables"]["clip-1"] == table
    manifest.note("clip-1", Table(name="clip", op="score.clip", seconds=1, cost=Cost(rows=2, worker_seconds=1.5)))
    after = json.loads(json.dumps(manifest.json_tree()))["tables"]["clip-1"]
    assert after == {**table, "seconds": 4.5, "cost": {"rows": 2, "worker_seconds": 1.5}}
