"""The way to a GPU and back: pinned memory that is kept, and a stream of its own for the copies."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

#: Buffers in turn: one is filled while the copies of the two before it run.
BUFFERS = 3


class Lane(Protocol):
    """Copies between this process and a device, each of which runs beside the work of both."""

    def buffer(self, shape: Sequence[int], dtype: Any) -> Any:
        """Memory of this process that the device can reach."""

    def up(self, rows: Any) -> tuple[Any, Callable[[], None]]:
        """Rows of a buffer on the device, for what is queued there from now on; and what waits until they are read."""

    def down(self, tensor: Any) -> Callable[[], Any]:
        """Begins to bring back what the device makes of what is queued; returns what waits for it and gives it."""


class CudaLane:
    """CUDA: copies to the device go through a stream of their own, those back through the model's, behind its work."""

    def __init__(self, device: str):
        import torch

        self._torch, self._device = torch, device
        self._stream = torch.cuda.Stream(device)

    def buffer(self, shape: Sequence[int], dtype: Any) -> Any:
        return self._torch.empty(tuple(shape), dtype=dtype, pin_memory=True)

    def up(self, rows: Any) -> tuple[Any, Callable[[], None]]:
        cuda = self._torch.cuda
        with cuda.stream(self._stream):
            tensor = rows.to(self._device, non_blocking=True)
            copied = self._stream.record_event()
        model = cuda.current_stream(self._device)
        model.wait_event(copied)
        # Its memory belongs to the stream of the copies: it is not to be given away before the model has read it.
        tensor.record_stream(model)
        return tensor, copied.synchronize

    def down(self, tensor: Any) -> Callable[[], Any]:
        host = self.buffer(tensor.shape, tensor.dtype)
        host.copy_(tensor, non_blocking=True)
        copied = self._torch.cuda.current_stream(self._device).record_event()

        def result() -> Any:
            copied.synchronize()
            return host

        return result


def lane_to(device: str) -> Lane | None:
    """The way to a CUDA device; None where a model works on what lies in this process, or waits for its copies."""
    return CudaLane(device) if device.startswith("cuda") else None


class Feed:
    """Rows to a device, through a few buffers that are kept: new memory would cost more than the copy."""

    def __init__(self, lane: Lane):
        self.lane = lane
        self._kind: tuple[Any, Any] | None = None
        #: Each with what waits until its last copy has left it.
        self._buffers: list[tuple[Any, Callable[[], None]]] = []

    def __call__(self, rows: Sequence[Any], most: int) -> Any:
        """Rows of one shape, one tensor each, as one tensor on the device. most: that come at a time."""
        import torch

        kind = rows[0].shape, rows[0].dtype
        if kind != self._kind:
            self._kind, self._buffers = kind, []
        buffer = None
        if len(self._buffers) == BUFFERS:
            buffer, copied = self._buffers.pop(0)
            copied()
        if buffer is None or len(buffer) < len(rows):
            buffer = self.lane.buffer((max(most, len(rows)), *kind[0]), kind[1])
        tensor, copied = self.lane.up(torch.stack(list(rows), out=buffer[: len(rows)]))
        self._buffers.append((buffer, copied))
        return tensor
