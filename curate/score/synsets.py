"""Whether a word of the caption has its first WordNet sense in a list of synsets: DataComp's text-based filter."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import polars as pl
import pyarrow as pa
from pydantic import PrivateAttr

from curate.errors import CurateError
from curate.metadata.wordnet import WORDNET
from curate.op import Rows, Score
from curate.store.file_hash import file_sha256

#: What Python's str.split() leaves.
_WORD = r"[^\s\x1c-\x1f]+"
#: Parts of speech in the order in which they are asked, each with the endings that WordNet takes off.
PARTS: dict[str, tuple[tuple[str, str], ...]] = {
    "noun": (
        *(("s", ""), ("ses", "s"), ("ves", "f"), ("xes", "x"), ("zes", "z")),
        *(("ches", "ch"), ("shes", "sh"), ("men", "man"), ("ies", "y")),
    ),
    "verb": (
        *(("s", ""), ("ies", "y"), ("es", "e"), ("es", "")),
        *(("ed", "e"), ("ed", ""), ("ing", "e"), ("ing", "")),
    ),
    "adj": (("er", ""), ("est", ""), ("er", "e"), ("est", "e")),
    "adv": (),
}
#: No name of WordNet is longer than 71 characters.
LONGEST = 80
#: Words whose answer is remembered.
REMEMBERED = 1_000_000
#: The ids that timm has of ImageNet-21k.
IN21K = ("data", "_info", "imagenet21k_goog_synsets.txt")


class Synsets(Score):
    """`in21k_match`: whether a word of the caption is in the list; `in21k_first`: the first such word, else null.

    Words are what stands between blanks, nothing taken off: "dog," is none. A word's synset is the first sense of its
    first base form, asked as a noun, a verb, an adjective, an adverb, in this order; base forms are those of WordNet's
    morphy: the word in lower case, its irregular forms, or what its endings leave. It matches when the offset is in the
    list, whatever the part of speech. "dogs" is 02084071 and matches ImageNet-21k, "photo" (03925226) does not.

    wordnet: folder of WordNet 3.0 with index.noun and noun.exc, as `apt install wordnet-base` lays it.
    ids: file with a synset id a line (n02084071, or its digits). By default the 21,843 of ImageNet-21k that the package
        timm carries; DataComp's own list is to be preferred where you have it.

    The rule is loose: of 6,000 web captions 4,220 match, Black, White and Blue before all.
    """

    cite: ClassVar[str] = "Gadre et al., DataComp, 2023 (text-based filtering)"
    how: ClassVar[frozenset[str]] = Score.how | {"wordnet", "ids"}
    batch_size: int = 10_000
    wordnet: str = WORDNET
    ids: str = ""

    _first: Any = PrivateAttr(None)
    _offsets: Any = PrivateAttr(None)
    _known: dict[str, bool] = PrivateAttr(default_factory=dict)

    def reads(self) -> tuple[str, ...]:
        return ("text",)

    def makes(self) -> dict[str, pa.DataType]:
        return {"in21k_match": pa.bool_(), "in21k_first": pa.string()}

    def packages(self) -> tuple[str, ...]:
        return () if self.ids else ("timm",)

    def weights(self) -> str:
        try:
            digests = [file_sha256(str(path)) for path in (*_files(self.wordnet), Path(self._ids()))]
        except OSError:
            self.check()
            raise
        return hashlib.sha256(" ".join(digests).encode()).hexdigest()

    def check(self) -> None:
        for path in _files(self.wordnet):
            if not path.is_file():
                raise CurateError(
                    f"score.synsets: no WordNet in '{self.wordnet}' ({path.name} is not there): apt install "
                    "wordnet-base, or name the folder in `wordnet`"
                )
        synset_ids(self._ids())

    def setup(self) -> None:
        self._first = FirstSynsets.of(self.wordnet)
        self._offsets = synset_ids(self._ids())

    def _ids(self) -> str:
        if self.ids:
            return self.ids
        spec = find_spec("timm")  # which does not import it
        if spec is None or not spec.origin:
            raise CurateError(
                "score.synsets: ImageNet-21k's ids come with timm: pip install 'curate[gpu]', or give `ids`"
            )
        return str(Path(spec.origin).parent.joinpath(*IN21K))

    def batch(self, rows: Rows) -> Mapping[str, Any]:
        texts = pl.DataFrame({"row": np.arange(len(rows)), "word": pl.Series(rows["text"]).str.extract_all(_WORD)})
        words = texts.explode("word").drop_nulls()
        distinct = words["word"].unique()
        hits = pl.DataFrame({"word": distinct, "hit": [self._hit(word) for word in distinct.to_list()]})
        first = words.join(hits.filter("hit"), on="word", how="semi", maintain_order="left")
        first = first.group_by("row", maintain_order=True).first()
        column = texts.select("row").join(first, on="row", how="left", maintain_order="left")["word"]
        return {"in21k_match": column.is_not_null().to_arrow(), "in21k_first": column.to_arrow()}

    def _hit(self, word: str) -> bool:
        if (known := self._known.get(word)) is not None:
            return known
        if len(self._known) >= REMEMBERED:
            self._known.clear()
        hit = self._known[word] = self._first(word) in self._offsets
        return hit


@dataclass(frozen=True)
class FirstSynsets:
    """The first synset of a word.

    senses: by part of speech, a name to the offset of its first sense. irregular: by part of speech, a form to its base
    forms.
    """

    senses: dict[str, dict[str, int]] = field(repr=False)
    irregular: dict[str, dict[str, list[str]]] = field(repr=False)

    @classmethod
    def of(cls, folder: str) -> FirstSynsets:
        """
        Raises:
            CurateError: for a file that is no index of WordNet.
        """
        senses = {part: dict(_index(Path(folder) / f"index.{part}")) for part in PARTS}
        irregular = {}
        for part in PARTS:
            lines = (Path(folder) / f"{part}.exc").read_text(encoding="utf-8").splitlines()
            irregular[part] = {words[0]: words[1:] for words in map(str.split, lines) if words}
        return cls(senses, irregular)

    def __call__(self, word: str) -> int | None:
        """The offset, None for a word that WordNet does not have."""
        form = word.lower()
        if len(form) > LONGEST:
            return None
        for part in PARTS:
            for base in self._base_forms(form, part):
                return self.senses[part][base]
        return None

    def _base_forms(self, form: str, part: str) -> list[str]:
        """Those that the part of speech has, in WordNet's order."""
        known = self.senses[part]
        if form in self.irregular[part]:
            return [base for base in (form, *self.irregular[part][form]) if base in known]
        shorter = _without_endings([form], part)
        bases = [base for base in (form, *shorter) if base in known]
        while shorter and not bases:
            shorter = _without_endings(shorter, part)
            bases = [base for base in shorter if base in known]
        return bases


def _without_endings(forms: list[str], part: str) -> list[str]:
    shorter = [f[: -len(end)] + new for f in forms for end, new in PARTS[part] if f.endswith(end) and len(f) > len(end)]
    return list(dict.fromkeys(shorter))


def _index(path: Path) -> Iterator[tuple[str, int]]:
    with path.open(encoding="utf-8") as lines:
        for number, line in enumerate(lines, 1):
            if line.startswith(" "):  # the licence, at the head of every file
                continue
            words = line.split()
            try:
                yield words[0], int(words[6 + int(words[3])])
            except (IndexError, ValueError) as error:
                raise CurateError(f"score.synsets: {path}, line {number} is no line of a WordNet index") from error


def _files(folder: str) -> list[Path]:
    return [Path(folder) / name for part in PARTS for name in (f"index.{part}", f"{part}.exc")]


def synset_ids(file: str) -> frozenset[int]:
    """The offsets of a file with one id a line.

    Raises:
        CurateError: for a file that is not there or is empty, or a line that is no id.
    """
    try:
        return _synset_ids(file, file_sha256(file))
    except OSError as error:
        raise CurateError(f"score.synsets: no file '{file}'") from error


@cache
def _synset_ids(file: str, _: str) -> frozenset[int]:
    offsets = set()
    for number, line in enumerate(Path(file).read_text(encoding="utf-8-sig").split("\n"), 1):
        if not line.strip():
            continue
        match = re.fullmatch(r"[nvasr]?(\d{1,8})", line.strip())
        if not match:
            raise CurateError(
                f"score.synsets: {file}, line {number}: {line.strip()!r} is no synset id such as n02084071"
            )
        offsets.add(int(match[1]))
    if not offsets:
        raise CurateError(f"score.synsets: '{file}' holds no synset id")
    return frozenset(offsets)
