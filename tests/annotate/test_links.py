"""Rows that are alike, linked and judged in groups, against a plain oracle whatever the shards and the partitions."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
import pytest
from conftest import HERE, MakeStore
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from stopping import files_written, stopped_at_write
from whole_ops import Close, close, rows_of

from curate.annotate.links import run_linked
from curate.annotate.partitions import USUAL, Cut
from curate.annotate.tables import folder_for
from curate.errors import CurateError
from curate.store.store import Store
from curate.store.verdict import Verdicts
from curate.store.view import View

pytestmark = pytest.mark.slow

NUMBERS = [5, 9, None, 6, 5, 20, 10, 7, 20, None, 30, 11]


def linked(view: View, op: Close, cut: Cut = USUAL) -> tuple[list[tuple[Any, ...]], dict[str, Any]]:
    """(close_of, close_size, status) of every row; the report."""
    folder = folder_for(view, op, whole=True)
    report = run_linked(view, op, folder, HERE, cut)
    assert not view.store.names(f"{folder}/.work")
    names = [*op.makes(), "close_status"]
    parts = [pl.DataFrame(view.store.read_part(folder, shard, names)) for shard in sorted(view.store.shard_rows())]
    return pl.concat(parts).rows(), report


@pytest.mark.parametrize("rows_per_shard", [1, 3, 100])
@pytest.mark.parametrize("rows_per_partition", [1, 7, 1000])
def test_whatever_the_shards_and_the_partitions(
    make_store: MakeStore, rows_per_shard: int, rows_per_partition: int
) -> None:
    rows, cut = rows_of(NUMBERS), Cut(rows_per_partition, shards_per_run=2, files_per_merge=3)
    verdicts, report = linked(make_store(rows, rows_per_shard), Close(), cut)
    words = ["no_value" if n is None else "ok" for n in NUMBERS]
    assert verdicts == [(*verdict, word) for verdict, word in zip(close(rows), words, strict=True)]
    assert report == {
        "linked_rows": 9,
        "groups": 3,
        "groups_by_size": {"2": 2, "4": 1},
        "largest": 4,
        "over_cap": 0,
        "over_cap_rows": 0,
    }


def test_a_group_over_the_cap_is_cut_and_reported(make_store: MakeStore) -> None:
    verdicts, report = linked(make_store(rows_of(NUMBERS)), Close(cap=3))
    assert [verdict[:2] for verdict in verdicts] == close(rows_of(NUMBERS), 3)
    assert (report["over_cap"], report["over_cap_rows"], report["largest"]) == (1, 4, 4)


def test_rows_that_are_out_have_no_part(make_store: MakeStore) -> None:
    view = make_store(rows_of([1, 2, 3]), 2)
    for shard, codes in enumerate([[0, 1], [0]]):
        view.store.write_part("keep", shard, Verdicts(np.array(codes), ["kept", "a: b"]).to_arrow())
    verdicts, _ = linked(View(view.store, view.columns, keep="keep"), Close())
    assert verdicts == [(None, 1, "ok"), (None, None, "skipped"), (None, 1, "ok")]


def test_no_row_has_a_key(make_store: MakeStore) -> None:
    view = make_store([{"uid": "0" * 32, "n": 1}, {"uid": "1" * 32, "n": None}])
    view.store.write_part("keep", 0, Verdicts(np.array([1, 0]), ["kept", "a: b"]).to_arrow())
    verdicts, report = linked(View(view.store, view.columns, keep="keep"), Close())
    assert verdicts == [(None, None, "skipped"), (None, None, "no_value")] and report["groups"] == 0


@pytest.mark.parametrize("left", [["labels/00000.spill", "report.json"], ["labels/00000.spill"], []])
def test_stopped_while_its_work_was_removed(make_store: MakeStore, left: list[str]) -> None:
    """The plan goes first, so what is left of the work is never gone on with; the report is what it holds."""
    view, op = make_store(rows_of(NUMBERS)), Close()
    verdicts, report = linked(view, op)
    for name in left:
        view.store.write_json(f"{folder_for(view, op, whole=True)}/.work/{name}", report)
    assert linked(view, op) == (verdicts, report if "report.json" in left else {})


CUT_SMALL = Cut(5, shards_per_run=1, files_per_merge=3)
#: No worker holds more than three links; a group of four rows is cut.
BY_ROUNDS = Cut(5, shards_per_run=2, links=3)
#: Rows go in two steps.
TWO_STEPS = Cut(5, shards_per_run=1, ranges=2)


@pytest.mark.parametrize(
    ("cut", "files"), [(CUT_SMALL, 20), pytest.param(BY_ROUNDS, 40, marks=pytest.mark.soak), (TWO_STEPS, 25)]
)
def test_stopped_anywhere_it_goes_on(make_store: MakeStore, cut: Cut, files: int) -> None:
    op, rows = Close(cap=3), rows_of(NUMBERS)
    expected = linked(make_store(rows, 4), op)
    with files_written() as names:
        assert linked(make_store(rows, 4), op, cut) == expected
    step = [name for name in names if name.startswith("close-")]
    assert len(step) > files and any("/met/" in name for name in step) == (cut == BY_ROUNDS)
    assert any("/keys-fine/" in name for name in step) == (cut == TWO_STEPS)
    for written in range(len(step)):
        view = make_store(rows, 4)
        with stopped_at_write(written):
            run_linked(view, op, folder_for(view, op, whole=True), HERE, cut)
        assert linked(view, op, cut) == expected


@pytest.mark.parametrize("cap", [pytest.param(2, marks=pytest.mark.soak), pytest.param(4, marks=pytest.mark.soak), 100])
def test_by_rounds_the_groups_are_those_of_the_book(make_store: MakeStore, cap: int) -> None:
    rows = rows_of([*NUMBERS, *range(30, 60), *range(100, 120, 2), 100, 100])
    with files_written() as names:
        verdicts, report = linked(make_store(rows, 4), Close(cap=cap), BY_ROUNDS)
    assert [verdict[:2] for verdict in verdicts] == close(rows, cap)
    assert report["largest"] == 31 and any("/stars-5/" in name for name in names)
    assert (verdicts, report) == linked(make_store(rows, 7), Close(cap=cap))


def test_what_is_done_with_is_removed(make_store: MakeStore, monkeypatch: pytest.MonkeyPatch) -> None:
    view, op = make_store(rows_of(NUMBERS), 4), Close()
    folder, seen, writing = folder_for(view, op, whole=True), {}, Store.writing

    def noted(self: Store, name: str) -> Any:
        seen[name.removeprefix(f"{folder}/").removeprefix(".work/")] = self.names(f"{folder}/.work")
        return writing(self, name)

    monkeypatch.setattr(Store, "writing", noted)
    linked(view, op, CUT_SMALL)
    assert {"keys", "links-0"} <= seen["links-0/00001.parquet"]
    assert "keys" not in seen["links-1/00000.parquet"] and "links-0" in seen["links-1/00000.parquet"]
    assert not [name for name in seen["groups/00000.spill"] if name.startswith("links")]
    assert "groups" in seen["verdicts/00000.spill"]
    assert seen["00000.parquet"] == {"plan.json", "keyed", "labels", "report.json", "verdicts"}


def test_a_wrong_number_of_keys_is_refused(make_store: MakeStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Close, "bands", lambda self: 3)
    with pytest.raises(CurateError, match="gave 2 arrays, expected 3"):
        linked(make_store(rows_of([1, 2])), Close())


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.integers(0, 25) | st.none(), min_size=1, max_size=14), st.sampled_from([2, 4, 100]), st.data())
def test_against_the_book_in_any_order(
    make_store: MakeStore, numbers: list[int | None], cap: int, data: st.DataObject
) -> None:
    if all(n is None for n in numbers):
        return
    rows = rows_of(numbers)
    order = data.draw(st.permutations(range(len(numbers))))
    shuffled = pl.DataFrame([rows[i] for i in order], schema={"n": pl.Int64, "uid": pl.String}).to_dicts()
    view = make_store(shuffled, data.draw(st.sampled_from([2, 5, 50])))
    verdicts, _ = linked(view, Close(cap=cap))
    by_place = dict(zip(order, verdicts, strict=True))
    assert [by_place[i][:2] for i in range(len(numbers))] == close(rows, cap)
