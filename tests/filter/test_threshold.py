"""Where `top` cuts, against sorting all scores."""

from __future__ import annotations

import math
import re

import numpy as np
import polars as pl
import pytest
from conftest import column, ledger
from hypothesis import example, given, settings
from hypothesis import strategies as st

from curate.errors import CurateError
from curate.filter import threshold
from curate.filter.passes import Ranked, sortable
from curate.filter.rule import Filter, load_filter
from curate.filter.step import select
from curate.filter.threshold import Threshold, find_threshold
from curate.filter.top import Top

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


def stream(shards, dtype=np.float32):
    """Passes over literal scores, the last shard first."""

    def summed(one, total):
        for number, rows in reversed(list(enumerate(shards))):
            values, uids = np.array([v for v, _ in rows], dtype), pl.Series([u for _, u in rows], dtype=pl.String)
            places = (uids, number, np.arange(len(rows))) if one.places else ()
            total += one.of(Ranked(values, *places))
        return total

    return summed


def kept(shards, cut: Threshold, dtype=pl.Float32) -> list[tuple[int, int]]:
    """(shard, row) of the rows that stay."""
    places = []
    for number, rows in enumerate(shards):
        columns = {"s": [v for v, _ in rows], "uid": [u for _, u in rows], "row": list(range(len(rows)))}
        frame = pl.DataFrame(columns, schema={"s": dtype, "uid": str, "row": int})
        places += [(number, row) for row in frame.filter(cut.keeps("s", number))["row"]]
    return places


def oracle(shards, top: Top) -> list[tuple[int, int]]:
    """Sort everything: by score, then uid, then place."""
    rows = [(-v, u, (number, row)) for number, shard in enumerate(shards) for row, (v, u) in enumerate(shard)]
    rows.sort()
    count = top.count(len(rows))
    if top.ties == "datacomp":
        return [row[2] for row in rows if row[0] <= rows[min(count, len(rows) - 1)][0]] if rows else []
    return [row[2] for row in rows[:count]]


@settings(max_examples=150, deadline=None, derandomize=True)
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
        patch.setattr(threshold, "IN_MEMORY", in_memory)
        cut = find_threshold(stream(shards), top.count, ties)
    expected = oracle(shards, top)
    assert kept(shards, cut) == sorted(expected)
    assert cut.rows == len(expected)


NUMBERS = {
    "int64": (np.int64, pl.Int64, st.integers(-(2**63), 2**63 - 1) | st.sampled_from([2**53, 2**53 + 1, -1, 0, 1])),
    "uint64": (np.uint64, pl.UInt64, st.integers(0, 2**64 - 1) | st.sampled_from([2**63, 2**63 + 1, 0, 1])),
    "float64": (
        np.float64,
        pl.Float64,
        st.floats(allow_nan=False, allow_infinity=False) | st.sampled_from([0.3, 0.1 + 0.2, 1e300, -0.0, 0.0]),
    ),
}


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.data(), st.sampled_from(sorted(NUMBERS)), st.sampled_from([1, 1 << 20]))
def test_numbers_of_64_bits_are_ranked_in_their_own_precision(data, kind, in_memory):
    numpy_type, polars_type, values = NUMBERS[kind]
    shards = data.draw(st.lists(st.lists(st.tuples(values, st.text("ab", max_size=1)), max_size=8), max_size=3))
    top = Top(by="s", rows=data.draw(st.integers(1, 12)), ties=data.draw(st.sampled_from(["exact", "datacomp"])))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(threshold, "IN_MEMORY", in_memory)
        cut = find_threshold(stream(shards, numpy_type), top.count, top.ties)
    assert kept(shards, cut, polars_type) == sorted(oracle(shards, top))


@given(shards_of_scores(), st.integers(1, 60), st.integers(1, 7))
@settings(max_examples=50, deadline=None, derandomize=True)
def test_the_cut_does_not_depend_on_the_shards(shards, rows, size):
    together = [row for shard in shards for row in shard]
    cut = find_threshold(stream([together]), Top(by="s", rows=rows).count, "exact")
    others = [together[i : i + size] for i in range(0, len(together), size)]
    cut_of_others = find_threshold(stream(others), Top(by="s", rows=rows).count, "exact")
    assert [shard * size + row for shard, row in kept(others, cut_of_others)] == [
        row for _, row in kept([together], cut)
    ]


@given(st.lists(SCORES, min_size=2))
def test_sortable_keeps_the_order(values):
    values = np.array(values, np.float32)
    keys = (sortable(values) >> np.uint64(32)).astype(np.int64)
    assert (
        np.sign(np.subtract.outer(keys, keys)) == np.sign(np.subtract.outer(values.astype(float), values.astype(float)))
    ).all()


@pytest.mark.parametrize(("ties", "rows"), [("datacomp", 4), ("exact", 3)])
def test_the_published_example(ties, rows):
    """0.0, 0.1 ... 0.9 and f = 0.3: DataComp's threshold is sorted[3] = 0.6 and keeps 4; exact keeps 3."""
    shards = [[(i / 10, f"{i}") for i in range(10)]]
    cut = find_threshold(stream(shards), Top(by="s", fraction=0.3).count, ties)
    assert len(kept(shards, cut)) == rows
    assert kept(shards, cut) == [(0, row) for row in range(10 - rows, 10)]


def test_a_million_equal_scores(monkeypatch):
    """Ties are cut at the right uid without holding them all."""
    monkeypatch.setattr(threshold, "IN_MEMORY", 1000)
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
    """Null, NaN, both infinities."""
    values = [None, math.nan, math.inf, -math.inf, 1e300, -1e300, 0.1, 0.2, 0.3, 0.4]
    assert top_of(make_store, values, fraction=0.5) == [4, 8, 9]
    assert top_of(make_store, values, fraction=0.5, ties="datacomp") == [4, 7, 8, 9]
    assert top_of(make_store, values, fraction=1) == [4, 5, 6, 7, 8, 9]
    assert top_of(make_store, values, rows=100) == [4, 5, 6, 7, 8, 9]


def test_tiny_fractions(make_store):
    assert top_of(make_store, [0.1, 0.2, 0.3], fraction=1e-9) == []
    assert top_of(make_store, [0.1, 0.2, 0.3], fraction=1e-9, ties="datacomp") == [2]
    assert top_of(make_store, [None, math.nan], fraction=0.5) == []
    assert top_of(make_store, [None, math.nan], rows=5, ties="datacomp") == []


def test_integers_are_ranked_too(make_store):
    assert top_of(make_store, [3, 1, None, 2, 3], rows=3) == [0, 3, 4]


def test_whole_numbers_that_a_double_cannot_hold(make_store):
    assert top_of(make_store, [2**53, 2**53 + 1, 2**53 + 2, 5], rows=2) == [1, 2]
    assert top_of(make_store, [0.3, 0.1 + 0.2, 0.2, 0.1], rows=1) == [1], "0.1 + 0.2 is more than 0.3 in doubles"


def test_rows_that_share_score_and_uid_are_kept_in_the_order_of_the_input(make_store):
    rows = [{"uid": f"{i % 2:032x}", "s": 1} for i in range(10)]
    for per_shard in (1, 3, 100):
        after, counts = select(make_store(rows, per_shard), Filter(name="top", top=Top(by="s", rows=3)))
        assert ledger(after)["kept"].to_list() == [i in (0, 2, 4) for i in range(10)]
        assert counts["kept"] == 3
        again, _ = select(after, Filter(name="again", top=Top(by="s", rows=2)))
        assert ledger(again)["kept"].to_list() == [i in (0, 2) for i in range(10)]


@pytest.mark.parametrize(
    ("size", "fields"),
    [
        ("30%", (0.3, None)),
        ("30 %", (0.3, None)),
        ("12.5%", (0.125, None)),
        ("100%", (1.0, None)),
        ("0.3", (0.3, None)),
        (".3", (0.3, None)),
        ("1000 rows", (None, 1000)),
        ("1 row", (None, 1)),
    ],
)
def test_sizes_that_are_understood(size, fields):
    top = load_filter({"top": f"a=b={size}"}).top
    assert (top.by, top.fraction, top.rows) == ("a=b", *fields)
    key = "rows" if fields[1] else "fraction"
    assert load_filter({"top": {"by": "a=b", key: size}}).top == top


@pytest.mark.parametrize(
    ("size", "message"),
    [
        ("1", "'1' says neither a fraction nor a number of rows: write '1 row' or '1%'"),
        ("1000", "write '1000 rows' or '1000%'"),
        ("1.0", "write '30%', '0.3' or '1000 rows'"),
        ("1.5", "write '30%'"),
        ("1.5 rows", "write '30%'"),
        ("-1 rows", "write '30%'"),
        ("nan", "'nan' says neither"),
        ("inf", "'inf' says neither"),
        ("1e-3", "write '30%'"),
        ("0x10", "write '30%'"),
        ("", "'' says neither"),
        ("0 rows", "option 'top.rows': Input should be greater than or equal to 1"),
        ("0%", "option 'top.fraction': Input should be greater than 0"),
        ("0.0", "greater than 0"),
        ("150%", "less than or equal to 1"),
    ],
)
def test_sizes_that_are_refused(size, message):
    with pytest.raises(CurateError, match=f"filter f: .*{re.escape(message)}"):
        load_filter({"top": f"x={size}"}, "f")


@pytest.mark.parametrize(
    "fields",
    [
        {"rows": 1.5}, {"rows": True}, {"rows": -1}, {"rows": "many"}, {"rows": "30%"}, {"fraction": math.nan},
        {"fraction": True}, {"fraction": "1"}, {"fraction": "7 rows"}, {"fraction": 0}, {"fraction": 30},
    ],
)  # fmt: skip
def test_fields_that_are_refused(fields):
    with pytest.raises(CurateError, match="filter f: option 'top"):
        load_filter({"top": {"by": "x", **fields}}, "f")


def test_a_fraction_counts_as_it_is_written():
    assert [Top(by="s", fraction=f).count(100) for f in (0.29, 0.57, 0.58, 0.07)] == [29, 57, 58, 7]
    assert Top(by="s", fraction=0.29, ties="datacomp").count(100) == 28, "DataComp counts in doubles"


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
    assert manifest.tables[after.keep].threshold == {"score": 0.3, "uid": None, "rows": 3, "place": None}
    assert column(after, "s") == [i / 10 for i in range(10)]
