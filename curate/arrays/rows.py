"""Some rows of a shard, as the hooks of an op get them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa


class Rows:
    """Some rows of a shard, as an op sees them: columns by name, decoded images, and what was prepared ahead.

    Every row has a value in every column that the op reads, and an image if it reads `image`: rows that
    lack one never reach the op, they get null and a status.

    images: what `prepare_image` returned for each row; None for an op that does not read `image`.
    texts: what `prepare_texts` returned for each row; None where the op keeps the default: the captions as they are.
    """

    def __init__(
        self,
        columns: Mapping[str, pa.Array],
        images: Sequence[Any] | None = None,
        length: int = 0,
        texts: Sequence[Any] | None = None,
    ):
        self._columns = dict(columns)
        self._images, self._texts = images, texts
        self._length = len(images) if images is not None else length
        for column in self._columns.values():
            self._length = len(column)

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, column: str) -> pa.Array:
        if column not in self._columns:
            raise LookupError(f"no column '{column}': `reads` of the op names: {', '.join(self._columns) or 'nothing'}")
        return self._columns[column]

    @property
    def images(self) -> Sequence[Any]:
        """What the op's `prepare_image` returned for each row: by default an RGB image, decoded once for all ops."""
        if self._images is None:
            raise LookupError("no images: `reads` of the op does not name 'image'")
        return self._images

    @property
    def texts(self) -> Sequence[Any]:
        """What the op's `prepare_texts` returned for each row: by default the caption, an empty text for a null."""
        return captions_of(self["text"]) if self._texts is None else self._texts


def captions_of(column: pa.Array) -> list[str]:
    """Captions as texts; a null one is an empty text."""
    return [text or "" for text in column.to_pylist()]
