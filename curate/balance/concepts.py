"""As many captions of each concept: those that are nearest to the concept's prompt, a small concept whole."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import polars as pl
import pyarrow as pa
from pydantic import Field, PrivateAttr, model_validator

from curate.arrays.string_hash import hash_strings
from curate.arrays.vectors import read_vectors
from curate.errors import CurateError
from curate.library.names import in_sql
from curate.models.made_by import refuse_older
from curate.models.vector_file import VectorFile, in_tiles
from curate.op import Fitted, Op, Rows, Summed

#: Pairs of a caption and a concept whose vectors are multiplied at a time: 100 MB of 768 numbers each.
AT_ONCE = 16_384


class BalanceConcepts(Fitted):
    """`<table>_keep`: whether the caption is among the `k` best of a concept that it names; `<table>_of`: numbers of
    the concepts that it was chosen for, null for a row that has none of what the op reads. Table: `concepts_balanced`.

    by: a column of lists of concepts: `concepts` of score.concepts.
    k: captions of each concept; the authors' code takes 100 by default, its paper 500. A concept with fewer keeps all
        that may be chosen, and a caption may be chosen for several.
    prompts: vectors of the concepts' prompts ("a photo of a crane"), a .npy (n x d) or a .parquet with them in a column
        `prompt`, a row for each concept in their order, by the model that made `vectors`. A caption's score for a
        concept is their cosine, and only captions with at least `least` may be chosen.
    vectors: column of caption embeddings.
    best: in the place of prompts, a column whose greatest values are chosen, for every concept; `least` does not count.

    Of equal scores the lowest hash of the uid is first; rows of one uid are chosen together.
    """

    cite: ClassVar[str] = (
        "Parashar et al., The Neglected Tails in Vision-Language Models, 2024 (REAL-Linear's retrieval)"
    )
    how: ClassVar[frozenset[str]] = Op.how | {"prompts", "prompts_sha256"}
    by: str = "concepts"
    k: int = Field(500, ge=1)
    prompts: str = ""
    prompts_sha256: str = Field("", pattern="^([0-9a-fA-F]{64})?$")
    vectors: str = "clip_txt"
    best: str = ""
    least: float = 0.0

    _unit: Any = PrivateAttr(None)

    @model_validator(mode="after")
    def _one_score(self) -> BalanceConcepts:
        if bool(self.prompts) == bool(self.best):
            raise ValueError("give either `prompts`, the vectors of the concepts, or `best`, a column of scores")
        return self

    def table(self) -> str:
        return self.name or "concepts_balanced"

    def reads(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys((self.by, self.best or self.vectors, "uid")))

    def makes(self) -> dict[str, pa.DataType]:
        return {f"{self.table()}_keep": pa.bool_(), f"{self.table()}_of": pa.list_(pa.uint32())}

    def decision(self) -> dict[str, Any]:
        reason = f"not among the {self.k} best of a concept"
        return {"keep": [{"if": in_sql(f"{self.table()}_keep"), "else": reason}]}

    def packages(self) -> tuple[str, ...]:
        return ("numba",)

    def _file(self) -> VectorFile:
        return VectorFile(self.prompts, self.prompts_sha256, "prompt")

    def weights(self) -> str:
        return self._file().identity() if self.prompts else ""

    def check(self) -> None:
        if self.prompts:
            self._file().check(self._read)

    def check_reads(self, made_by: Mapping[str, Mapping[str, Any]]) -> None:
        refuse_older(self, made_by)

    def setup(self) -> None:
        self._unit = self._read() if self.prompts else None

    def _read(self) -> np.ndarray:
        return np.concatenate([tile for _, tile in in_tiles(self._file().vectors(), self.prompts, unit=True)])

    # ---- learning ----

    def fit(self, summed: Summed) -> Best:
        best: Best | None = summed(self._best)
        return best if best is not None else Best.of(self._pairs_of_none(), self.k)

    def _best(self, rows: Rows) -> Best:
        return Best.of(self._pairs(rows), self.k)

    def _pairs(self, rows: Rows) -> pl.DataFrame:
        """row, concept, score, draw: each concept of each caption that may be chosen for it."""
        draws = hash_strings(rows["uid"])
        lists = pl.DataFrame({"row": np.arange(len(rows)), "concept": pl.Series(rows[self.by])})
        pairs = lists.explode("concept").drop_nulls().with_columns(pl.col("concept").cast(pl.UInt32))
        pairs = pairs.unique(maintain_order=True)
        places, concepts = pairs["row"].to_numpy(), pairs["concept"].to_numpy()
        scores, good = self._of_column(rows, places) if self.best else self._cosines(rows, places, concepts)
        return pairs.with_columns(score=pl.Series(scores), draw=pl.Series(draws[places])).filter(pl.Series(good))

    def _pairs_of_none(self) -> pl.DataFrame:
        return pl.DataFrame(schema={"row": pl.Int64, "concept": pl.UInt32, "score": pl.Float32, "draw": pl.UInt64})

    def _of_column(self, rows: Rows, places: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        scores = pl.Series(rows[self.best]).cast(pl.Float32).to_numpy()[places]
        return scores, np.isfinite(scores)

    def _cosines(self, rows: Rows, places: np.ndarray, concepts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        prompts = self._unit if self._unit is not None else self._read()
        if len(concepts) and (highest := int(concepts.max())) >= len(prompts):
            raise CurateError(
                f"balance.concepts: '{self.by}' names concept {highest}, and '{self.prompts}' has prompts of "
                f"0 to {len(prompts) - 1}: a row for each concept of the list"
            )
        vectors = read_vectors(rows[self.vectors], self.vectors, prompts.shape[1])
        scores = np.zeros(len(places), np.float32)
        for first in range(0, len(places), AT_ONCE):
            some = slice(first, first + AT_ONCE)
            scores[some] = (vectors.unit[places[some]] * prompts[concepts[some]]).sum(axis=1)
        return scores, vectors.good[places] & (scores >= np.float32(self.least))

    # ---- judging ----

    def batch(self, rows: Rows, fitted: Any) -> Mapping[str, Any]:
        pairs = self._pairs(rows).join(fitted.last(), on="concept")
        before = (pl.col("score") > pl.col("last_score")) | (
            (pl.col("score") == pl.col("last_score")) & (pl.col("draw") <= pl.col("last_draw"))
        )
        chosen = pairs.filter(before).sort("row", "concept")
        counts = np.bincount(chosen["row"].to_numpy(), minlength=len(rows))
        offsets = pa.array(np.concatenate([[0], np.cumsum(counts)]).astype(np.int32))
        concepts = pa.ListArray.from_arrays(offsets, chosen["concept"].to_arrow())
        return {f"{self.table()}_keep": pa.array(counts > 0), f"{self.table()}_of": concepts}

    def report(self, fitted: Any, made_by: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
        sizes = fitted.pairs.group_by("concept").len()["len"]
        few = int((sizes < self.k).sum())
        return {"k": self.k, "concepts": len(sizes), "concepts_below_k": few, "chosen": int(sizes.sum())}


@dataclass(frozen=True)
class Best:
    """The k first pairs of each concept, by score, then by draw. Adds up in any order."""

    pairs: pl.DataFrame
    k: int

    @classmethod
    def of(cls, pairs: pl.DataFrame, k: int) -> Best:
        ordered = pairs.select("concept", "score", "draw").sort(
            "concept", "score", "draw", descending=[False, True, False]
        )
        return cls(ordered.filter(pl.int_range(pl.len()).over("concept") < k), k)

    def __add__(self, other: Best) -> Best:
        return Best.of(pl.concat([self.pairs, other.pairs]), self.k)

    def last(self) -> pl.DataFrame:
        """Of each concept the score and the draw of the last pair that is chosen."""
        last = self.pairs.group_by("concept", maintain_order=True).last()
        return last.rename({"score": "last_score", "draw": "last_draw"})
