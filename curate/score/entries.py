"""Which entries of a metadata list a caption holds: MetaCLIP's substring matching."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, ClassVar

import fsspec
import pyarrow as pa
from pydantic import PrivateAttr

from curate.errors import CurateError
from curate.op import Rows, Score


@cache
def _sha256(path: str) -> str:
    with fsspec.open(path, "rb") as file:
        return hashlib.sha256(file.read()).hexdigest()[:12]


class Entries(Score):
    """`entries`: sorted ids of the entries that stand in the caption, each once; stored, so that another balancing
    threshold needs no matching.

    metadata: MetaCLIP's metadata.json, or a text file with one entry per line; `small` is a list to try things with:
        the 50,000 most frequent English words of the package wordfreq, also capitalised, and the numbers 0 to 99.
    """

    reads: ClassVar[tuple[str, ...]] = ("text",)
    cite: ClassVar[str] = "Xu et al., Demystifying CLIP Data, 2023"
    batch_size: int = 10_000
    metadata: str = "small"

    _matcher: Any = PrivateAttr(None)

    def makes(self) -> dict[str, pa.DataType]:
        return {"entries": pa.list_(pa.uint32())}

    def weights(self) -> str:
        return metadata_identity(self.metadata)

    def check(self) -> None:
        if self.metadata != "small":
            fs, path = fsspec.core.url_to_fs(self.metadata)
            if not fs.exists(path):
                raise CurateError(f"score.entries: no metadata file '{self.metadata}'")

    def setup(self) -> None:
        from curate.matching import Matcher

        self._matcher = Matcher(load_metadata(self.metadata))

    def batch(self, rows: Rows) -> Mapping[str, Any]:
        return {"entries": self._matcher.match(rows["text"])}


def load_metadata(metadata: str) -> list[str]:
    """The entries in their order: the ids are their places."""
    from curate.metadata import build_small, load

    return build_small(words=50_000, capitalised=True, wordnet=None) if metadata == "small" else load(metadata)


def metadata_identity(metadata: str) -> str:
    """A file's name and sha256; the small list's entries decide."""
    if metadata == "small":
        return f"small@{hashlib.sha256(chr(10).join(load_metadata('small')).encode()).hexdigest()[:12]}"
    return f"{Path(metadata).name}@{_sha256(metadata)}"
