"""Rows near an evaluation set: by embeddings or hashes of its images, in a file, a folder of them, or stores."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
import polars as pl
import pyarrow as pa
from pydantic import Field, PrivateAttr, model_validator

from curate.alike import evaluation_set
from curate.alike.against_old import AgainstOld, OldStore, is_store, old_stores
from curate.alike.hamming import nearest_hash
from curate.alike.vector_pairs import nearest
from curate.alike.wide_hamming import BITS as WIDE
from curate.alike.wide_hamming import nearest_wide
from curate.arrays.vectors import read_vectors
from curate.catalog import load
from curate.errors import CurateError, unknown
from curate.library.names import in_sql
from curate.library.op_names import op_name
from curate.models.made_by import refuse_another_maker, refuse_older
from curate.op import Rows, Score

#: Endings of files that hold a set.
FILES = (".npy", ".parquet")
#: Evaluation images in the report, those with the most rows near them.
MOST_MET = 1000


class Decontaminate(AgainstOld, Score):
    """`near_eval` says whether the row is near an image of the evaluation set; `eval_match` which one is nearest, by
    name or by number in the file, if it is near; `eval_closeness` the cosine, or the bits between the two hashes.

    by: the column to compare: embeddings (`clip_img`), or hashes of 64 or 256 bits (`phash`, `pdq`).
    against: the evaluation set: a .npy or a .parquet of embeddings of the same model or hashes of the same kind, or a
        folder of its images. A .npy is float[n, d], uint64[n] or uint8[n, 32]; a .parquet has them in the column
        `column` (by default that of `by`). Or one or several stores: of an evaluation set, or of rows that are held
        out; those that are in at the end of their last run are the set. `eval_store` then names the store of the row
        that `eval_match` names by its uid. What made the two columns is compared; nothing is written there.
    names: a column of the .parquet, or of the stores, that names its rows.
    made_by: the op that makes `column` of the images of a folder, as it made `by`: `{score.clip: {model: ...}}`. Hashes
        need none. Every worker does it, so let a model do a large set once, into a .parquet. With a file, it says what
        the file was made by. Where `by` is of another model, the op refuses.
    threshold: near is a cosine of this or more. No default fits two models: DINOv2 takes .45 of SSCD, ISC .604.
    radius: near is so many bits or fewer, for hashes. COYO takes 0, that is equal ones.

    The content of the files, or the state of the stores, is part of the table's identity. Time grows with rows times
    evaluation images. Its report (`curate show`) says how many rows are near, and which evaluation images they are near
    to. To drop whole groups of near rows too, as DINOv2 does, see `spread` of dedupe.semantic.
    """

    cite: ClassVar[str] = "Oquab et al., DINOv2, 2023; Byeon et al., COYO-700M, 2022"
    batch_size: int = 4096
    by: str
    against: tuple[str, ...]
    column: str = ""
    names: str = ""
    made_by: str | dict[str, Any] = ""
    threshold: float | None = Field(None, gt=-1, le=1)
    radius: int | None = Field(None, ge=0, le=WIDE)

    _set: evaluation_set.Set | None = PrivateAttr(None)
    _digest: str = PrivateAttr("")
    _of_stores: bool | None = PrivateAttr(None)
    _stores: tuple[OldStore, ...] = PrivateAttr(())

    @model_validator(mode="after")
    def _one_or_stores(self) -> Decontaminate:
        if not self.against:
            raise ValueError("against: name an evaluation set")
        if len(self.against) > 1 and (other := [name for name in self.against if not is_store(name)]):
            raise ValueError(
                f"against: '{other[0]}' is no store: several are stores; a file or a folder takes an op of its own, "
                "with another `name`"
            )
        return self

    def _file(self) -> str:
        """The file or folder; empty where the set is that of stores."""
        if self._of_stores is None:
            name = self.against[0]
            self._of_stores = len(self.against) > 1 or (not name.endswith(FILES) and is_store(name))
        return "" if self._of_stores else self.against[0]

    def old_names(self) -> tuple[str, ...]:
        return () if self._file() else self.against

    def spec(self) -> dict[str, Any]:
        spec = super().spec()
        if self._file():
            spec["options"]["against"] = self._file()
        return spec

    def table(self) -> str:
        return self.name or "near_eval"

    def packages(self) -> tuple[str, ...]:
        return ("numba", *(("cv2", *self._maker().packages()) if self._is_folder() else ()))

    def _is_folder(self) -> bool:
        """Whether the set is a folder of images."""
        return bool(self._file()) and not self._file().endswith(FILES)

    def makes(self) -> dict[str, pa.DataType]:
        kinds = {"near_eval": pa.bool_(), "eval_match": pa.string(), "eval_closeness": pa.float32()}
        if self.old_names():
            kinds["eval_store"] = pa.string()
        return {(name if not self.name else f"{self.name}_{name}"): kind for name, kind in kinds.items()}

    def reads(self) -> tuple[str, ...]:
        return (self.by,)

    def decision(self) -> dict[str, Any]:
        near, *_ = self.makes()
        reason = "near an image of an old store" if self.old_names() else "near an image of the evaluation set"
        return {"keep": [{"if": f"{in_sql(near)} IS NOT TRUE", "else": reason}]}

    def check(self) -> None:
        if (self.threshold is None) == (self.radius is None):
            raise CurateError("dedupe.decontaminate: give `threshold` for embeddings, or `radius` for hashes")
        if self.old_names():
            if self.made_by:
                raise CurateError(
                    "dedupe.decontaminate: `made_by` goes with a file or a folder: a store says it itself"
                )
            old_stores(self)
            return
        if self._is_folder():
            evaluation_set.files_of(self._file())
            self._maker()
            return
        self._read()

    def check_reads(self, made_by: Mapping[str, Mapping[str, Any]]) -> None:
        refuse_older(self, made_by)
        super().check_reads(made_by)
        if self.old_names() or not (self.made_by or self._is_folder()):
            return
        refuse_another_maker(self, self.by, made_by, self._file(), self._maker())

    def fault_of(self, old: OldStore, column: str, ours: Mapping[str, Any]) -> str:
        return old.fault(self._column(), ours) or (old.fault(self._names(), {}) if self.names else "")

    def _names(self) -> str:
        """The column of stores that names their rows."""
        return self.names or "uid"

    def summary(self, table: pl.LazyFrame) -> dict[str, Any]:
        near, match, closeness, *store = self.makes()
        compared, images = pl.col(near).is_not_null(), dict(zip(("evaluation", "store"), (match, *store), strict=False))
        named = [pl.col(column).alias(name) for name, column in images.items()]
        met = table.filter(near).group_by(named).agg(rows=pl.len(), closest=_best(closeness, self.radius))
        totals = table.select(compared.sum().alias("rows_compared"), pl.col(near).sum().alias("rows_near"))
        per_image = met.sort("rows", *images, descending=[True, *[False] * len(images)]).collect()
        return {
            **totals.collect().row(0, named=True),
            "evaluation_images": len(self._read().names),
            "evaluation_images_met": len(per_image),
            "met": per_image.head(MOST_MET).to_dicts(),
        }

    def weights(self) -> str:
        if self.old_names():
            # A store may have changed since; workers, which do not run where the user does, get those that are opened.
            self._stores = old_stores(self)
            digest = "+".join(old.identity((self._column(), self._names())) for old in self._stores)
            self._set, self._digest = self._set if digest == self._digest else None, digest
        elif not self._digest:
            self._digest = evaluation_set.digest(self._file())
            if self._is_folder():
                spec = json.dumps(self._maker().spec(), sort_keys=True).encode()
                self._digest += f"@{hashlib.sha256(spec).hexdigest()[:12]}"
        return self._digest

    def setup(self) -> None:
        self._read()

    def _maker(self) -> Score:
        """The op for a folder."""
        known = {"pdq": "score.pdq"} | {kind: {"score.phash": {"kind": kind}} for kind in ("phash", "dhash", "ahash")}
        spec = self.made_by or known.get(self.by)
        if not spec:
            raise CurateError(
                f"dedupe.decontaminate: '{self._file()}' is a folder: say what makes '{self.by}' of its images, as in "
                "made_by: {score.clip: {model: ViT-L-14/openai}}"
            )
        op = load(spec)
        if not isinstance(op, Score) or self._column() not in op.makes():
            raise unknown("column", self._column(), sorted(op.makes()), f"what made_by {op_name(type(op))} makes")
        return op

    def _column(self) -> str:
        return self.column or self.by

    def _read(self) -> evaluation_set.Set:
        """The evaluation set, and a name for each of its images."""
        if self._set is None:
            vectors = self.threshold is not None
            if not self._file():
                stores = self._stores or old_stores(self)
                self._set = evaluation_set.from_stores(stores, vectors, self._column(), self._names())
            elif self._file().endswith(".npy"):
                self._set = evaluation_set.from_npy(self._file(), vectors)
            elif self._file().endswith(".parquet"):
                self._set = evaluation_set.from_parquet(self._file(), vectors, self._column(), self.names)
            else:
                self._set = evaluation_set.from_folder(self._file(), vectors, self._column(), self._maker())
            if not len(self._set.values):
                raise CurateError(f"dedupe.decontaminate: '{', '.join(self.against)}' is empty")
        return self._set

    def batch(self, rows: Rows) -> Mapping[str, Any]:
        others, names, stores = self._read()
        status = np.full(len(rows), "ok", object)
        if self.radius is None:
            vectors = read_vectors(rows[self.by], self.by, others.shape[1])
            status = vectors.status
            closeness, place = nearest(vectors.unit, others)
            near = (closeness >= self.threshold) & vectors.good
        else:
            hashes = evaluation_set.numbers(rows[self.by], self.by, False)
            if hashes.ndim != others.ndim:
                raise CurateError(f"column '{self.by}' and '{', '.join(self.against)}': hashes of 64 bits and of 256")
            closeness, place = (nearest_hash if hashes.ndim == 1 else nearest_wide)(hashes, others)
            near = closeness <= self.radius
        matches = [
            [texts[i] if is_near else None for i, is_near in zip(place.tolist(), near.tolist(), strict=True)]
            for texts in (names, *([stores] if stores else []))
        ]
        bad = status != "ok"
        values = (pa.array(near, mask=bad), matches[0], pa.array(closeness.astype(np.float32), mask=bad), *matches[1:])
        return {**dict(zip(self.makes(), values, strict=True)), "status": status}


def _best(closeness: str, radius: int | None) -> pl.Expr:
    return pl.col(closeness).max() if radius is None else pl.col(closeness).min()
