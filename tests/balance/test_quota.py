"""balance.quota: shares of a number of rows, filled by the lowest hashes of each source."""

from __future__ import annotations

import random
from collections import Counter
from fractions import Fraction
from typing import Any

import pyarrow as pa
import pytest
import xxhash
from by_hand import learned, made, rows_with
from conftest import HERE, MakeStore, column

from curate.annotate.step import annotate
from curate.arrays.string_hash import hash_pairs, hash_strings
from curate.balance import quota as module
from curate.balance.quota import filled, quotas_of
from curate.catalog import load
from curate.errors import CurateError
from curate.filter.rule import Filter
from curate.filter.step import select

pytestmark = pytest.mark.slow


def columns(**sizes: int) -> dict[str, pa.Array]:
    sources = [name for name, size in sizes.items() for _ in range(size)]
    uids = [xxhash.xxh3_128_hexdigest(f"{i}".encode()) for i in range(len(sources))]
    return {"source": pa.array([None if s == "none" else s for s in sources]), "uid": pa.array(uids)}


def kept(sizes: dict[str, int], **options: Any) -> Counter[str]:
    op, rows = load({"balance.quota": options}), columns(**sizes)
    keep = made(op, rows)["quota_keep"]
    sources = [name for name in rows["source"].to_pylist() if name is not None]
    return Counter(name for name, stays in zip(sources, keep, strict=True) if stays)


def test_shares_of_rows() -> None:
    assert kept({"a": 50, "b": 50}, shares={"a": 0.7, "b": 0.3}, rows=20) == {"a": 14, "b": 6}
    # 3.5 and 1.5: both rounded down, and the one that is lacking goes to the first name.
    assert kept({"a": 50, "b": 50, "none": 9}, shares={"b": 0.3, "a": 0.7}, rows=5) == {"a": 4, "b": 1}


def test_square_roots_of_the_sizes() -> None:
    sizes = {"a": 100, "b": 400, "c": 900}
    assert kept(sizes, shares="sqrt", rows=60) == {"a": 10, "b": 20, "c": 30}
    assert kept(sizes, shares="equal", rows=60) == {"a": 20, "b": 20, "c": 20}


def test_a_short_source_gives_what_it_has() -> None:
    sizes = {"a": 2, "b": 90, "c": 90, "d": 9}
    options: dict[str, Any] = {"shares": {"a": 0.5, "b": 0.25, "c": 0.25}, "rows": 12}
    assert kept(sizes, **options) == {"a": 2, "b": 3, "c": 3}
    assert kept(sizes, **options, fill=True) == {"a": 2, "b": 5, "c": 5}
    op = load({"balance.quota": options})
    report = op.report(learned(op, [rows_with(op, columns(**sizes))]), {})
    assert report["kept"] == 8 and report["sources"][0] == {"source": "a", "rows": 2, "quota": 6, "kept": 2}
    assert {kind: entry["rows"] for kind, entry in report["remarks"].items()} == {
        "of a source without a share": 9,
        "rows fewer in a source than its quota": 4,
        "rows fewer than asked for in all": 4,
    }


def test_a_larger_quota_only_adds_rows() -> None:
    rows = columns(a=300, b=40)
    few, many = (
        made(load({"balance.quota": {"shares": {"a": 0.8, "b": 0.2}, "rows": n}}), rows)["quota_keep"]
        for n in (50, 100)
    )
    assert sum(few) == 50 and sum(many) == 100
    assert all(more for less, more in zip(few, many, strict=True) if less)
    other = made(load({"balance.quota": {"shares": {"a": 0.8, "b": 0.2}, "rows": 50, "seed": 1}}), rows)["quota_keep"]
    assert sum(other) == 50 and other != few


@pytest.mark.parametrize(
    ("options", "fault"),
    [
        ({"shares": {"a": 0.7, "b": 0.2}, "rows": 5}, r"shares add up to 0.9, expected 1"),
        ({"shares": {"a": 1.7, "b": -0.7}, "rows": 5}, r"the share of 'a' is 1.7"),
        ({"shares": {"a": 1}, "rows": 0}, "rows"),
        ({"shares": "root", "rows": 5}, "shares"),
    ],
)
def test_faults_at_load(options: dict[str, Any], fault: str) -> None:
    with pytest.raises(CurateError, match=fault):
        load({"balance.quota": options})


def test_faults_of_a_pool() -> None:
    with pytest.raises(CurateError, match=r"20 rows asked for, the pool has 9 with a source"):
        kept({"a": 9, "none": 90}, shares={"a": 1}, rows=20)
    with pytest.raises(CurateError, match=r"the pool: no source 'webb' \(did you mean 'web'"):
        kept({"web": 9}, shares={"webb": 1}, rows=2)
    with pytest.raises(CurateError, match="no row has a value in 'source'"):
        kept({"none": 9}, shares={"web": 1}, rows=2)


def test_a_column_of_other_things_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_SOURCES", 3)
    op = load({"balance.quota": {"shares": "equal", "rows": 2}})
    with pytest.raises(CurateError, match="over 3 sources"):
        learned(op, [rows_with(op, columns(a=1, b=1)), rows_with(op, columns(c=1, d=1))])


def test_quotas_add_up_exactly() -> None:
    draw = random.Random(3)
    for _ in range(200):
        weights = [draw.randint(0, 9) for _ in range(5)] + [1]
        shares = {f"s{i}": Fraction(w, sum(weights)) for i, w in enumerate(weights)}
        rows = draw.randint(1, 99)
        quotas = quotas_of(shares, rows)
        assert sum(quotas.values()) == rows
        assert all(abs(quotas[name] - rows * share) < 1 for name, share in shares.items())
        sizes = {name: draw.randint(0, 60) for name in shares}
        most = sum(size for name, size in sizes.items() if shares[name])
        parts = filled(shares, sizes, rows)
        assert sum(parts.values()) == min(rows, most) and all(parts[name] <= sizes[name] for name in parts)


def test_through_a_store_against_a_sort_of_all_rows(make_store: MakeStore) -> None:
    draw = random.Random(4)
    rows = [
        {"uid": f"{draw.getrandbits(128):032x}", "source": draw.choice(["a", "a", "b", "c", None])} for _ in range(500)
    ]
    op = load({"balance.quota": {"shares": {"a": 0.5, "b": 0.5}, "rows": 80, "seed": 7}})
    for per_shard in (23, 500):
        view = annotate(make_store(rows, per_shard), [op], HERE)
        keep = column(view, "quota_keep")
        for source, quota in (("a", 40), ("b", 40), ("c", 0)):
            uids = [row["uid"] for row in rows if row["source"] == source]
            hashes = hash_strings(uids)
            order = sorted(zip(hash_pairs(hashes, hashes * 0, 7).tolist(), uids, strict=True))
            first = {uid for _, uid in order[:quota]}
            assert [keep[i] for i, r in enumerate(rows) if r["source"] == source] == [uid in first for uid in uids]
        assert all(keep[i] is None for i, row in enumerate(rows) if row["source"] is None)
        _, counts = select(view, Filter(name="quota", **op.decision()))
        assert counts["kept"] == 80
