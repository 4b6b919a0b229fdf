"""Ops over all rows against plain oracles, whatever the shards, the partitions and the kills on the way."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pytest
from conftest import HERE, column, importable
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from curate.annotate import partitions
from curate.annotate.step import annotate
from curate.filter.rule import Filter
from curate.filter.step import select
from curate.op import Counted, Grouped, Rows
from curate.store.store import Store
from curate.store.view import View


class Same(Grouped):
    """Rows with the same `n`: how many, and the smallest uid among them."""

    name: str = "same"
    short_keys: bool = False
    drops: bool = False

    def reads(self) -> tuple[str, ...]:
        return ("n", "uid")

    def makes(self) -> dict[str, pa.DataType]:
        return {"same_size": pa.int32(), "same_first": pa.string()}

    def keys(self, rows: Rows) -> pa.Array:
        digests = [None if n is None else hashlib.md5(str(n).encode()).digest() for n in rows["n"].to_pylist()]
        return pa.array([d and d[: 8 if self.short_keys else 16] for d in digests], pa.binary())

    def judge(self, rows: pl.DataFrame) -> pl.DataFrame:
        found = rows.with_columns(
            same_size=pl.len().over("key").cast(pl.Int32), same_first=pl.col("uid").min().over("key")
        )
        return found.head(len(found) - 1) if self.drops else found.reverse()


class Share(Counted):
    """Each row's share of the sum of `n` over all rows."""

    name: str = "share"
    off: int = 0

    def reads(self) -> tuple[str, ...]:
        return ("n",)

    def makes(self) -> dict[str, pa.DataType]:
        return {"share": pa.float64()}

    def count(self, rows: Rows) -> Any:
        return np.array([sum(rows["n"].to_pylist()), len(rows)])

    def batch(self, rows: Rows, total: Any) -> dict[str, Any]:
        n = rows["n"].to_numpy()
        return {
            "share": np.append(n / total[0], [0.0] * self.off),
            "status": ["even" if v % 2 == 0 else None for v in n],
        }

    def report(self, total: Any) -> dict[str, Any]:
        return {"sum": int(total[0]), "rows": int(total[1])}


NUMBERS = [3, None, 5, 3, 3, 5, 8, None, 13, 1, 8, 3, 21, 2, 5, 5, 34, 3, 1, 55, 3, 8, 2, 89, 3]


def rows_of(numbers) -> list[dict[str, Any]]:
    return [{"n": n, "uid": f"{(i * 7919) % 1000:032x}"} for i, n in enumerate(numbers)]


def same(rows, inside=None) -> list[tuple[int | None, str | None]]:
    """The O(n^2) way."""
    inside = inside or [True] * len(rows)
    found: list[tuple[int | None, str | None]] = []
    for row, mine in zip(rows, inside, strict=True):
        group = [o["uid"] for o, i in zip(rows, inside, strict=True) if i and o["n"] == row["n"]]
        found.append((len(group), min(group)) if mine and row["n"] is not None else (None, None))
    return found


def shares(rows, inside=None) -> list[float | None]:
    inside = inside or [True] * len(rows)
    total = sum(row["n"] or 0 for row, mine in zip(rows, inside, strict=True) if mine)
    return [row["n"] / total if mine and row["n"] is not None else None for row, mine in zip(rows, inside, strict=True)]


@pytest.fixture(params=[1, 3, 10, 1000])
def partitioned(request, monkeypatch) -> int:
    """Rows per partition: from a partition per row to one for all."""
    monkeypatch.setattr(partitions, "ROWS_PER_PARTITION", request.param)
    return request.param


@pytest.mark.parametrize("per_shard", [1, 4, 100])
def test_groups_are_as_found_by_comparing_all_pairs(make_store, partitioned, per_shard, monkeypatch):
    monkeypatch.setattr(partitions, "SHARDS_PER_RUN", 3)
    rows = rows_of(NUMBERS)
    view = annotate(make_store(rows, per_shard), [Same()], HERE)
    assert column(view, "same_size", "same_first") == same(rows)
    status = view.store["same"].collect()["same_status"].to_list()
    assert status == ["no_value" if n is None else "ok" for n in NUMBERS]
    assert ".work" not in view.store.names(view.columns["same_size"])


@pytest.mark.parametrize("per_shard", [1, 4, 100])
def test_a_statistic_of_all_rows(make_store, per_shard, monkeypatch):
    monkeypatch.setattr(partitions, "SHARDS_PER_RUN", 3)
    rows = rows_of(NUMBERS)
    view = annotate(make_store(rows, per_shard), [Share()], HERE)
    assert column(view, "share") == shares(rows)
    entry = view.store.manifest().tables[view.columns["share"]]
    known = [n for n in NUMBERS if n is not None]
    assert entry.report == {"sum": sum(known), "rows": len(known)}
    status = view.store["share"].collect()["share_status"].to_list()
    assert status == ["no_value" if n is None else "ok" if n % 2 else "even" for n in NUMBERS]


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(st.one_of(st.none(), st.integers(0, 5)), min_size=1, max_size=30), st.integers(1, 12), st.integers(1, 12)
)
def test_any_rows_in_any_cut(make_store, numbers, per_shard, per_partition):
    rows = [{"n": n, "uid": f"{i:032x}"} for i, n in enumerate(numbers)]
    rows[0]["n"] = 1
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(partitions, "ROWS_PER_PARTITION", per_partition)
        view = annotate(make_store(rows, per_shard), [Same(), Share()], HERE)
    assert column(view, "same_size", "same_first") == same(rows)
    assert column(view, "share") == shares(rows)


def test_rows_that_are_out_do_not_count(make_store, partitioned):
    rows = rows_of(NUMBERS)
    few, _ = select(make_store(rows, 4), Filter(name="few", where="n IS NULL OR n < 10"))
    view = annotate(few, [Same(), Share()], HERE)
    inside = [n is None or n < 10 for n in NUMBERS]
    assert column(view, "same_size", "same_first") == same(rows, inside)
    assert column(view, "share") == shares(rows, inside)
    status = view.store["same"].collect()["same_status"].to_list()
    assert [s == "skipped" for s in status] == [not i for i in inside]


def test_nobody_is_in(make_store):
    rows = rows_of(NUMBERS)
    none, _ = select(make_store(rows, 4), Filter(name="none", where="n > 1000"))
    view = annotate(none, [Same(), Share()], HERE)
    assert column(view, "same_size", "share") == [(None, None)] * len(rows)


def test_another_pool_is_another_table(make_store):
    view = make_store(rows_of(NUMBERS), 4)
    whole_pool = annotate(view, [Same(), Share()], HERE)
    few, _ = select(view, Filter(name="few", where="n < 10"))
    part = annotate(few, [Same(), Share()], HERE)
    for name in ("same_size", "share"):
        assert whole_pool.columns[name] != part.columns[name]
    assert column(whole_pool, "same_size") == [size for size, _ in same(rows_of(NUMBERS))]
    more = annotate(make_store(rows_of([3]), 4, root=view.store.url), [Same()], HERE)
    assert more.columns["same_size"] not in {whole_pool.columns["same_size"], part.columns["same_size"]}


def test_a_finished_table_is_not_made_again(make_store, monkeypatch):
    view = make_store(rows_of(NUMBERS), 4)
    first = annotate(view, [Same(), Share()], HERE)
    monkeypatch.setattr(Same, "judge", None)
    monkeypatch.setattr(Share, "batch", None)
    second = annotate(View.of(view.store), [Same(), Share()], HERE)
    assert second.columns == View.of(view.store).columns
    assert {n: f for n, f in second.columns.items() if n in first.columns} == first.columns
    assert second.store.manifest().tables[second.columns["share"]].report["rows"] == 23


@pytest.mark.parametrize(
    ("options", "fault"), [({"short_keys": True}, "16 bytes per row"), ({"drops": True}, "one row for every row")]
)
def test_an_op_that_breaks_its_promise_is_named(make_store, options, fault):
    with pytest.raises(Exception, match=fault):
        annotate(make_store(rows_of(NUMBERS), 4), [Same(**options)], HERE)


def test_values_that_do_not_fit_the_rows_are_refused(make_store):
    with pytest.raises(Exception, match="column 'share' has 5 values for 3 rows"):
        annotate(make_store(rows_of(NUMBERS), 4), [Share(off=2)], HERE)


# ---- stopped and gone on with ----


def files_of(view: View, *columns: str) -> dict[str, bytes]:
    folders = {name: Path(view.store.url, view.columns[name]) for name in columns}
    return {
        f"{name}/{file.relative_to(folder)}": file.read_bytes()
        for name, folder in folders.items()
        for file in folder.rglob("*")
        if file.is_file()
    }


@pytest.mark.parametrize("share", [0, 0.05, 0.15, 0.3, 0.45, 0.6, 0.75, 0.9])
def test_stopped_after_any_write_it_ends_as_if_undisturbed(make_store, monkeypatch, share):
    monkeypatch.setattr(partitions, "ROWS_PER_PARTITION", 6)
    monkeypatch.setattr(partitions, "SHARDS_PER_RUN", 3)
    writing, counted = Store.writing, []
    with monkeypatch.context() as patch:
        patch.setattr(Store, "writing", lambda self, name: counted.append(name) or writing(self, name))
        undisturbed = annotate(make_store(rows_of(NUMBERS), 4), [Same(), Share()], HERE)
    expected = files_of(undisturbed, "same_size", "share")
    view = make_store(rows_of(NUMBERS), 4)
    left = [int(share * sum("records" not in name for name in counted))]

    def stopped(self, name):
        left[0] -= 1
        if left[0] < 0:
            raise KeyboardInterrupt
        return writing(self, name)

    with monkeypatch.context() as patch:
        patch.setattr(Store, "writing", stopped)
        with pytest.raises(KeyboardInterrupt):
            annotate(view, [Same(), Share()], HERE)
    after = annotate(view, [Same(), Share()], HERE)
    assert files_of(after, "same_size", "share") == expected


def test_stopped_when_all_parts_are_there(make_store, monkeypatch):
    """Neither the work files nor the manifest's entry are forgotten."""
    view = make_store(rows_of(NUMBERS), 4)
    with monkeypatch.context() as patch:
        patch.setattr(Store, "remove", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt()))
        with pytest.raises(KeyboardInterrupt):
            annotate(view, [Same()], HERE)
    after = annotate(view, [Same()], HERE)
    folder = after.columns["same_size"]
    assert ".work" not in view.store.names(folder)
    assert view.store.manifest().tables[folder].pool == view.pool()


KILLED = """
import os, signal, sys
from conftest import HERE
from curate.annotate import partitions
from curate.annotate.step import annotate
from curate.store.store import Store
from curate.store.view import View
from test_whole import Same, Share

partitions.ROWS_PER_PARTITION, partitions.SHARDS_PER_RUN = 6, 3
root, left = sys.argv[1], int(sys.argv[2])
writing = Store.writing

def killed(self, name):
    global left
    left -= 1
    if left < 0:
        with open(f"{root}/killed", "a") as file:
            file.write("x")
        handle = writing(self, name)
        handle.__enter__().write(b"torn")
        os.kill(os.getpid(), signal.SIGKILL)
    return writing(self, name)

Store.writing = killed
annotate(View.of(Store(root)), [Same(), Share()], HERE)
"""


def test_killed_again_and_again_it_ends_as_if_undisturbed(make_store, monkeypatch):
    monkeypatch.setattr(partitions, "ROWS_PER_PARTITION", 6)
    monkeypatch.setattr(partitions, "SHARDS_PER_RUN", 3)
    undisturbed = annotate(make_store(rows_of(NUMBERS), 4), [Same(), Share()], HERE)
    expected = files_of(undisturbed, "same_size", "share")
    root = make_store(rows_of(NUMBERS), 4).store.url
    environment = {**os.environ, "PYTHONPATH": importable()}
    codes = Counter()
    while not codes[0]:
        process = subprocess.run([sys.executable, "-c", KILLED, root, "9"], env=environment, check=False)
        codes[process.returncode] += 1
        assert codes.total() < 6
    assert codes == {-9: Path(root, "killed").stat().st_size, 0: 1}
    assert codes[-9] >= 2
    after = annotate(View.of(Store(root)), [Same(), Share()], HERE)
    assert column(after, "same_size", "same_first") == same(rows_of(NUMBERS))
    found = files_of(after, "same_size", "share")
    assert {name: data for name, data in found.items() if not name.endswith(".tmp")} == expected
