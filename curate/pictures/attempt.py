"""Pixels of whatever file, or why it has none: here for good files, in a process that may die for doubtful ones."""

from __future__ import annotations

import numpy as np

from curate.pictures.decoded import Decoded, decode
from curate.pictures.decoders import decoders
from curate.pictures.doubtful import LARGE, doubt
from curate.pictures.jpeg_marks import is_jpeg, jpeg_head
from curate.pictures.picture_file import TooCostly


def attempt(data: bytes, *, careful: bool = False) -> tuple[Decoded | None, str]:
    """The image and `ok`, or None and why it has no pixels: a status of the row.

    careful: decode any file in a process of its own, after something in its shard killed a worker.
    """
    head = jpeg_head(data) if is_jpeg(data) else None
    reason = doubt(data, head)
    if reason or careful:
        return _apart(data, reason == LARGE)
    try:
        return decode(data, head=head), "ok"
    except TooCostly as problem:
        return None, f"{problem.status}: {problem}"
    except Exception as problem:  # noqa: BLE001 - any damage is a status of this row
        return None, f"undecodable: {type(problem).__name__}"


def _apart(data: bytes, is_large: bool) -> tuple[Decoded | None, str]:
    answer, pixels = decoders().ask("decode", data, is_large=is_large)
    if isinstance(pixels, np.ndarray):
        return Decoded(pixels), "ok"
    return None, f"{answer['status']}: {answer['error']}"
