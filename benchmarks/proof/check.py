"""Groups against brute force: all rows of the store are compared with a sample, by no kernel that the op uses.

dedupe.perceptual, dedupe.minhash: the group of a sampled row is made anew, row by row: all rows of the store that are
linked to it, then all that are linked to these, until there are no more. The op must have said the same of each of
them: the uid of the row that stays, and how many they are. A link of dedupe.minhash is a Jaccard similarity of the
threshold or more and one band of datasketch's signatures that is equal; pairs that are alike and share no band, which
it does not promise to find, are counted.

dedupe.semantic: the greatest cosine of a sampled row with all rows before it in its cluster, and which row that is.
Pairs over 1 - eps that lie in two clusters, which it does not promise to find, are counted.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from typing import Any

import numpy as np
import polars as pl
from datasketch import MinHash as Signature
from rows import COLUMN, WIDTH

from curate.catalog import load
from curate.store.store import Store
from curate.store.view import View

#: Letters of a shingle.
K = 5
#: Cosines of the same two vectors, added up in another order, differ by less.
CLOSE_ENOUGH = 1e-5


def check(store: Store, kind: str, spec: dict[str, Any], sample: int, rows_per_shard: int) -> dict[str, Any]:
    """What was compared and whether it is equal: `equal` of `sampled`."""
    view = View.of(store)
    rows = sum(store.shard_rows().values())
    drawn = _drawn(view, rows, sample, rows_per_shard)
    if kind == "semantic":
        return _semantic(view, drawn, load(spec), rows_per_shard)
    return _groups(view, kind, drawn, load(spec), rows_per_shard)


def _drawn(view: View, rows: int, sample: int, rows_per_shard: int) -> np.ndarray:
    """Numbers of rows: of 16 shards drawn by chance half planted copies, half any rows."""
    rng = np.random.default_rng(3)
    shards = rng.choice(len(view.store.shard_rows()), min(16, len(view.store.shard_rows())), replace=False)
    drawn: list[int] = []
    for shard in shards.tolist():
        source = view.read(shard, ["source"])["source"].to_numpy()
        share = -(-sample // len(shards) // 2)
        copies = rng.choice(np.flatnonzero(source >= 0), share, replace=False)
        drawn += (shard * rows_per_shard + np.append(copies, rng.choice(len(source), share, replace=False))).tolist()
    return np.unique(drawn)


def _shards(view: View, columns: list[str], rows_per_shard: int) -> Iterator[tuple[int, pl.DataFrame]]:
    """(number of the first row, the columns) of every shard."""
    for shard in view.store.shard_rows():
        yield shard * rows_per_shard, view.frame(shard, columns)


def _rows(view: View, numbers: np.ndarray, columns: list[str], rows_per_shard: int) -> pl.DataFrame:
    """The columns of some rows, in the order of `numbers`, which are sorted."""
    shards, places = np.divmod(numbers, rows_per_shard)
    return pl.concat([view.frame(int(s), columns)[places[shards == s]] for s in np.unique(shards)])


# ---- groups ----


def _groups(view: View, kind: str, drawn: np.ndarray, op: Any, rows_per_shard: int) -> dict[str, Any]:
    column, (of, size, *_) = COLUMN[kind], op.makes()
    near = Hashes(op) if kind == "perceptual" else Captions(view, op)
    parent = {int(row): int(row) for row in drawn}

    def root(row: int) -> int:
        while parent[row] != row:
            row = parent[row]
        return row

    frontier, scans = drawn, 0
    while len(frontier):
        scans += 1
        near.look_for(_rows(view, frontier, [column], rows_per_shard)[column])
        fresh: set[int] = set()
        for first, frame in _shards(view, [column], rows_per_shard):
            for which, place in near.among(frame[column]):
                row, other = first + place, int(frontier[which])
                if row not in parent:
                    parent[row] = row
                    fresh.add(row)
                a, b = root(row), root(other)
                parent[max(a, b)] = min(a, b)
        frontier = np.array(sorted(fresh), np.int64)
    numbers = np.array(sorted(parent), np.int64)
    groups = np.array([root(int(row)) for row in numbers])
    said = _rows(view, numbers, ["uid", of, size], rows_per_shard).with_columns(group=pl.Series(groups))
    stays = pl.col("uid").min().over("group")
    expected = pl.when(pl.col("uid") == stays).then(None).otherwise(stays)
    right = pl.col(of).eq_missing(expected) & (pl.col(size) == pl.len().over("group"))
    by_group = said.group_by("group").agg(right.all().alias("right"), pl.len().alias("rows"))
    return {
        "sampled": len(drawn),
        "scans of all rows": scans,
        "groups": len(by_group),
        "groups of two rows or more": by_group.filter(pl.col("rows") > 1).height,
        "rows in them": int(by_group.filter(pl.col("rows") > 1)["rows"].sum()),
        "groups equal": int(by_group["right"].sum()),
        "groups not equal, first": by_group.filter(~pl.col("right"))["group"].head(3).to_list(),
        **near.more(),
    }


class Hashes:
    """Bits counted between every hash and those looked for."""

    def __init__(self, op: Any):
        self.radius = op.radius

    def look_for(self, hashes: pl.Series) -> None:
        self.theirs = hashes.to_numpy()

    def among(self, hashes: pl.Series) -> Iterator[tuple[int, int]]:
        ours = hashes.to_numpy()
        for start in range(0, len(self.theirs), 256):
            bits = np.bitwise_count(self.theirs[start : start + 256, None] ^ ours[None, :])
            which, places = np.nonzero(bits <= self.radius)
            yield from zip((which + start).tolist(), places.tolist(), strict=True)

    def more(self) -> dict[str, Any]:
        return {}


class Captions:
    """Sets of shingles compared. Of any pieces of a caption that are more than may be missing, one that is as alike as
    the threshold has one: so only those with one of its rarest are looked at."""

    def __init__(self, view: View, op: Any):
        self.op, self.threshold = op, op.threshold
        self.common: dict[str, int] = defaultdict(int)
        for text in view.frame(0, ["text"])["text"].head(5_000):
            for piece in cut(text):
                self.common[piece] += 1
        self.alike = self.unpromised = 0

    def look_for(self, texts: pl.Series) -> None:
        self.theirs = [cut(text) for text in texts]
        self.signed = [self._bands(text) for text in texts]
        self.having: dict[str, list[int]] = defaultdict(list)
        for number, pieces in enumerate(self.theirs):
            most_missing = int((1 - self.threshold) * len(pieces) + 1e-9)
            for piece in sorted(pieces, key=lambda piece: (self.common.get(piece, 0), piece))[: most_missing + 1]:
                self.having[piece].append(number)

    def among(self, texts: pl.Series) -> Iterator[tuple[int, int]]:
        places = np.flatnonzero(texts.str.contains_any(list(self.having)).to_numpy())
        for place, text in zip(places.tolist(), texts.gather(pl.Series(places)).to_list(), strict=True):
            pieces = cut(text)
            for number in {number for piece in pieces for number in self.having.get(piece, ())}:
                both = len(pieces & self.theirs[number])
                if both < self.threshold * (len(pieces) + len(self.theirs[number]) - both):
                    continue
                self.alike += 1
                if self.signed[number] & self._bands(text):
                    yield number, place
                else:
                    self.unpromised += 1

    def _bands(self, text: str) -> set[tuple[int, ...]]:
        signature = Signature(num_perm=self.op.num_perm, seed=self.op.seed, scheme="legacy")
        signature.update_batch([piece.encode() for piece in cut(text)])
        bands, rows = self.op.shape()
        values = signature.hashvalues[: bands * rows].reshape(bands, rows)
        return {(band, *value) for band, value in enumerate(values.tolist())}

    def more(self) -> dict[str, Any]:
        return {"pairs alike, each row with itself": self.alike, "of them without an equal band": self.unpromised}


def cut(text: str) -> set[str]:
    return {text[i : i + K] for i in range(max(1, len(text) - K + 1))}


# ---- cosines ----


def _semantic(view: View, drawn: np.ndarray, op: Any, rows_per_shard: int) -> dict[str, Any]:
    columns = ["uid", "v", "v_cluster", "v_cluster_cos"]
    of, greatest, *_ = op.makes()
    sampled = _rows(view, drawn, [*columns, of, greatest], rows_per_shard)
    theirs = _unit(sampled["v"])
    cluster, cos, uid = (sampled[name].to_numpy() for name in ("v_cluster", "v_cluster_cos", "uid"))
    best, place = np.zeros(len(drawn), np.float32), np.full(len(drawn), "", object)
    near = apart = 0
    said: dict[tuple[int, str], float] = {}
    asked = set(sampled[of].drop_nulls())
    for first, frame in _shards(view, columns, rows_per_shard):
        cosines = theirs @ _unit(frame["v"]).T
        ours, uids = frame["v_cluster_cos"].to_numpy(), frame["uid"].to_numpy()
        same = cluster[:, None] == frame["v_cluster"].to_numpy()[None, :]
        other = drawn[:, None] != first + np.arange(len(frame))[None, :]
        close = (cosines > 1 - op.eps) & other
        near, apart = near + int(close.sum()), apart + int((close & ~same).sum())
        for number in np.flatnonzero(same.any(axis=1)).tolist():
            places = np.flatnonzero(same[number] & other[number])
            before = (ours[places] < cos[number]) | ((ours[places] == cos[number]) & (uids[places] < uid[number]))
            places = places[before]
            for at in places[np.isin(uids[places], list(asked))].tolist():
                said[number, uids[at]] = float(cosines[number, at])
            if len(places) and cosines[number, places].max() > best[number]:
                at = places[cosines[number, places].argmax()]
                best[number], place[number] = cosines[number, at], uids[at]
    maxes, ofs = sampled[greatest].to_numpy(), sampled[of].to_list()
    wrong = {n for n in range(len(drawn)) if abs(maxes[n] - best[n]) > CLOSE_ENOUGH}
    for n, named in enumerate(ofs):
        # Of two rows as near either may be named.
        right = named == place[n] or abs(said.get((n, named), -1) - best[n]) < CLOSE_ENOUGH
        if (named is not None) != bool(maxes[n] > 1 - op.eps) or (named is not None and not right):
            wrong.add(n)
    return {
        "sampled": len(drawn),
        "of them with a row over 1 - eps before them": int((best > 1 - op.eps).sum()),
        "equal": len(drawn) - len(wrong),
        "not equal, first": drawn[sorted(wrong)[:3]].tolist(),
        "pairs over 1 - eps in the whole store": near,
        "of them in two clusters": apart,
    }


def _unit(column: pl.Series) -> np.ndarray:
    flat = column.explode().to_numpy().astype(np.float32).reshape(-1, WIDTH)
    return flat / np.linalg.norm(flat, axis=1, keepdims=True)  # type: ignore[no-any-return]
