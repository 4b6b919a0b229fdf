"""The end of a shard beside a GPU: parts are written while the next shard is worked on, whose first rows are there."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from conftest import HERE, column, importable, patience, picture
from pydantic import Field
from stopping import stopped_at_part

from curate.annotate.one_shard import OneShard, ShardReport
from curate.annotate.room import Room, Share
from curate.annotate.step import annotate
from curate.annotate.unfinished import Planned
from curate.cluster.cluster import Cluster
from curate.cluster.line import Line
from curate.errors import CurateError
from curate.op import Rows, Score
from curate.pictures.decoded import Decoded
from curate.store.store import Store
from curate.store.view import View

SHARDS, ROWS = 4, 10


class Bright(Score):
    """Length of a caption and red of an image, by an op that asks for a GPU (or does not).

    kill_at: while the part of this shard is written, and the shard behind it is worked on, the process is killed; once,
    which the file `mark` says. poison: a caption that kills whoever works on it.
    """

    name: str = "bright"
    batch_size: int = 4
    lent: float = Field(1, exclude=True)
    kill_at: int = Field(-1, exclude=True)
    mark: str = Field("", exclude=True)
    poison: str = Field("", exclude=True)
    log: Any = Field(default_factory=list, exclude=True)
    events: Any = Field(default_factory=dict, exclude=True)

    def gpus(self) -> float:
        return self.lent

    def setup(self) -> None:
        if self.kill_at >= 0:
            deadly_writing(self)

    def reads(self) -> tuple[str, ...]:
        return ("image", "text")

    def makes(self) -> dict[str, pa.DataType]:
        return {self.name: pa.int32(), f"{self.name}_length": pa.int32()}

    def prepare_image(self, decoded: Decoded) -> int:
        return int(decoded.pixels[0, 0, 0])

    def prepare_texts(self, texts: Any) -> list[int]:
        self.note("prepares", texts[0])
        return [len(text) for text in texts]

    def batch(self, rows: Rows) -> Mapping[str, Any]:
        texts = rows["text"].to_pylist()
        self.note("works", texts[0])
        if self.poison in texts:
            os.kill(os.getpid(), signal.SIGKILL)
        self.note("worked", texts[0])
        return {self.name: list(rows.images), f"{self.name}_length": list(rows.texts)}

    def note(self, what: str, first: str) -> None:
        """An event by the number of its chunk's first row: others may wait for it."""
        number = int(first.rpartition(" ")[2])
        self.log.append((what, number))
        self.event(what, number).set()

    def event(self, what: str, number: int) -> threading.Event:
        event: threading.Event = self.events.setdefault((what, number), threading.Event())
        return event


def deadly_writing(op: Bright) -> None:
    """From now on this process dies in the midst of writing a part, once the shard behind it is worked on."""
    writing = Store.writing

    @contextmanager
    def deadly(self: Store, name: str) -> Iterator[Any]:
        with writing(self, name) as file:
            if name.startswith("bright") and f"{op.kill_at:05d}.parquet" in name and not Path(op.mark).exists():
                assert op.event("works", (op.kill_at + 1) * ROWS).wait(20), "nothing is worked on beside the writing"
                file.write(b"torn")
                file.flush()
                Path(op.mark).touch()
                os.kill(os.getpid(), signal.SIGKILL)
            yield file

    Store.writing = deadly  # type: ignore[method-assign]


@pytest.fixture
def view(make_store: Any) -> View:
    number = SHARDS * ROWS
    stored: View = make_store(number, images=[picture(i, "PNG") for i in range(number)])
    return stored


def again(view: View, make_store: Any) -> View:
    """Another store of the same rows."""
    number = SHARDS * ROWS
    stored: View = make_store(number, images=[picture(i, "PNG") for i in range(number)])
    return stored


def files(view: View) -> dict[str, bytes]:
    """All files of the table by name; what a killed process has left half written has no name of a file's."""
    folder = Path(view.store.url, view.columns["bright"])
    return {file.name: file.read_bytes() for file in sorted(folder.iterdir()) if not file.name.endswith(".tmp")}


def right(view: View) -> bool:
    rows = [(i * 37 % 256, len(f"caption number {i}")) for i in range(SHARDS * ROWS)]
    return column(view, "bright", "bright_length") == rows


# ---- in this process ----


def test_the_next_shard_is_prepared_while_the_last_batch_of_this_one_runs(view):
    """Captions are prepared with their images, a chunk at a time; rows 8 and 9 are the last chunk of shard 0."""

    class Waits(Bright):
        def batch(self, rows: Rows) -> Mapping[str, Any]:
            if rows["text"][0].as_py() == "caption number 8":
                assert self.event("prepares", 10).wait(20)
            return super().batch(rows)

    assert right(annotate(view, [Waits()], HERE))


def test_a_part_is_written_while_the_next_shard_is_worked_on(view, monkeypatch):
    op, writing, beside = Bright(), Store.writing, []

    @contextmanager
    def slow(self: Store, name: str) -> Iterator[Any]:
        if name.endswith("00001.parquet") and name.startswith("bright"):
            beside.append(op.event("works", 20).wait(20))
        with writing(self, name) as file:
            yield file

    monkeypatch.setattr(Store, "writing", slow)
    assert right(annotate(view, [op], HERE))
    assert beside == [True]


def test_the_same_bytes_with_a_gpu_and_without(view, make_store):
    one = annotate(view, [Bright()], HERE)
    other = annotate(again(view, make_store), [Bright(lent=0)], HERE)
    assert files(one) == files(other)


def test_no_more_rows_are_in_hand_than_two_chunks_hold(view, monkeypatch):
    most = []
    take = Room.take

    def noted(self: Room, holder: Share, rows: int, limit: int) -> None:
        take(self, holder, rows, limit)
        most.append(self._rows)

    monkeypatch.setattr(Room, "take", noted)
    annotate(view, [Bright()], HERE)
    assert max(most) == 8


@pytest.mark.parametrize("fault", [OSError, KeyboardInterrupt])
def test_a_part_that_cannot_be_written_behind_costs_only_its_shard(view, make_store, fault):
    op = Bright()
    stopping = fault is KeyboardInterrupt
    with stopped_at_part(1, fault, raised=KeyboardInterrupt if stopping else CurateError):
        annotate(view, [op], HERE)
    folder = next(iter(view.store.manifest().unfinished))
    parts = {0, 2} if stopping else {0, 2, 3}
    assert view.store.parts(folder) == parts
    assert view.store.manifest().unfinished[folder].rows == ROWS * len(parts)
    assert files(annotate(view, [Bright()], HERE)) == files(annotate(again(view, make_store), [Bright()], HERE))


def test_a_shard_that_fails_at_work_costs_only_itself(view, make_store):
    """All ten rows of shard 1 fail at once: that is no fault of theirs."""

    class Fails(Bright):
        batch_size: int = 10
        fails: bool = Field(True, exclude=True)

        def batch(self, rows: Rows) -> Mapping[str, Any]:
            if self.fails and 10 <= int(rows["text"][0].as_py().rpartition(" ")[2]) < 20:
                raise ArithmeticError("no")
            return super().batch(rows)

    with pytest.raises(CurateError, match=r"1 of 4 shards failed and were set aside: \[1\]; shard 1: .*all 10 rows"):
        annotate(view, [Fails()], HERE)
    folder = next(iter(view.store.manifest().unfinished))
    assert view.store.parts(folder) == {0, 2, 3}
    assert right(annotate(view, [Fails(fails=False)], HERE))


def test_a_damaged_image_of_the_shard_that_is_prepared_ahead_is_said_in_its_turn(view):
    """Shard 0 is whole by then."""
    tar = next(Path(view.store.url).parent.glob("input*/*.tar"))
    data = tar.read_bytes()
    place = data.index(picture(12, "PNG")) + 40
    tar.write_bytes(data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :])
    with pytest.raises(CurateError, match="the image of row 2 of shard 1 is not as it was stored"):
        annotate(view, [Bright()], HERE)
    folder = next(iter(view.store.manifest().unfinished))
    assert view.store.parts(folder) == {0}


def test_seconds_beside_each_other_count_once(view):
    """Three shards of 0.2 seconds each, their parts written behind: no more worker seconds than passed."""

    class Slow(Bright):
        batch_size: int = 10

        def batch(self, rows: Rows) -> Mapping[str, Any]:
            threading.Event().wait(0.2)
            return super().batch(rows)

    began = time.perf_counter()
    after = annotate(view, [Slow()], HERE)
    passed = time.perf_counter() - began
    entry = after.store.manifest().op_table(after.columns["bright"])
    assert entry is not None
    assert 0.8 <= entry.cost.model_seconds <= entry.cost.worker_seconds <= passed
    assert entry.cost.rows == SHARDS * ROWS


def test_a_shard_that_was_expected_and_does_not_come_holds_nothing_up(view):
    shards = OneShard(view, [Planned(Bright(), "bright-1")])
    shards.setup()
    for shard, coming in ((0, 1), (2, 3), (1, None)):
        if coming is not None:
            shards.coming(coming)
        report = shards(shard)
        assert not isinstance(report, ShardReport)
        assert report.result(patience(20)).rows == ROWS
    shards.leave()
    assert view.store.parts("bright-1") == {0, 1, 2}


# ---- killed ----

ALONE = """
import sys
from test_shard_end import Bright
from curate.annotate.step import annotate
from curate.cluster.cluster import Cluster
from curate.store.store import Store
from curate.store.view import View

root, mark = sys.argv[1:]
annotate(View.of(Store(root)), [Bright(kill_at=1, mark=mark)], Cluster(workers=0))
"""


def test_a_killed_run_restarted_ends_with_the_same_bytes(view, make_store, tmp_path):
    """Killed while the part of shard 1 is half written and shard 2 is worked on."""
    command = [sys.executable, "-c", ALONE, view.store.url, str(tmp_path / "mark")]
    environment = {**os.environ, "PYTHONPATH": importable()}
    assert subprocess.run(command, env=environment, stderr=subprocess.DEVNULL).returncode == -signal.SIGKILL
    [folder] = {path.parent for path in Path(view.store.url).glob("bright*/00000.parquet")}
    assert not (folder / "00001.parquet").exists()
    subprocess.run(command, env=environment, check=True, stderr=subprocess.DEVNULL)
    after, undisturbed = (annotate(View.of(v.store), [Bright()], HERE) for v in (view, again(view, make_store)))
    assert files(after) == files(undisturbed)


@pytest.fixture(scope="module")
def gpu_cluster() -> Iterator[Cluster]:
    """A Ray that believes in a GPU: one worker, which has two calls under way."""
    import ray

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", importable())
        ray.init(address="local", num_cpus=2, num_gpus=1, include_dashboard=False, log_to_driver=False)
    cluster = Cluster()
    yield cluster
    cluster.stop()
    ray.shutdown()


@pytest.mark.slow
def test_workers_write_behind_and_prepare_ahead(view, make_store, gpu_cluster):
    """What the worker waits for would not come, one item at a time."""
    after = annotate(view, [Pairs()], gpu_cluster)
    assert files(after) == files(annotate(again(view, make_store), [Pairs(waits=False)], HERE))
    assert right(after)


class Pairs(Bright):
    """Its last batch of a shard waits until the next one is prepared."""

    waits: bool = Field(True, exclude=True)

    def batch(self, rows: Rows) -> Mapping[str, Any]:
        number = int(rows["text"][0].as_py().rpartition(" ")[2])
        if self.waits and number % ROWS == 8 and number < (SHARDS - 1) * ROWS:
            assert self.event("prepares", number + 2).wait(20)
        return super().batch(rows)


@pytest.mark.slow
def test_a_worker_killed_while_it_writes_behind(view, make_store, gpu_cluster, tmp_path, capsys):
    after = annotate(view, [Bright(kill_at=1, mark=str(tmp_path / "mark"))], gpu_cluster)
    assert (tmp_path / "mark").exists()
    said = " ".join(capsys.readouterr().err.split())
    assert "shards 1 and 2 were under way together: the worker died" in said
    assert "each goes on alone" in said
    assert "attempt" not in said, "neither is blamed"
    assert files(after) == files(annotate(again(view, make_store), [Bright()], HERE))


@pytest.mark.slow
def test_a_row_that_kills_is_found_and_no_other_shard_is_blamed(view, gpu_cluster, capsys):
    after = annotate(view, [Bright(poison="caption number 23")], gpu_cluster)
    values = column(after, "bright_length")
    assert [i for i, value in enumerate(values) if value is None] == [23]
    parts = [after.store.read_part(after.columns["bright"], shard) for shard in range(SHARDS)]
    words = [word for part in parts for word in part["bright_status"].to_pylist()]
    assert words[23] == "killed_its_worker"
    assert words.count("ok") == SHARDS * ROWS - 1
    said = capsys.readouterr().err
    assert "shard 2: " in said
    assert not any(f"shard {shard}: " in said for shard in (0, 1, 3))


# ---- whose turn it is ----


def test_calls_have_their_turn_in_the_order_of_their_numbers():
    line, order, begun = Line(), [], threading.Barrier(3)

    def call(number: int) -> None:
        begun.wait(20)
        with line.turn(number):
            order.append(number)

    threads = [threading.Thread(target=call, args=(number,)) for number in (2, 1, 0)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert order == [0, 1, 2]


def test_a_turn_ends_also_where_it_fails():
    line = Line()
    with pytest.raises(ArithmeticError), line.turn(0):
        raise ArithmeticError
    line.wait(1)
