"""score.formula: a column from columns of its row, decided as conditions are."""

from __future__ import annotations

import random

import polars as pl
import pyarrow as pa
import pytest
from conftest import HERE, MakeStore, column

from curate.annotate.step import annotate
from curate.catalog import load
from curate.errors import CurateError
from curate.filter.rule import Filter
from curate.filter.step import select
from curate.filter.top import Top


def values(expr: str, columns: dict[str, pa.Array], **options: str) -> list[object]:
    op = load({"score.formula": {"name": "x", "expr": expr, **options}})
    return pa.array(op.apply(columns)["x"], op.makes()["x"]).to_pylist()


F32 = pa.float32()


def test_the_difference_of_two_models() -> None:
    columns = {"clip_ft": pa.array([0.31, 0.2, None], F32), "clip_pool": pa.array([0.25, 0.3, 0.1], F32)}
    assert values("clip_ft - clip_pool", columns) == [pytest.approx(0.06), pytest.approx(-0.1), None]


@pytest.mark.parametrize(
    ("expr", "options", "kind", "expected"),
    [
        ("a / b", {}, pa.float32(), [0.5, None, None]),
        ("a > 1", {}, pa.bool_(), [False, True, None]),
        ("a > 1 AND b IS NOT NULL", {}, pa.bool_(), [False, True, False]),
        ("CASE WHEN a IS NULL THEN 'none' ELSE LOWER(t) END", {}, pa.string(), ["x", "y", "none"]),
        ("COALESCE(a, b)", {}, pa.float32(), [1.0, 2.0, None]),
        ("t", {"result": "text"}, pa.string(), ["X", "Y", "Z"]),
        ("CASE WHEN a > 1 THEN 1 ELSE 0 END", {}, pa.float32(), [0.0, 1.0, 0.0]),
        ("POWER(10.0, a * 100)", {}, pa.float32(), [None, None, None]),
        ("a - NULL", {}, pa.float32(), [None, None, None]),
    ],
)
def test_kinds(expr: str, options: dict[str, str], kind: pa.DataType, expected: list[object]) -> None:
    columns = {
        "a": pa.array([1, 2, None], pa.int64()),
        "b": pa.array([2, 0, None], pa.int32()),
        "t": pa.array(["X", "Y", "Z"]),
    }
    op = load({"score.formula": {"name": "x", "expr": expr, **options}})
    assert op.makes() == {"x": kind}
    assert values(expr, {name: columns[name] for name in op.reads()}, **options) == expected


@pytest.mark.parametrize(
    ("options", "fault"),
    [
        ({"expr": "SUM(a)"}, "SUM"),
        ({"expr": "a +"}, "a +"),
        ({"expr": "1 + 1"}, "names no column"),
        ({"expr": "a", "result": "float"}, "number"),
    ],
)
def test_what_is_no_formula_is_told_at_load(options: dict[str, str], fault: str) -> None:
    with pytest.raises(CurateError, match=fault):
        load({"score.formula": {"name": "x", **options}})


def test_another_kind_than_the_column_says_what_to_write(make_store: MakeStore) -> None:
    op = load({"score.formula": {"name": "x", "expr": "text"}})
    with pytest.raises(CurateError, match=r"score.formula x: 'text' is a text, not a number: write `result: text`"):
        annotate(make_store(3), [op], HERE)


def test_top_ranks_it(make_store: MakeStore) -> None:
    rows = [{"ft": 0.1 * i, "pool": 0.05 * i * i} for i in range(10)]
    view = annotate(make_store(rows, 3), [load({"score.formula": {"name": "rho", "expr": "ft - pool"}})], HERE)
    assert column(view, "rho") == pytest.approx([row["ft"] - row["pool"] for row in rows], abs=1e-6)
    after, counts = select(view, Filter(name="best", top=Top(by="rho", rows=1)))
    assert counts["kept"] == 1 and after.kept(0).tolist() == [False, True, False]


def test_against_polars_on_random_rows(make_store: MakeStore) -> None:
    draw = random.Random(5)
    rows = [{"a": draw.choice([None, draw.uniform(-1, 1)]), "b": draw.uniform(-1, 1)} for _ in range(500)]
    view = annotate(make_store(rows, 64), [load({"score.formula": {"name": "x", "expr": "2 * a - b * b"}})], HERE)
    frame = pl.DataFrame(rows, infer_schema_length=None)
    expected = frame.select((2 * pl.col("a") - pl.col("b") * pl.col("b")).cast(pl.Float32)).to_series().to_list()
    assert column(view, "x") == expected
