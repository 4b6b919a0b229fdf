"""Rows that share a key, judged together, against a plain oracle whatever the shards and the partitions."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pytest
from conftest import HERE, MakeStore, column
from whole_ops import NUMBERS, Same, Share, rows_of, same, shares

from curate.annotate.partitions import Cut
from curate.annotate.step import annotate
from curate.cluster.cluster import Cluster
from curate.filter.rule import Filter
from curate.filter.step import select
from curate.library.op_fault import OpFault
from curate.op import Rows
from curate.store.view import View

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("per_partition", [1, 3, 10, 1000])
@pytest.mark.parametrize("per_shard", [1, 4, 100])
def test_groups_are_as_found_by_comparing_all_pairs(make_store: MakeStore, per_partition: int, per_shard: int) -> None:
    rows = rows_of(NUMBERS)
    cut = Cut(rows_per_partition=per_partition, shards_per_run=3)
    view = annotate(make_store(rows, per_shard), [Same()], HERE, cut)
    assert column(view, "same_size", "same_first") == same(rows)
    status = view.store["same"].collect()["same_status"].to_list()
    assert status == ["no_value" if n is None else "ok" for n in NUMBERS]
    assert ".work" not in view.store.names(view.columns["same_size"])


@pytest.mark.parametrize("per_partition", [3, 1000])
def test_rows_that_are_out_have_no_part(make_store: MakeStore, per_partition: int) -> None:
    rows = rows_of(NUMBERS)
    few, _ = select(make_store(rows, 4), Filter(name="few", where="n IS NULL OR n < 10"))
    view = annotate(few, [Same(), Share()], HERE, Cut(rows_per_partition=per_partition))
    inside = [n is None or n < 10 for n in NUMBERS]
    assert column(view, "same_size", "same_first") == same(rows, inside)
    assert column(view, "share") == shares(rows, inside)
    status = view.store["same"].collect()["same_status"].to_list()
    assert [s == "skipped" for s in status] == [not i for i in inside]


def test_nobody_is_in(make_store: MakeStore) -> None:
    rows = rows_of(NUMBERS)
    none, _ = select(make_store(rows, 4), Filter(name="none", where="n > 1000"))
    view = annotate(none, [Same(), Share()], HERE)
    assert column(view, "same_size", "share") == [(None, None)] * len(rows)


def test_another_pool_is_another_table(make_store: MakeStore) -> None:
    view = make_store(rows_of(NUMBERS), 4)
    whole_pool = annotate(view, [Same(), Share()], HERE)
    few, _ = select(view, Filter(name="few", where="n < 10"))
    part = annotate(few, [Same(), Share()], HERE)
    for name in ("same_size", "share"):
        assert whole_pool.columns[name] != part.columns[name]
    assert column(whole_pool, "same_size") == [size for size, _ in same(rows_of(NUMBERS))]
    more = annotate(make_store(rows_of([3]), 4, root=view.store.url), [Same()], HERE)
    assert more.columns["same_size"] not in {whole_pool.columns["same_size"], part.columns["same_size"]}


def test_a_finished_table_is_not_made_again(make_store: MakeStore, monkeypatch: pytest.MonkeyPatch) -> None:
    view = make_store(rows_of(NUMBERS), 4)
    first = annotate(view, [Same(), Share()], HERE)
    for op, method in ((Same, "keys"), (Same, "judge"), (Share, "fit"), (Share, "batch")):
        monkeypatch.setattr(op, method, None)
    second = annotate(View.of(view.store), [Same(), Share()], HERE)
    assert {name: second.columns[name] for name in first.columns} == first.columns


@pytest.mark.parametrize(
    ("options", "fault"), [({"short_keys": True}, "16 bytes per row"), ({"drops": True}, "one row for every row")]
)
def test_an_op_that_breaks_its_promise_is_named(make_store: MakeStore, options: dict[str, bool], fault: str) -> None:
    with pytest.raises(Exception, match=f"Same: `.*{fault}"):
        annotate(make_store(rows_of(NUMBERS), 4), [Same(**options)], HERE)


@pytest.mark.parametrize(
    ("hook", "answer", "fault"),
    [
        (
            "keys",
            lambda op, rows: rows["n"],
            r"`keys` must give an Arrow array of 16 bytes per row, .* it gave 4 of int64",
        ),
        ("keys", lambda op, rows: list(range(len(rows))), "it gave a list for 4 rows"),
        ("keys", lambda op, rows: pa.array([b"k" * 16]), "it gave 1 of binary for 4 rows"),
        (
            "judge",
            lambda op, rows: rows.group_by("key").len(),
            "`judge` must give a frame with shard, row, same_size, same_first, it gave key, len",
        ),
        ("judge", lambda op, rows: None, "same_first, it gave a NoneType"),
    ],
)
def test_an_answer_of_another_kind_is_told_with_what_was_expected(
    make_store: MakeStore, monkeypatch: pytest.MonkeyPatch, hook: str, answer: Any, fault: str
) -> None:
    monkeypatch.setattr(Same, hook, answer)
    with pytest.raises(OpFault, match=f"Same: .*{fault}"):
        annotate(make_store(rows_of(NUMBERS), 4), [Same()], HERE)


def test_keys_of_a_shard_may_all_be_null(make_store: MakeStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Same, "keys", lambda op, rows: pa.nulls(len(rows)))
    view = annotate(make_store(rows_of(NUMBERS), 4), [Same()], HERE)
    assert column(view, "same_size") == [None] * len(NUMBERS)


class SetUp(Same):
    """Needs what `setup` makes wherever it works."""

    name: str = "set_up"

    def makes(self):  # type: ignore[no-untyped-def]
        return {name.replace("same", "set_up"): kind for name, kind in super().makes().items()}

    def setup(self) -> None:
        object.__setattr__(self, "ready", True)

    def keys(self, rows: Rows):  # type: ignore[no-untyped-def]
        assert self.ready  # type: ignore[attr-defined]
        return super().keys(rows)

    def judge(self, rows):  # type: ignore[no-untyped-def]
        assert self.ready  # type: ignore[attr-defined]
        judged = super().judge(rows)
        return judged.rename({name: name.replace("same", "set_up") for name in super().makes()})


def test_setup_is_called_where_keys_are_made_and_where_groups_are_judged(
    make_store: MakeStore, ray_cluster: Cluster
) -> None:
    view = annotate(make_store(rows_of(NUMBERS), 4), [SetUp()], ray_cluster)
    assert column(view, "set_up_size", "set_up_first") == same(rows_of(NUMBERS))
