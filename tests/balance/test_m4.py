"""balance.m4: rates that are asked for, and no link between attributes and labels."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from by_hand import learned, made, rows_with
from conftest import HERE, MakeStore, column

from curate.annotate.step import annotate
from curate.catalog import load
from curate.errors import CurateError
from curate.filter.rule import Filter
from curate.filter.step import select

pytestmark = pytest.mark.slow

EXACT = {"rate_error": 0, "link_error": 0, "passes": 4000}


def columns(**values: list[Any]) -> dict[str, pa.Array]:
    rows = len(next(iter(values.values())))
    return {name: pa.array(v) for name, v in values.items()} | {"uid": pa.array([f"{i:032x}" for i in range(rows)])}


def test_three_of_four_become_a_half() -> None:
    op = load({"balance.m4": {"attributes": {"s": 0.5}, **EXACT}})
    rows = columns(s=[True, True, True, False])
    fitted = learned(op, [rows_with(op, rows)])
    assert fitted.multipliers == pytest.approx([1, 0], abs=1e-4) and fitted.held
    weights = made(op, rows)["m4_weight"]
    assert weights == pytest.approx([0.5, 0.5, 0.5, 1.5], abs=1e-4)
    assert sum(weights[:3]) / sum(weights) == pytest.approx(0.5, abs=1e-4)
    copies = made(op, columns(s=[1, 1, 1, 0] * 500))["m4_copies"]
    assert set(copies) == {0, 1, 2}
    # Binomial: 1,500 draws of one half, four deviations.
    assert abs(sum(c for c, s in zip(copies, [1, 1, 1, 0] * 500, strict=True) if s) - 750) < 78


def test_few_passes_say_that_it_does_not_hold() -> None:
    op = load({"balance.m4": {"attributes": {"s": 0.5}, **EXACT, "passes": 50}})
    fitted = learned(op, [rows_with(op, columns(s=[True, True, True, False]))])
    # Each pass takes 1/80 of what is lacking.
    assert fitted.multipliers[0] == pytest.approx(1 - (79 / 80) ** 50, abs=1e-3) and not fitted.held
    report = op.report(fitted, {})
    assert next(iter(report["remarks"].values()))["rows"] == 50
    assert report["attributes"][0]["before"] == 0.75


def test_an_association_is_undone() -> None:
    draw = random.Random(2)
    s = [draw.random() < 0.5 for _ in range(2000)]
    y = [draw.random() < (0.8 if value else 0.2) for value in s]
    op = load(
        {"balance.m4": {"attributes": {"s": 0.5}, "labels": ["y"], "link_error": 0.002, "rate_error": 0.002, "most": 4}}
    )
    q, truth, label = np.array(made(op, columns(s=s, y=y))["m4_weight"]), np.array(s), np.array(y)
    assert abs((q * (truth - 0.5)).mean()) < 0.003
    centred = truth - truth.mean()
    assert abs((centred * label).mean()) > 0.12 and abs((q * centred * label).mean()) < 0.003


@pytest.mark.parametrize(
    ("options", "fault"),
    [
        ({"attributes": {}}, "attributes"),
        ({"attributes": {"s": 1.5}}, "the rate of 's' is 1.5"),
        ({"attributes": {"s": 0.5}, "labels": ["s"]}, "'s' is an attribute and a label"),
        ({"attributes": {"s": 0.5}, "eta": 3}, "`eta` is 3, over the largest weight"),
    ],
)
def test_faults_at_load(options: dict[str, Any], fault: str) -> None:
    with pytest.raises(CurateError, match=fault):
        load({"balance.m4": options})


def test_faults_of_columns() -> None:
    op = load({"balance.m4": {"attributes": {"s": 0.5}}})
    with pytest.raises(CurateError, match="column 's' holds Int64, expected true and false"):
        made(op, columns(s=[0, 2]))
    with pytest.raises(CurateError, match="no row has a value in all of: s"):
        made(op, columns(s=pa.array([None, None], pa.bool_()).to_pylist()) | {"s": pa.array([None, None], pa.bool_())})


def test_any_cut_and_an_ascent_over_all_rows(make_store: MakeStore) -> None:
    """The plain way: every pass over every row."""
    draw = random.Random(7)
    rows = [
        {"a": draw.random() < 0.7, "b": draw.choice([True, False, False, None]), "y": draw.random() < 0.3, "i": i}
        for i in range(500)
    ]
    options = {"attributes": {"a": 0.5, "b": 0.4}, "labels": ["y"], "passes": 60, "rate_error": 0.001}
    results = [
        column(annotate(make_store(rows, n), [load({"balance.m4": options})], HERE), "m4_weight") for n in (33, 500)
    ]
    assert results[0] == results[1]
    known = [row for row in rows if row["b"] is not None]
    s = np.array([[row["a"], row["b"]] for row in known], float)
    y = np.array([[row["y"]] for row in known], float)
    constraints = np.concatenate([s - [0.5, 0.4], (s - s.mean(axis=0)) * y], axis=1)
    a, errors, v = (
        np.concatenate([constraints, -constraints], axis=1),
        np.tile([0.001, 0.001, 0.01, 0.01], 2),
        np.zeros(8),
    )
    for _ in range(60):
        q = np.clip(1 - a @ v, 0, 2)
        over = (q[:, None] * a).mean(axis=0) - errors
        if (over <= 0).all():
            break
        v = np.clip(v + 0.05 * over, 0, 10)
    expected = iter(q.tolist())
    for row, weight in zip(rows, results[0], strict=True):
        assert weight == (None if row["b"] is None else pytest.approx(next(expected), abs=1e-5))


def test_a_balance_step_keeps_copies(make_store: MakeStore) -> None:
    op = load({"balance.m4": {"attributes": {"s": 0.5}, **EXACT}})
    view = annotate(make_store([{"s": i % 4 > 0} for i in range(400)], 90), [op], HERE)
    copies = column(view, "m4_copies")
    _, counts = select(view, Filter(name="m4", **op.decision()))
    assert counts["kept"] == sum(c > 0 for c in copies) and max(copies) == 2
