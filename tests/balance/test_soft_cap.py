import numpy as np
import pyarrow as pa
import pytest
from conftest import HERE
from vector_rows import by_row, store_of, uid_of

from curate.alike import repeated_draws
from curate.alike.repeated_draws import Scored, draws_of, thresholds
from curate.annotate.step import annotate
from curate.arrays.string_hash import hash_pairs, hash_strings
from curate.balance.soft_cap import SoftCap
from curate.catalog import load
from curate.errors import CurateError
from curate.filter.rule import Filter
from curate.filter.step import select

pytestmark = pytest.mark.slow

SCORES = np.round(2 * np.random.default_rng(0).standard_normal(500), 3).astype(np.float32)
COLUMNS = {"s": pa.array(SCORES, mask=np.isin(np.arange(500), [3, 9]))}
HASHES = hash_strings([uid_of(i) for i in range(500)])


def drawn(scores, rows, draw, seed, penalty=0.15, most=0):
    hashes = HASHES[: len(scores)]
    scored = Scored(hashes, np.array(scores, np.float64), 10_000, 0, len(scores)).whole()
    ends = np.minimum(np.arange(1, -(-rows // draw) + 1) * draw, rows)
    limits, _ = thresholds(scored, np.diff(ends, prepend=0), penalty, most, seed)
    return draws_of(hashes, np.array(scores, np.float64), limits, penalty, most, seed)


def test_the_example():
    """softmax(2, 1, 0) = .66524 .24473 .09003; after one draw of the first it is .63105 .26972 .09923."""
    first = np.array([drawn([2, 1, 0], 1, 1, seed) for seed in range(4000)])
    assert first.mean(axis=0) == pytest.approx([0.66524, 0.24473, 0.09003], abs=0.025)
    both = np.array([drawn([2, 1, 0], 2, 1, seed) for seed in range(4000)])
    assert (both.sum(axis=1) == 2).all() and (both >= first).all(), "a longer run begins as the shorter one"
    again = (both - first)[first[:, 0] == 1]
    assert again.mean(axis=0) == pytest.approx([0.63105, 0.26972, 0.09923], abs=0.03)


def by_the_book(rows, draw, penalty=0.15, most=0, seed=0):
    """Round by round over all rows: the first `draw` of a race are drawn, then lose some of their score."""
    scored = [i for i in range(500) if i not in (3, 9)]
    copies = dict.fromkeys(scored, 0)
    number = 0
    while sum(copies.values()) < rows:
        times = {}
        draws = hash_pairs(HASHES, np.full(500, number, np.uint64), 2 * seed + 1)
        for i in scored:
            if most and copies[i] >= most:
                continue
            uniform = ((int(draws[i]) >> 11) + 0.5) / 2**53
            times[i] = -np.log(uniform) / np.exp(float(SCORES[i]) - penalty * copies[i])
        for i in sorted(times, key=times.__getitem__)[: min(draw, rows - sum(copies.values()))]:
            copies[i] += 1
        number += 1
    return [copies.get(i) for i in range(500)]


def made(folder, op, rows_per_shard=1000, order=None):
    view = annotate(store_of(folder, COLUMNS, rows_per_shard, order), [op], HERE)
    return by_row(view, op.table())["soft_cap_copies"].to_list(), view


@pytest.mark.parametrize("options", [{"penalty": 0.15}, {"penalty": 1.5}, {"penalty": 0.05, "most": 4}])
def test_against_the_algorithm_as_it_is_written(tmp_path, options, monkeypatch):
    monkeypatch.setattr(repeated_draws, "AT_ONCE", 64)
    copies, _ = made(tmp_path / "s", SoftCap(by="s", rows=1010, draw=50, **options), 70)
    assert copies == by_the_book(1010, 50, **options)
    assert sum(c or 0 for c in copies) == 1010


def test_the_same_whatever_the_shards_and_the_order(tmp_path):
    op = SoftCap(by="s", rows=1000, draw=50)
    order = np.random.default_rng(0).permutation(500).tolist()
    one, _ = made(tmp_path / "s", op)
    assert one == made(tmp_path / "t", op, 40, order)[0] == by_the_book(1000, 50)
    assert one != made(tmp_path / "u", SoftCap(by="s", rows=1000, draw=50, seed=1))[0]


def test_the_keep_table_has_the_copies(tmp_path):
    op = SoftCap(by="s", rows=1000, draw=50)
    copies, view = made(tmp_path / "s", op)
    _, counts = select(view, Filter(**op.decision()))
    assert counts["kept"] == sum(bool(c) for c in copies) < 500 and counts["copies"] == 1000
    report = view.store.manifest().tables[view.columns["soft_cap_copies"]].report
    assert report["draws"] == 1000 and report["rounds"] == 20 and report["scored"] == 498
    assert report["rows_drawn"] == counts["kept"] and report["most_copies"] == max(c or 0 for c in copies)


def test_a_sample_finds_nearly_the_same_limits(tmp_path):
    exact, _ = made(tmp_path / "s", SoftCap(by="s", rows=1000, draw=50))
    copies, view = made(tmp_path / "t", SoftCap(by="s", rows=1000, draw=50, sample=250))
    assert copies != exact
    totals = []
    for seed in range(30):
        some = Scored(HASHES, SCORES.astype(float), 250, seed, 500).whole()
        limits, _ = thresholds(some, np.full(20, 25), 0.15, 0, seed)
        totals.append(draws_of(HASHES, SCORES.astype(float), limits, 0.15, 0, seed).sum())
    assert np.mean(totals) == pytest.approx(1000, rel=0.05) and np.std(totals) < 200
    assert view.store.manifest().tables[view.columns["soft_cap_copies"]].report["sampled"] == 250
    half = Scored(HASHES, SCORES.astype(float), 250, 0, 500)
    cuts = [slice(i, i + 25) for i in range(0, 500, 25)]
    parts = [Scored(HASHES[cut], SCORES[cut].astype(float), 250, 0, 25) for cut in cuts]
    total = parts[-1]
    for part in parts[:-1]:
        total += part
    assert np.array_equal(total.whole().hashes, half.whole().hashes) and len(half.whole().scores) == 250
    assert total.total == 500


def test_no_score_is_too_large_or_too_small():
    for scores in ([900, 0, -900], [-5000, -5001, -9000], [0, 0, 0]):
        copies = drawn(scores, 6, 3, 0)
        assert copies.tolist() == [2, 2, 2], "three of three are drawn in each of two rounds"
    assert drawn([900, 0, -900], 5, 1, 0).tolist() == [5, 0, 0]
    assert drawn([-5000, -5200, -9000], 5, 1, 0).tolist() == [5, 0, 0]


def test_what_cannot_be_drawn_is_told(tmp_path):
    def refused(match, **options):
        with pytest.raises(CurateError, match=match):
            annotate(view, [SoftCap(by="s", **options)], HERE)

    view = store_of(tmp_path / "s", COLUMNS, 100)
    refused("499 rows cannot be drawn without repeats of 498 rows with a 's'", rows=1000, draw=499)
    refused(r"2,000 draws, and 498 rows of 4 copies at most are 1,992", rows=2000, draw=50, most=4)
    none = store_of(tmp_path / "t", {"s": pa.array([None, None], pa.float32())}, 100)
    with pytest.raises(CurateError, match="no row has a score in 's'"):
        annotate(none, [SoftCap(by="s", rows=10)], HERE)
    words = store_of(tmp_path / "u", {"s": pa.array(["a", "b"])}, 100)
    with pytest.raises(CurateError, match=r"column 's' is .*string, expected numbers"):
        annotate(words, [SoftCap(by="s", rows=1)], HERE)
    with pytest.raises(CurateError, match="raise `draw`"):
        load({"balance.soft_cap": {"by": "s", "rows": 100_000, "draw": 1}})


def test_published_rounds_are_the_default():
    assert SoftCap(by="s", rows=128_000_000)._draw() == 100_000
