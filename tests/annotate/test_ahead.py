"""What is prepared ahead of an op: by threads, once a row, and a fault there is a fault of the row."""

from __future__ import annotations

import gc
import io
import threading
import weakref
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image
from pydantic import Field

from curate.annotate.ahead import Ahead, Fault
from curate.annotate.step import annotate
from curate.cluster.cluster import Cluster
from curate.errors import CurateError
from curate.op import Rows, Score
from curate.pictures.decoded import Decoded
from curate.store.images import ImageReader

HERE = Cluster(workers=0)


def picture(red: int) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (16, 12), (red, 0, 0)).save(buffer, "PNG")
    return buffer.getvalue()


class Redness(Score):
    """Red of the first pixel, found ahead; it cannot see images that are as red as `blind`."""

    name: str = "redness"
    batch_size: int = 4
    blind: tuple[int, ...] = ()
    seen: Any = Field(default_factory=list, exclude=True)
    alive: Any = Field(default_factory=list, exclude=True)
    most: Any = Field(default_factory=list, exclude=True)

    def reads(self) -> tuple[str, ...]:
        return ("image",)

    def makes(self) -> dict[str, pa.DataType]:
        return {self.name: pa.int32()}

    def prepare_image(self, decoded: Decoded) -> int:
        self.alive.append(weakref.ref(decoded))
        red = int(decoded.pixels[0, 0, 0])
        self.seen.append((red, threading.current_thread() is threading.main_thread()))
        if red in self.blind:
            raise ArithmeticError(f"red {red}")
        return red

    def batch(self, rows: Rows) -> Mapping[str, Any]:
        gc.collect()
        self.most.append(sum(image() is not None for image in self.alive))
        return {self.name: list(rows.images)}


class Words(Score):
    """Number of words, counted ahead; a caption that says `boom` cannot be."""

    name: str = "words"
    batch_size: int = 4
    asked: Any = Field(default_factory=list, exclude=True)

    def reads(self) -> tuple[str, ...]:
        return ("text",)

    def makes(self) -> dict[str, pa.DataType]:
        return {"words": pa.int32()}

    def prepare_texts(self, texts: Sequence[str]) -> Sequence[int]:  # type: ignore[override]
        self.asked.append(list(texts))
        if "boom" in texts:
            raise ArithmeticError("boom")
        return [len(text.split()) for text in texts]

    def batch(self, rows: Rows) -> Mapping[str, Any]:
        return {"words": list(rows.texts)}


class Letters(Score):
    """Number of letters, for which nothing is prepared."""

    batch_size: int = 4
    begun: ClassVar[list[str]] = []

    def reads(self) -> tuple[str, ...]:
        return ("text",)

    def makes(self) -> dict[str, pa.DataType]:
        return {"letters": pa.int32()}

    def batch(self, rows: Rows) -> Mapping[str, Any]:
        self.begun.extend(thread.name for thread in threading.enumerate())
        return {"letters": [len(text) for text in rows.texts]}


def column(view: Any, name: str) -> list[Any]:
    table = view.store[name].collect()
    return list(zip(table[name].to_list(), table[f"{name}_status"].to_list(), strict=True))


def test_images_are_prepared_once_and_never_by_the_thread_that_runs_the_op(make_store):
    op = Redness()
    view = annotate(make_store(10, images=[picture(i) for i in range(10)]), [op], HERE)
    assert column(view, "redness") == [(i, "ok") for i in range(10)]
    assert sorted(op.seen) == [(i, False) for i in range(10)]


def test_images_are_gone_once_they_are_prepared(make_store):
    op = Redness()
    annotate(make_store(40, rows_per_shard=40, images=[picture(i) for i in range(40)]), [op], HERE)
    assert max(op.most) <= 2, "no more than the threads have in hand"


def test_a_fault_while_an_image_is_prepared_is_that_row_s_alone(make_store):
    view = make_store(8, images=[picture(i) for i in range(8)])
    found = column(annotate(view, [Redness(blind=(2, 5))], HERE), "redness")
    assert [value for value, _ in found] == [0, 1, None, 3, 4, None, 6, 7]
    assert found[2][1].startswith("error: ArithmeticError: red 2 (test_ahead.py, line ")


def test_where_nothing_is_prepared_no_thread_is_begun(make_store, monkeypatch):
    begun: list[str] = []
    view = make_store([{"text": "a" * n} for n in range(9)])
    before = {thread.name for thread in threading.enumerate()}
    monkeypatch.setattr(Letters, "begun", begun)
    view = annotate(view, [Letters()], HERE)
    assert column(view, "letters") == [(n, "ok") for n in range(9)]
    assert threading.current_thread().name in begun
    assert not [name for name in {*begun} - before if "Pool" in name]


def test_two_ops_prepare_the_same_image_each_its_own_way(make_store):
    class Blueness(Redness):
        name: str = "blueness"

        def prepare_image(self, decoded: Decoded) -> int:
            return super().prepare_image(decoded) + 1000

    view = make_store(6, images=[picture(i) for i in range(6)])
    after = annotate(view, [Redness(blind=(3,)), Blueness()], HERE)
    assert [value for value, _ in column(after, "redness")] == [0, 1, 2, None, 4, 5]
    assert [value for value, _ in column(after, "blueness")] == [1000, 1001, 1002, 1003, 1004, 1005]


def test_captions_are_prepared_a_chunk_at_a_time(make_store):
    op = Words()
    view = make_store([{"text": "a b"}, {"text": "c"}, {"text": ""}, {"text": None}, {"text": "d e f"}])
    found = column(annotate(view, [op], HERE), "words")
    assert found == [(2, "ok"), (1, "ok"), (0, "ok"), (None, "no_text"), (3, "ok")]
    assert sorted(op.asked) == [["a b", "c", "", ""], ["d e f"]]


def test_a_caption_that_cannot_be_prepared_costs_no_other_its_value(make_store):
    view = make_store([{"text": text} for text in ("a", "b c", "boom", "d", "e f")])
    found = column(annotate(view, [Words()], HERE), "words")
    assert [value for value, _ in found] == [1, 2, None, 1, 2]
    assert found[2][1].startswith("error: ArithmeticError: boom (test_ahead.py, line ")


def test_one_chunk_is_begun_ahead_and_not_more(make_store):
    op = Redness()
    view = make_store(20, rows_per_shard=20, images=[picture(i) for i in range(20)])
    reader = ImageReader(view.store, view.images, 0)
    chunks = Ahead({"r": op}, {"r": np.ones(20, bool)}, reader=reader)(np.split(np.arange(20), 5))
    assert not op.seen
    assert next(chunks).images["r"] == [0, 1, 2, 3]
    assert next(chunks).images["r"] == [4, 5, 6, 7]
    assert {red for red, _ in op.seen} <= set(range(12))
    chunks.close()
    assert {red for red, _ in op.seen} <= set(range(12)), "stopping early begins nothing new"


@pytest.mark.parametrize(("rows", "threads", "tasks"), [(640, 2, 20), (640, 16, 64), (40, 2, 8), (3, 2, 3)])
def test_a_task_takes_32_images_or_as_many_as_keep_all_threads_busy(make_store, rows, threads, tasks):
    images = [picture(i % 250) for i in range(rows)]
    view = make_store(rows, rows_per_shard=rows, images=images)
    op = Redness(blind=(33,))
    reader = ImageReader(view.store, view.images, 0)
    todo = np.arange(rows) % 7 != 1
    ahead = Ahead({"r": op}, {"r": todo}, reader=reader, threads=threads)
    ahead.begin([np.arange(rows)])
    assert ahead._started is not None
    assert len(ahead._started[0].result()[0]) == tasks
    [chunk] = ahead([np.arange(rows)])
    assert chunk.status == ["ok" if is_todo else "skipped" for is_todo in todo]
    values = [f"{value.error}" if isinstance(value, Fault) else value for value in chunk.images["r"]]
    seen = ["red 33" if i % 250 == 33 else i % 250 for i in range(rows)]
    assert values == [value if is_todo else None for value, is_todo in zip(seen, todo, strict=True)]


def test_a_reader_that_fails_fails_the_shard(make_store):
    view = make_store(3, images=[picture(i) for i in range(3)])
    reader = ImageReader(view.store, view.images, 0)
    reader.where["size"][1] += 10**6
    with pytest.raises(CurateError, match="the image of row 1 of shard 0 is cut off"):
        list(Ahead({"r": Redness()}, {"r": np.ones(3, bool)}, reader=reader)([np.arange(3)]))
