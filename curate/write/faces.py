"""Faces in what is written: blurred where a column of boxes says they are; the stored images stay as they are."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import pyarrow as pa

from curate.cluster.many_shards import in_threads
from curate.errors import CurateError, unknown
from curate.messages.packages import lacking
from curate.pictures.blur import PACKAGES, WHOLE, blurred_file, boxes_of
from curate.store.folder import Folder, shard_name
from curate.store.view import View

#: DataComp's column of face boxes.
FACES = "face_bboxes"

NOT_BLURRED = "column(s) of face boxes, and no face is blurred: write: {blur_faces: true} does it"
#: Names of the counts in a shard's statistics, to what is said of them.
COUNTS = {
    "blurred": "image(s) with faces, which are blurred",
    "whole": "image(s) blurred as a whole, since their face boxes are no fractions of x0, y0, x1, y1",
    "unknown": "image(s) whose face boxes are null: nothing is blurred",
}


def lacking_for_faces(name: str) -> list[str]:
    """At most one line, that names what is not installed."""
    line = lacking("write: blur_faces", PACKAGES, ["image"]) if name else ""
    return [line] if line else []


def check_faces(view: View, name: str) -> None:
    """
    Raises:
        CurateError: for a column that is not there, and packages that are not installed.
    """
    if name not in view.columns:
        raise unknown("column", name, view.columns, f"{view.store.url}: write: blur_faces")
    for fault in lacking_for_faces(name):
        raise CurateError(fault)


class Blur:
    """Blurs the images of a training shard. counts: images by a name of COUNTS."""

    def __init__(self, view: View, column: str) -> None:
        self.counts: Counter[str] = Counter()
        self._view, self._column = view, column

    def images(self, files: Iterable[tuple[Any, str]], shard: int, rows: np.ndarray) -> Iterator[tuple[Any, str]]:
        """Files of rows with their endings, those with faces written anew.

        Raises:
            CurateError: for an image with faces that cannot be decoded.
        """
        values = self._view.read(shard, [self._column])[self._column].take(pa.array(rows)).to_pylist()
        for row, value, (body, extension) in zip(rows.tolist(), values, files, strict=True):
            boxes = boxes_of(value)
            self.counts["unknown"] += value is None
            self.counts["whole"] += boxes is None
            self.counts["blurred"] += bool(boxes)
            if boxes == []:
                yield body, extension
                continue
            try:
                yield blurred_file(bytes(body), boxes or [WHOLE], extension)
            except Exception as error:
                raise CurateError(
                    f"the faces of row {row} of shard {shard} cannot be blurred ({type(error).__name__}: {error}): "
                    "drop such rows before, by a filter"
                ) from error


def faces_told(out: Folder, shards: int) -> Counter[str]:
    """What is said of the faces of all shards, with the images of each."""

    def of_shard(number: int) -> dict[str, int]:
        counts: dict[str, int] = json.loads(out.read_bytes(f"{shard_name(number)}_stats.json"))["faces"]
        return counts

    total: Counter[str] = Counter()
    for counts in in_threads(of_shard, shards):
        total.update({COUNTS[name]: images for name, images in counts.items()})
    return total
