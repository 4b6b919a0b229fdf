"""One model for many threads: rows of one shape in one batch, each caller's own results."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont

from curate.catalog import load
from curate.errors import CurateError
from curate.text_in_images.ocr_engine import OcrEngine
from curate.text_in_images.shared_session import SharedSession


class Model:
    """Doubles its rows and notes their shape. `hold` keeps the first call back; a row of `bad` fails its batch."""

    def __init__(self, bad: float | None = None, held: bool = False) -> None:
        self.shapes: list[tuple[int, ...]] = []
        self.bad, self.begun, self.hold = bad, threading.Event(), threading.Event()
        if not held:
            self.hold.set()
        self.now = 0

    def __call__(self, rows: np.ndarray) -> np.ndarray:
        self.now += 1
        assert self.now == 1, "two threads at a time"
        self.shapes.append(rows.shape)
        self.begun.set()
        assert self.hold.wait(20)
        self.now -= 1
        if self.bad is not None and (rows == self.bad).any():
            raise ValueError("bad row")
        return rows * 2


def filled(value: float, rows: int = 1, width: int = 4) -> np.ndarray:
    return np.full((rows, 3, width), value, np.float32)


def gathered(model: Model, asked: list[np.ndarray], most: int = 32) -> list[object]:
    """Results, or errors, of all that is asked for while the model is held by a call of another shape."""
    session = SharedSession(model, most)

    def result(rows: np.ndarray) -> object:
        try:
            return session(rows)
        except ValueError as error:
            return error

    with ThreadPoolExecutor(len(asked) + 1) as pool:
        pool.submit(session, filled(0, width=99))
        assert model.begun.wait(20)
        results = [pool.submit(result, rows) for rows in asked]
        while len(session._waiting) < len(asked):  # the test's time limit ends it
            time.sleep(0.01)
        model.hold.set()
        done = [future.result() for future in results]
    assert not session._waiting
    return done


def test_rows_of_one_shape_that_wait_are_one_batch_filled_up():
    model = Model(held=True)
    asked = [filled(1), filled(2, rows=2), filled(3, width=8), filled(4, rows=2), filled(5, width=8)]
    for rows, result in zip(asked, gathered(model, asked), strict=True):
        assert np.array_equal(result, rows * 2)
    assert sorted(model.shapes[1:]) == [(2, 3, 8), (8, 3, 4)]


def test_a_batch_has_no_more_rows_than_it_may():
    model = Model(held=True)
    asked = [filled(n, rows=2) for n in range(5)]
    for rows, result in zip(asked, gathered(model, asked, most=4), strict=True):
        assert np.array_equal(result, rows * 2)
    assert sorted(shape[0] for shape in model.shapes[1:]) == [2, 4, 4]


def test_one_call_with_more_rows_than_a_batch_is_run_as_it_is():
    model = Model()
    assert np.array_equal(SharedSession(model, most=4)(filled(1, rows=8)), filled(2, rows=8))
    assert model.shapes == [(8, 3, 4)]


def test_a_bad_row_costs_no_other_its_result():
    first, bad, last = gathered(Model(bad=7, held=True), [filled(1), filled(7), filled(2)])
    assert np.array_equal(first, filled(2)) and np.array_equal(last, filled(4))
    assert isinstance(bad, ValueError)


def test_many_threads_get_their_own():
    session = SharedSession(Model(), most=4)
    with ThreadPoolExecutor(8) as pool:
        asked = [filled(n, rows=1 + n % 3, width=4 + n % 2) for n in range(200)]
        for rows, result in zip(asked, pool.map(session, asked), strict=True):
            assert np.array_equal(result, rows * 2)


def sign(word: str, size: tuple[int, int]) -> Image.Image:
    image = Image.new("RGB", size, "white")
    ImageDraw.Draw(image).text((20, size[1] // 3), word, "black", ImageFont.load_default(26))
    return image


@pytest.mark.soak
@pytest.mark.slow
def test_shared_models_find_and_read_what_ones_own_do(monkeypatch):
    words = ["A red STOP sign", "open", "closed today", "way out", "", "No 17"]
    images = [sign(word, size) for size in ((320, 200), (200, 200), (700, 90)) for word in words]
    alone = OcrEngine()
    expected = [alone.spot(image) for image in images]
    shapes: list[int] = []

    def sessions(engine: OcrEngine) -> tuple[SharedSession, SharedSession]:
        """As on a GPU, of models on the CPU."""
        loaded = engine._loaded()

        def noted(rows: np.ndarray) -> np.ndarray:
            shapes.append(len(rows))
            return loaded._load_det_model().session(rows)

        return SharedSession(noted), SharedSession(loaded._load_rec_model().session)

    monkeypatch.setattr(OcrEngine, "_on_cuda", sessions)
    shared = OcrEngine(device="cuda")
    with ThreadPoolExecutor(6) as pool:
        for spotted, usual in zip(pool.map(shared.spot, images), expected, strict=True):
            assert np.array_equal(spotted.polygons, usual.polygons)
            assert [line.text for line in spotted.lines] == [line.text for line in usual.lines]
            assert [line.score for line in spotted.lines] == pytest.approx(
                [line.score for line in usual.lines], abs=1e-4
            )
            assert spotted.unread == usual.unread
    assert max(shapes) > 1, "some came together"


@pytest.mark.slow
def test_a_gpu_that_is_not_there_is_told_before_any_row():
    op = load({"score.text_boxes": {"device": "cuda"}})
    assert op.gpus() == 1
    assert load("score.text_boxes").gpus() == 0
    with pytest.raises(CurateError, match=r"device: cuda was asked for, .*pip install onnxruntime-gpu"):
        op.setup()


@pytest.mark.slow
def test_a_device_makes_no_other_table():
    assert load("score.ocr").spec() == load({"score.ocr": {"device": "cuda"}}).spec()
