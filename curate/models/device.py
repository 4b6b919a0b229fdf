"""The device that a model runs on."""

from __future__ import annotations

from curate.errors import CurateError


def chosen(device: str, threads: int = 1) -> str:
    """`cpu` or `cuda` for `auto`; and so many threads for torch's own sums on the CPU.

    One worker per CPU: more threads than that would fight, and change the last bits of the sums. Beside a GPU each of
    the threads that resize would start as many again.

    Raises:
        CurateError: for cuda where there is none: a silent slow run would cost more.
    """
    import torch

    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    if device.startswith("cuda") and not torch.cuda.is_available():
        raise CurateError(f"device: {device} was asked for, and torch finds no CUDA device here")
    torch.set_num_threads(threads)
    return device
