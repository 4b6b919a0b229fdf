"""The way to a GPU and back, with a lane that copies as late as it may: no GPU is needed, and none was seen."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import pytest
from test_model import SMALL, drawn

from curate.models.encoder import Encoder
from curate.models.feed import BUFFERS, Feed
from curate.models.pixels import CUDA_PIECE
from curate.pictures.decoded import Decoded

torch = importlib.import_module("torch")


class LateLane:
    """A device whose copies are made when somebody waits for them, or for a later one, and not before."""

    def __init__(self) -> None:
        self.buffers: list[Any] = []
        self.pending: list[Callable[[], object]] = []
        self.log: list[str] = []

    def buffer(self, shape: Sequence[int], dtype: Any) -> Any:
        self.buffers.append(torch.zeros(tuple(shape), dtype=dtype))
        return self.buffers[-1]

    def up(self, rows: Any) -> tuple[Any, Callable[[], None]]:
        self.log.append("up")
        tensor = torch.zeros_like(rows)
        return tensor, self.queued(lambda: tensor.copy_(rows))

    def down(self, tensor: Any) -> Callable[[], Any]:
        self.log.append("down")
        wait = self.queued(lambda: None)

        def result() -> Any:
            self.log.append("wait")
            wait()
            return tensor

        return result

    def queued(self, copy: Callable[[], object]) -> Callable[[], None]:
        self.pending.append(copy)
        place = len(self.pending)

        def wait() -> None:
            for number in range(place):
                self.pending[number]()
                self.pending[number] = lambda: None

        return wait


class PromptLane(LateLane):
    """A device whose copies are made at once: what the model would see of them."""

    def up(self, rows: Any) -> tuple[Any, Callable[[], None]]:
        tensor, wait = super().up(rows)
        wait()
        return tensor, wait


def rows_from(first: int, number: int) -> list[Any]:
    return [torch.full((2, 3), first + i, dtype=torch.int32) for i in range(number)]


def test_no_row_is_lost_where_copies_come_as_late_as_they_may():
    """Nine pieces through three buffers: a buffer is filled again only when its copy has left it."""
    lane = LateLane()
    feed = Feed(lane)
    tensors = [feed(rows_from(10 * piece, 4 if piece < 8 else 2), 4) for piece in range(9)]
    for copy in lane.pending:
        copy()
    firsts = [tensor[:, 0, 0].tolist() for tensor in tensors]
    assert firsts == [[10 * piece + i for i in range(4)] for piece in range(8)] + [[80, 81]]
    assert [tuple(buffer.shape) for buffer in lane.buffers] == [(4, 2, 3)] * BUFFERS


def test_copies_are_not_waited_for_before_their_buffer_is_needed():
    lane = LateLane()
    feed = Feed(lane)
    tensors = [feed(rows_from(10 * piece, 4), 4) for piece in range(1, 1 + BUFFERS)]
    assert [int(tensor.sum()) for tensor in tensors] == [0, 0, 0]
    feed(rows_from(90, 4), 4)
    assert int(tensors[0][0, 0, 0]) == 10
    assert [int(tensor.sum()) for tensor in tensors[1:]] == [0, 0]


def test_more_rows_than_usual_and_rows_of_another_kind_have_buffers_of_their_own():
    lane = LateLane()
    feed = Feed(lane)
    few, many = feed(rows_from(0, 2), 2), feed(rows_from(10, 5), 2)
    other = feed([torch.full((7,), 3, dtype=torch.uint8)] * 2, 2)
    for copy in lane.pending:
        copy()
    assert many[:, 0, 0].tolist() == [10, 11, 12, 13, 14]
    assert few[:, 0, 0].tolist() == [0, 1]
    assert other.tolist() == [[3] * 7] * 2
    assert [tuple(buffer.shape) for buffer in lane.buffers] == [(2, 2, 3), (5, 2, 3), (2, 7)]


@pytest.fixture
def lane(monkeypatch) -> Iterator[PromptLane]:
    """Encoders for a CPU that believe in this way to it; attention as autocast on CUDA has it."""
    prompt = PromptLane()
    monkeypatch.setattr("curate.models.encoder.lane_to", lambda device: prompt)
    attention = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    yield prompt
    torch.backends.mha.set_fastpath_enabled(attention)


def prepared(encoder: Encoder, number: int) -> list[Any]:
    return [encoder.pixels.one(Decoded(image=picture)) for picture in drawn(number)]


def test_the_vectors_of_what_goes_in_pieces_through_kept_buffers(lane):
    """Pieces as a CPU's: then the sums are the same to the bit."""
    encoder = Encoder(SMALL, "cpu")
    assert encoder.queues
    ready, texts = prepared(encoder, 37), [f"a red bus number {n}" for n in range(5)]
    images, captions = encoder.ready_images(ready), encoder.texts(texts)
    assert lane.log.count("up") == 5 + 1, "five pieces of 8 images at most, one of captions"
    assert len([buffer for buffer in lane.buffers if buffer.dtype == torch.uint8]) == BUFFERS
    encoder._lane, encoder.pixels._feed = None, None
    assert np.array_equal(encoder.ready_images(ready), images)
    assert np.array_equal(encoder.texts(texts), captions)


def test_what_is_begun_waits_for_nothing(lane):
    encoder = Encoder(SMALL, "cpu")
    ready = encoder.tokens.ready(["a bus", "a train"])
    begun = [encoder.begin_images(prepared(encoder, 2)), encoder.begin_captions(ready)]
    assert "wait" not in lane.log
    assert [result() is not None for result in begun] == [True, True]
    assert lane.log.count("wait") == 2


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_weights_that_are_rounded_once_give_the_same_bits(lane, precision, monkeypatch):
    rounded = Encoder(SMALL, "cpu", precision=precision)
    assert rounded._halved
    monkeypatch.setattr("curate.models.encoder.halve", lambda model, half: False)
    anew = Encoder(SMALL, "cpu", precision=precision)
    half = {"bf16": torch.bfloat16, "fp16": torch.float16}[precision]
    kinds = [{weight.dtype for weight in encoder.model.parameters()} for encoder in (rounded, anew)]
    assert kinds == [{torch.float32, half}, {torch.float32}]
    pictures, texts = drawn(9), [f"a red bus {'very ' * n}long" for n in range(60)]
    assert np.array_equal(rounded.images(pictures), anew.images(pictures))
    assert np.array_equal(rounded.texts(texts), anew.texts(texts))


class Infinite:
    """A tower that overflows."""

    def __init__(self, tower: Any):
        self.pieces = getattr(tower, "pieces", None)

    def __call__(self, batch: Any, normalize: bool) -> Any:
        return torch.full((len(batch), 2), float("inf"))


def test_what_overflows_is_computed_with_the_weights_as_they_were_published(lane):
    half, full = Encoder(SMALL, "cpu", precision="fp16"), Encoder(SMALL, "cpu")
    half._image_tower, half._text_tower = Infinite(None), Infinite(half._text_tower)
    pictures, texts = drawn(3), ["a red bus"] * 3
    assert np.array_equal(half.images(pictures), full.images(pictures))
    assert np.array_equal(half.texts(texts), full.texts(texts))


def test_a_gpu_takes_a_batch_in_pieces():
    assert CUDA_PIECE < 1024
