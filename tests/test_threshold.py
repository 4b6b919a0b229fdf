"""Where `top` cuts, against sorting all scores."""

from __future__ import annotations

import math
from collections import Counter

import numpy as np
import polars as pl
import pytest
from conftest import column, ledger
from hypothesis import example, given, settings
from hypothesis import strategies as st

from curate import threshold
from curate.errors import CurateError
from curate.filter import Filter, Threshold, Top
from curate.select import select
from curate.threshold import find_threshold, sortable

SCORES = st.one_of(
    st.sampled_from([0.0, -0.0, 0.5, -0.5, 1e-45, -1e-45, 3.4e38, -3.4e38, 0.1]),
    st.floats(width=32, allow_nan=False, allow_infinity=False),
).map(lambda value: float(np.float32(value)))


@st.composite
def shards_of_scores(draw):
    """Shards of (score, uid): many ties, some uids twice."""
    values = draw(st.lists(SCORES, max_size=40))
    letters = st.text("0a", max_size=3) if draw(st.booleans()) else st.text("0123456789abcdef", min_size=6, max_size=6)
    rows = [(value, draw(letters)) for value in values]
    cuts = sorted(draw(st.lists(st.integers(0, len(rows)), max_size=3)))
    return [rows[a:b] for a, b in zip([0, *cuts], [*cuts, len(rows)], strict=True)]


def stream(shards):
    def scores(with_uids):
        for rows in shards:
            yield np.array([v for v, _ in rows], np.float32), [u for _, u in rows] if with_uids else None

    return scores


def kept(shards, cut: Threshold) -> list[tuple[float, str]]:
    rows = [row for shard in shards for row in shard]
    frame = pl.DataFrame({"s": [v for v, _ in rows], "uid": [u for _, u in rows]}, schema={"s": pl.Float32, "uid": str})
    return frame.filter(cut.keeps("s")).rows()


def oracle(shards, top: Top) -> list[tuple[float, str]]:
    """Sort everything. Rows that share score and uid with the last one kept cannot be told apart: they stay."""
    rows = sorted([row for shard in shards for row in shard], key=lambda row: (-row[0], row[1]))
    count = top.wanted(len(rows))
    if top.ties == "datacomp":
        if not rows:
            return []
        line = rows[min(count, len(rows) - 1)][0]
        return [row for row in rows if row[0] >= line]
    if not count:
        return []
    last = rows[count - 1]
    return rows[:count] + [row for row in rows[count:] if row == last]


@settings(max_examples=300, deadline=None)
@given(
    shards_of_scores(),
    st.one_of(st.floats(1e-6, 1).map(lambda f: {"fraction": f}), st.integers(1, 60).map(lambda n: {"rows": n})),
    st.sampled_from(["exact", "datacomp"]),
    st.sampled_from([1, 2, 1 << 20]),
)
@example([[(0.0, "b"), (-0.0, "a")], [(0.0, "a")]], {"rows": 1}, "exact", 1 << 20)
def test_as_sorting_all_of_them(shards, size, ties, in_memory):
    top = Top(by="s", ties=ties, **size)
    with pytest.MonkeyPatch.context() as patch:
        # Ties are resolved by the uids' first characters when there are many of them.
        patch.setattr(threshold, "TIES_IN_MEMORY", in_memory)
        cut = find_threshold(stream(shards), top.wanted, ties)
    expected = oracle(shards, top)
    assert Counter(kept(shards, cut)) == Counter(expected)
    assert cut.rows == len(expected)


@given(shards_of_scores(), st.integers(1, 60), st.integers(1, 7))
@settings(max_examples=100, deadline=None)
def test_the_cut_does_not_depend_on_the_shards(shards, rows, size):
    together = [row for shard in shards for row in shard]
    cut = find_threshold(stream(shards), Top(by="s", rows=rows).wanted, "exact")
    others = [together[i : i + size] for i in range(0, len(together), size)]
    assert find_threshold(stream(others), Top(by="s", rows=rows).wanted, "exact") == cut


@given(st.lists(SCORES, min_size=2))
def test_sortable_keeps_the_order(values):
    values = np.array(values, np.float32)
    keys = sortable(values).astype(np.int64)
    assert (
        np.sign(np.subtract.outer(keys, keys)) == np.sign(np.subtract.outer(values.astype(float), values.astype(float)))
    ).all()


@pytest.mark.parametrize(("ties", "rows"), [("datacomp", 4), ("exact", 3)])
def test_the_published_example(ties, rows):
    """0.0, 0.1 ... 0.9 and f = 0.3: DataComp's threshold is sorted[3] = 0.6 and keeps 4; exact keeps 3."""
    shards = [[(i / 10, f"{i}") for i in range(10)]]
    cut = find_threshold(stream(shards), Top(by="s", fraction=0.3).wanted, ties)
    assert len(kept(shards, cut)) == rows
    assert min(kept(shards, cut))[0] == pytest.approx(0.6 if rows == 4 else 0.7)


def test_a_million_equal_scores(monkeypatch):
    """Ties are cut at the right uid without holding them all."""
    monkeypatch.setattr(threshold, "TIES_IN_MEMORY", 1000)
    rng = np.random.default_rng(0)
    uids = [bytes(row).hex() for row in rng.integers(0, 256, (200_000, 16), np.uint8)]
    shards = [[(1.0, uid) for uid in uids[i : i + 50_000]] for i in range(0, len(uids), 50_000)]
    cut = find_threshold(stream(shards), lambda n: 123_456, "exact")
    assert cut.uid == sorted(uids)[123_455]
    assert cut.rows == 123_456


# ---- through a store ----


def top_of(make_store, values, per_shard=4, **options):
    rows = [{"uid": f"{i:032x}", "s": value} for i, value in enumerate(values)]
    view = make_store(rows, per_shard)
    after, _ = select(view, Filter(name="top", top=Top(by="s", **options)))
    return [int(uid, 16) for uid in ledger(after).filter("kept")["uid"]]


def test_exact_keeps_exactly_n_whatever_the_shards(make_store):
    values = [0.5, 0.9, 0.5, 0.5, 0.1, 0.5, 0.9, None, 0.5, -0.2]
    for per_shard in (1, 3, 100):
        assert top_of(make_store, values, per_shard, rows=4) == [0, 1, 2, 6]


def test_what_is_no_score_is_neither_counted_nor_kept(make_store):
    """Null, NaN, both infinities, and what only float32 makes infinite."""
    values = [None, math.nan, math.inf, -math.inf, 1e300, -1e300, 0.1, 0.2, 0.3, 0.4]
    assert top_of(make_store, values, fraction=0.5) == [8, 9]
    assert top_of(make_store, values, fraction=0.5, ties="datacomp") == [7, 8, 9]
    assert top_of(make_store, values, fraction=1) == [6, 7, 8, 9]
    assert top_of(make_store, values, rows=100) == [6, 7, 8, 9]


def test_tiny_fractions(make_store):
    assert top_of(make_store, [0.1, 0.2, 0.3], fraction=1e-9) == []
    assert top_of(make_store, [0.1, 0.2, 0.3], fraction=1e-9, ties="datacomp") == [2]
    assert top_of(make_store, [None, math.nan], fraction=0.5) == []
    assert top_of(make_store, [None, math.nan], rows=5, ties="datacomp") == []


def test_integers_are_ranked_too(make_store):
    assert top_of(make_store, [3, 1, None, 2, 3], rows=3) == [0, 3, 4]


def test_words_cannot_be_ranked(make_store):
    with pytest.raises(CurateError, match="filter top: top ranks numbers, and 's' holds String"):
        top_of(make_store, ["a", "b"], rows=1)


def test_among_passing_or_entering(make_store):
    rows = [{"uid": f"{i:032x}", "s": i / 10, "lang": "en" if i % 2 else "de"} for i in range(10)]
    view = make_store(rows, 3)
    kept = {}
    for among in ("entering", "passing"):
        rule = Filter(name=among, where="lang = 'en'", top=Top(by="s", fraction=0.4, among=among))
        after, counts = select(view, rule)
        kept[among] = [int(u, 16) for u in ledger(after).filter("kept")["uid"]]
        assert counts["entered"] == 10
    assert kept == {"entering": [7, 9], "passing": [7, 9]}
    rule = Filter(name="passing", where="lang = 'en'", top=Top(by="s", rows=4, among="passing"))
    after, counts = select(view, rule)
    assert [int(u, 16) for u in ledger(after).filter("kept")["uid"]] == [3, 5, 7, 9]
    assert counts["dropped"] == {"fails: lang = 'en'": 5, "not in the top 4 rows by s": 1}


def test_rows_that_are_out_do_not_count(make_store):
    rows = [{"uid": f"{i:032x}", "s": i / 10} for i in range(10)]
    first, _ = select(make_store(rows, 3), Filter(name="a", where="s < 0.55"))
    after, counts = select(first, Filter(name="b", top=Top(by="s", fraction=0.5)))
    assert [int(u, 16) for u in ledger(after).filter("kept")["uid"]] == [3, 4, 5]
    assert counts == {"entered": 6, "kept": 3, "dropped": {"not in the top 0.5 of the rows by s": 3}}
    manifest = first.store.manifest()
    assert manifest["tables"][after.keep]["threshold"] == {"score": pytest.approx(0.3), "uid": None, "rows": 3}
    assert column(after, "s") == [i / 10 for i in range(10)]
