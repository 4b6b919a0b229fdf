"""How many images a model takes at a time on its device: as many as half of the free memory holds."""

from __future__ import annotations

from collections.abc import Callable

#: Two batches that are tried: what they differ by is the cost of the images, and not of the model.
TRIED = (8, 32)

#: Beyond this, batches fill a device no better.
MOST = 1024


def fitting(peak: Callable[[int], int], free: int) -> int:
    """The greatest power of two that needs no more than `free` bytes, from 1 to MOST.

    peak: bytes that a batch of so many images needs at its peak; asked for the sizes in TRIED only.

    A model of 100 bytes that takes 10 an image, in 10,000 bytes:

    >>> fitting(lambda images: 100 + 10 * images, 10_000)
    512
    """
    few, more = (peak(size) for size in TRIED)
    each = max(1, (more - few) // (TRIED[1] - TRIED[0]))
    most = max(1, min(MOST, (free - (few - TRIED[0] * each)) // each))
    return 1 << (int(most).bit_length() - 1)
