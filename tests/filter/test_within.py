"""`top` within groups: the best rows of each value of a column, as sorting each group apart does it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from conftest import MakeStore, ledger
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import curate
from curate.errors import CurateError
from curate.filter.rule import Filter
from curate.filter.step import select
from curate.filter.top import Top
from curate.look.show import print_store

Row = tuple[float | None, str | None, str]


def best(rows: list[Row], top: Top) -> list[bool]:
    """Sort each group: by score, then uid, then place."""
    kept = [False] * len(rows)
    for name in {group for _, group, _ in rows}:
        scored = [(-s, uid, at) for at, (s, group, uid) in enumerate(rows) if group == name and s is not None]
        scored.sort()
        count = top.count(len(scored))
        if top.ties == "datacomp":
            chosen = [row for row in scored if row[0] <= scored[min(count, len(scored) - 1)][0]]
        else:
            chosen = scored[:count]
        for _, _, at in chosen:
            kept[at] = True
    return kept


def store_of(make_store: MakeStore, rows: list[Row], size: int = 3) -> Any:
    frame = [{"s": s, "g": g, "uid": uid} for s, g, uid in rows]
    return make_store([*frame, {"s": float("inf"), "g": "x", "uid": "f" * 32}], size)


def uid(number: int) -> str:
    return f"{number:032x}"


def test_the_published_example(make_store: MakeStore) -> None:
    """A .9 .8 .1, B .3 .2; half of 3 is 1, half of 2 is 1."""
    rows = [(0.9, "A"), (0.8, "A"), (0.1, "A"), (0.3, "B"), (0.2, "B"), (None, "A"), (0.5, None), (0.4, None)]
    view = make_store([{"s": s, "source": g, "uid": uid(n)} for n, (s, g) in enumerate(rows)], 3)
    after, counts = select(view, Filter(name="f", top={"by": "s", "fraction": 0.5, "within": "source"}))
    assert ledger(after)["kept"].to_list() == [True, False, False, True, False, False, True, False]
    reason = "not in the top 0.5 of the rows by s within source"
    assert counts == {"entered": 8, "kept": 3, "dropped": {reason: 4, f"{reason} (no value)": 1}}
    entry = json.loads((Path(view.store.url) / "manifest.json").read_text())["tables"][after.keep]
    scores = {cut["group"]: cut["score"] for cut in entry["threshold"]["listed"]}
    assert scores == {None: 0.5, "A": 0.9, "B": 0.3}
    assert (entry["threshold"]["within"], entry["threshold"]["groups"]) == ("source", 3)


SCORES = st.one_of(st.none(), st.sampled_from([-1.5, 0.0, 0.25, 0.5]), st.floats(-9, 9, width=32))
ROWS = st.lists(
    st.tuples(SCORES, st.sampled_from(["a", "b", "null", "", None]), st.integers(0, 3).map(uid)), max_size=30
)
SIZES = st.one_of(st.floats(0.01, 1).map(lambda f: {"fraction": f}), st.integers(1, 9).map(lambda n: {"rows": n}))


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(ROWS, SIZES, st.sampled_from(["exact", "datacomp"]), st.integers(1, 9), st.sampled_from([1 << 20, 1]))
def test_as_sorting_each_group(make_store, monkeypatch, rows, size, ties, cut, in_memory) -> None:  # type: ignore[no-untyped-def]
    monkeypatch.setattr("curate.filter.threshold.IN_MEMORY", in_memory)
    monkeypatch.setattr("curate.filter.within._LEAST_IN_MEMORY", 1)
    top = Top(by="s", within="g", ties=ties, **size)
    after, counts = select(store_of(make_store, rows, cut), Filter(name="f", top=top))
    expected = best(rows, top)
    verdicts = ledger(after)
    assert verdicts["kept"].to_list() == [*expected, False]
    assert counts["kept"] == sum(expected)
    no_value = [reason is not None and reason.endswith("(no value)") for reason in verdicts["reason"]]
    assert no_value == [*(s is None for s, _, _ in rows), False]


def test_groups_of_whole_numbers_and_scores_of_64_bits(make_store: MakeStore) -> None:
    rows = [{"n": 2**62 + i, "g": i % 3, "uid": uid(i)} for i in range(9)]
    after, _ = select(make_store(rows, 2), Filter(name="f", top="n=1 row within g"))
    assert ledger(after)["kept"].to_list() == [False] * 6 + [True] * 3


def test_one_group_is_as_no_group(make_store: MakeStore) -> None:
    rows: list[Row] = [(i % 7 / 7, "a", uid(i % 5)) for i in range(50)]
    view = store_of(make_store, rows, 6)
    for ties in ("exact", "datacomp"):
        plain, _ = select(view, Filter(name="f", top=Top(by="s", fraction=0.3, ties=ties), where="g = 'a'"))
        within, _ = select(
            view, Filter(name="g", top=Top(by="s", fraction=0.3, ties=ties, within="g"), where="g = 'a'")
        )
        assert ledger(plain)["kept"].to_list() == ledger(within)["kept"].to_list()


def test_only_rows_that_are_in_and_pass_are_ranked(make_store: MakeStore) -> None:
    rows = [{"s": i, "g": "ab"[i % 2], "uid": uid(i)} for i in range(8)]
    first, _ = select(make_store(rows, 3), Filter(name="f", where="s < 6"))
    top = {"by": "s", "rows": 1, "within": "g", "among": "passing"}
    after, _ = select(first, Filter(name="t", where="s < 4", top=top))
    assert [n for n, kept in enumerate(ledger(after)["kept"]) if kept] == [2, 3]


def test_many_groups(make_store: MakeStore, capfd: pytest.CaptureFixture[str]) -> None:
    rows = [{"s": i * 7919 % 5000, "g": f"group {i % 1500}", "uid": uid(i)} for i in range(4500)]
    view = make_store(rows, 1000)
    after, counts = select(view, Filter(name="f", top="s=1 rows within g"))
    frame = pl.DataFrame(rows).with_columns(best=pl.col("s") == pl.col("s").max().over("g"))
    assert ledger(after)["kept"].to_list() == frame["best"].to_list() and counts["kept"] == 1500
    threshold = view.store.manifest().keep(after.keep).threshold
    assert threshold and (threshold["groups"], len(threshold["listed"])) == (1500, 1000)
    print_store(view.store.url)
    assert "1,492 more" in capfd.readouterr().out


def test_the_same_whatever_is_looked_at_together(make_store: MakeStore, monkeypatch: pytest.MonkeyPatch) -> None:
    rows: list[Row] = [(i % 5 / 5, [None, "a", "b"][i % 3], uid(i % 4)) for i in range(60)]
    keeps = []
    for size, batch in ((60, 8 << 20), (7, 1)):
        monkeypatch.setattr("curate.filter.batches.BATCH_BYTES", batch)
        after, _ = select(store_of(make_store, rows, size), Filter(name="f", top=Top(by="s", fraction=0.4, within="g")))
        keeps.append(ledger(after).rows())
    assert keeps[0] == keeps[1]


@pytest.mark.parametrize(
    ("top", "message"),
    [
        ("s=30% within nope", "needs column 'nope', which is not there"),
        ("s=30% within s", "top within groups takes texts or whole numbers, and 's' holds Float64"),
        ("g=30% within g", "top ranks numbers, and 'g' holds String"),
    ],
)
def test_what_is_refused(make_store: MakeStore, top: str, message: str) -> None:
    view = store_of(make_store, [(0.5, "a", uid(1))])
    with pytest.raises(CurateError, match=message):
        select(view, Filter(name="f", top=top))


def test_in_short() -> None:
    assert Top.model_validate("clip=30% within source") == Top(by="clip", fraction=0.3, within="source")
    assert "within" not in Top(by="clip", fraction=0.3).spec()
    with pytest.raises(ValueError, match="neither a fraction nor a number of rows"):
        Top.model_validate("clip=within source")


def test_as_a_command(make_store: MakeStore) -> None:
    root = store_of(make_store, [(0.5, "a", uid(1)), (0.6, "a", uid(2)), (0.1, "b", uid(3))]).store.url
    assert curate.filter(root, top="s=1 row within g").kept == 2
    assert curate.open(root).thresholds().is_empty()
