"""Ops that learn something from all rows first, against a plain oracle whatever the shards."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from conftest import HERE, MakeStore, column
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from whole_ops import NUMBERS, Same, Share, rows_of, same, shares

from curate.annotate.partitions import Cut
from curate.annotate.step import annotate
from curate.cluster.cluster import Cluster
from curate.errors import CurateError
from curate.op import Fitted, Rows, Summed
from curate.store.store import Store

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("per_shard", [1, 4, 100])
def test_a_statistic_of_all_rows(make_store: MakeStore, per_shard: int) -> None:
    rows = rows_of(NUMBERS)
    view = annotate(make_store(rows, per_shard), [Share()], HERE, Cut(shards_per_run=3))
    assert column(view, "share") == shares(rows)
    entry = view.store.manifest().op_table(view.columns["share"])
    known = [n for n in NUMBERS if n is not None]
    assert entry and entry.report == {"sum": sum(known), "rows": len(known)}
    status = view.store["share"].collect()["share_status"].to_list()
    assert status == ["no_value" if n is None else "ok" if n % 2 else "even" for n in NUMBERS]


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(st.one_of(st.none(), st.integers(0, 5)), min_size=1, max_size=30), st.integers(1, 12), st.integers(1, 12)
)
def test_any_rows_in_any_cut(
    make_store: MakeStore, numbers: list[int | None], per_shard: int, per_partition: int
) -> None:
    rows: list[dict[str, Any]] = [{"n": n, "uid": f"{i:032x}"} for i, n in enumerate(numbers)]
    rows[0]["n"] = 1
    view = annotate(make_store(rows, per_shard), [Same(), Share()], HERE, Cut(rows_per_partition=per_partition))
    assert column(view, "same_size", "same_first") == same(rows)
    assert column(view, "share") == shares(rows)


def test_its_table_is_listed_as_often_whatever_the_number_of_shards(
    make_store: MakeStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    listed, parts = list[str](), Store.parts
    monkeypatch.setattr(Store, "parts", lambda store, table: listed.append(table) or parts(store, table))
    counts = []
    for per_shard in (100, 1):
        view = make_store(rows_of(NUMBERS), per_shard)
        listed.clear()
        annotate(view, [Share()], HERE)
        counts.append(len(listed))
    assert counts[0] == counts[1] > 0


def test_values_that_do_not_fit_the_rows_are_refused(make_store: MakeStore) -> None:
    with pytest.raises(CurateError, match="column 'share' has 5 values for 3 rows"):
        annotate(make_store(rows_of(NUMBERS), 4), [Share(off=2)], HERE)


class Above(Fitted):
    """Whether `n` is over the mean; a second pass, which knows the mean, adds up how far rows are from it."""

    name: str = "above"

    def reads(self) -> tuple[str, ...]:
        return ("n",)

    def makes(self) -> dict[str, pa.DataType]:
        return {"above": pa.bool_()}

    def fit(self, summed: Summed) -> tuple[float, float]:
        total, rows = summed(self.count)
        return total / rows, float(summed(partial(self.distance, total / rows)))

    def count(self, rows: Rows) -> np.ndarray:
        return np.array([sum(rows["n"].to_pylist()), len(rows)])

    def distance(self, mean: float, rows: Rows) -> float:
        return sum(abs(n - mean) for n in rows["n"].to_pylist())

    def batch(self, rows: Rows, fitted: Any) -> dict[str, Any]:
        return {"above": [n > fitted[0] for n in rows["n"].to_pylist()]}

    def report(self, fitted: Any, made_by: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
        return {"distance": fitted[1], "reads": made_by}


@pytest.mark.parametrize("here", [True, False])
def test_a_further_pass_knows_what_the_first_gave(make_store: MakeStore, ray_cluster: Cluster, here: bool) -> None:
    view = annotate(make_store(rows_of([1, 2, None, 9]), 1), [Above()], HERE if here else ray_cluster)
    assert column(view, "above") == [False, False, None, True]
    entry = view.store.manifest().op_table(view.columns["above"])
    assert entry and entry.report == {"distance": 3 + 2 + 5, "reads": {"n": {}}}


class Unfit(Share):
    """Fails on the driver."""

    def fit(self, summed: Summed) -> np.ndarray:
        return summed(self.count)[self.off + 2]  # type: ignore[no-any-return]


def test_a_fault_of_fit_has_the_line_of_the_op(make_store: MakeStore) -> None:
    with pytest.raises(CurateError, match=r"Unfit: `fit` fails: IndexError: .* \(test_statistic.py, line \d+, in fit"):
        annotate(make_store(rows_of(NUMBERS), 4), [Unfit()], HERE)
