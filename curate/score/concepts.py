"""Which concepts of a list a caption names, by any of their synonyms: whole words, whatever their case."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import polars as pl
import pyarrow as pa
from pydantic import PrivateAttr

from curate.errors import CurateError
from curate.metaclip.matching import Matcher
from curate.op import Rows, Score
from curate.store.file_hash import file_sha256

#: What is taken away without a blank in its place.
_QUOTES = "[\"'`´‘’“”„«»]"
#: What stands between words: all but letters with their marks and digits.
_BETWEEN = r"[^\p{L}\p{M}\p{N}]+"


class Concepts(Score):
    """`concepts`: the sorted numbers of the concepts that the caption names, each once; empty for a caption without.

    file: a line for each concept, `name<TAB>synonym|synonym|...`; its number is that of the line, from 0. The name
        itself counts only where it stands among its synonyms; a line of a name alone is its own synonym.

    Captions and synonyms are compared as words: quotes are taken away, all else that is no letter or digit (the hyphen
    and the underscore, too) separates words, case does not count. A synonym matches as a run of whole words; the plural
    is another word. For panda {panda, giant panda} and crane {crane}, "A giant panda." and "crane and panda" name
    panda, "Crane-fly" names crane, "pandas" nothing.

    `curate tail STORE --by concepts` says of each concept how many captions name it, which are the tail, and at which
    step they went. balance.concepts takes as many captions of each. In score.entries other rules hold: capitals count.
    """

    cite: ClassVar[str] = "Parashar et al., The Neglected Tails in Vision-Language Models, 2024"
    how: ClassVar[frozenset[str]] = Score.how | {"file"}
    batch_size: int = 10_000
    file: str

    _matcher: Any = PrivateAttr(None)
    _concept: Any = PrivateAttr(None)

    def reads(self) -> tuple[str, ...]:
        return ("text",)

    def makes(self) -> dict[str, pa.DataType]:
        return {"concepts": pa.list_(pa.uint32())}

    def packages(self) -> tuple[str, ...]:
        return ("numba",)

    def weights(self) -> str:
        return f"concepts@{_hash(self.file)[:12]}"

    def check(self) -> None:
        concept_list(self.file)

    def setup(self) -> None:
        concepts = concept_list(self.file)
        synonyms = [(word, number) for number, (_, words) in enumerate(concepts) for word in words]
        # One synonym may stand for several concepts: the matcher has it once.
        distinct: dict[str, list[int]] = {}
        for word, number in zip(
            words_of(pl.Series([word for word, _ in synonyms])), (n for _, n in synonyms), strict=True
        ):
            distinct.setdefault(word, []).append(number)
        self._matcher = Matcher(list(distinct))
        self._concept = pl.DataFrame(
            {"synonym": range(len(distinct)), "concept": list(distinct.values())},
            schema={"synonym": pl.UInt32, "concept": pl.List(pl.UInt32)},
        ).explode("concept")

    def batch(self, rows: Rows) -> Mapping[str, Any]:
        matched = self._matcher.match(words_of(pl.Series(rows["text"])).to_arrow())
        lists = pl.DataFrame({"row": np.arange(len(rows)), "synonym": pl.Series(matched)})
        named = lists.explode("synonym").drop_nulls().join(self._concept, on="synonym").unique(["row", "concept"])
        named = named.sort("row", "concept")
        ends = np.cumsum(np.bincount(named["row"].to_numpy(), minlength=len(rows)))
        offsets = pa.array(np.concatenate([[0], ends]).astype(np.int32))
        return {"concepts": pa.ListArray.from_arrays(offsets, named["concept"].to_arrow())}


def words_of(texts: pl.Series) -> pl.Series:
    """Words in lower case with a blank between them.

    >>> words_of(pl.Series(["A giant panda.", "Crane-fly", "the dog's", "..."])).to_list()
    ['a giant panda', 'crane fly', 'the dogs', '']
    """
    plain = texts.str.to_lowercase().str.replace_all(_QUOTES, "").str.replace_all(_BETWEEN, " ")
    return plain.str.strip_chars(" ")


def concept_list(file: str) -> list[tuple[str, list[str]]]:
    """(name, synonyms) of each line of a file, in its order.

    Raises:
        CurateError: for a file that is not there or is empty, an empty line, a name that stands twice, a synonym
            without a letter or digit; each with its line.
    """
    return list(_concept_list(file, _hash(file)))


@cache
def _concept_list(file: str, _: str) -> tuple[tuple[str, list[str]], ...]:
    try:
        lines = Path(file).read_text(encoding="utf-8-sig").removesuffix("\n").split("\n")
    except UnicodeDecodeError as error:
        raise CurateError(f"score.concepts: {file} is no UTF-8 text: {error}") from error
    concepts: dict[str, list[str]] = {}
    for number, line in enumerate(lines, 1):
        name, _tab, synonyms = line.rstrip("\r").partition("\t")
        where = f"score.concepts: {file}, line {number}"
        if not name.strip():
            raise CurateError(f"{where} has no name: expected name<TAB>synonym|synonym")
        if name.strip() in concepts:
            raise CurateError(f"{where}: '{name.strip()}' stands twice")
        words = [word.strip() for word in synonyms.split("|")] if synonyms.strip() else [name.strip()]
        if odd := [word for word, plain in zip(words, words_of(pl.Series(words)), strict=True) if not plain]:
            raise CurateError(f"{where}: synonym {odd[0]!r} has no letter or digit")
        concepts[name.strip()] = words
    return tuple(concepts.items())


def _hash(file: str) -> str:
    try:
        return file_sha256(file)
    except OSError as error:
        raise CurateError(f"score.concepts: no file '{file}'") from error
