"""balance.standardise: a weighted sum of z, to the bit the same however rows are added up."""

from __future__ import annotations

import random
import statistics

import pyarrow as pa
import pytest
from by_hand import learned, made, rows_with
from conftest import HERE, MakeStore, column

from curate.annotate.step import annotate
from curate.catalog import load
from curate.errors import CurateError


def test_one_two_three() -> None:
    op = load({"balance.standardise": {"name": "z", "columns": ["x"]}})
    assert made(op, {"x": pa.array([1, 2, 3])})["z"] == pytest.approx([-1.224745, 0, 1.224745], abs=1e-6)


def test_weights_nulls_and_a_column_of_one_value() -> None:
    op = load({"balance.standardise": {"name": "z", "columns": {"x": 2, "same": 5, "y": -1}}})
    columns = {
        "x": pa.array([1.0, 3.0, None, 2.0]),
        "same": pa.array([7.0] * 4),
        "y": pa.array([0.0, 2.0, 4.0, float("nan")]),
    }
    # x: mean 2, deviation sqrt(2/3); y: mean 2, deviation sqrt(8/3); rows 3 and 4 lack a value in one of them.
    expected = [2 * -1.2247449 + 1.2247449, 2 * 1.2247449, None, None]
    assert made(op, columns)["z"][:2] == pytest.approx(expected[:2], abs=1e-6)
    assert made(op, columns)["z"][2:] == expected[2:]
    remarks = op.report(learned(op, [rows_with(op, columns)]), {})["remarks"]
    assert list(remarks) == ["with the same value in a column, which adds nothing"]


@pytest.mark.parametrize(
    ("options", "fault"),
    [
        ({"columns": []}, "columns"),
        ({"columns": ["a", "a"]}, "names 'a' twice"),
        ({"columns": {"a": float("inf")}}, "the weight of 'a' is inf"),
    ],
)
def test_faults_at_load(options: dict[str, object], fault: str) -> None:
    with pytest.raises(CurateError, match=fault):
        load({"balance.standardise": {"name": "z", **options}})


def test_faults_of_columns(make_store: MakeStore) -> None:
    for rows, fault in (
        ([{"a": "t"}], "column 'a' holds String, no numbers"),
        ([{"a": float("nan")}], "no row has a value"),
    ):
        with pytest.raises(CurateError, match=fault):
            annotate(make_store(rows), [load({"balance.standardise": {"name": "z", "columns": ["a"]}})], HERE)


def test_against_the_standard_library_and_in_any_cut(make_store: MakeStore) -> None:
    draw = random.Random(1)
    rows = [{"a": draw.choice([None, draw.gauss(1e6, 1)]), "b": draw.uniform(0, 1e-6)} for _ in range(500)]
    op = {"balance.standardise": {"name": "z", "columns": {"a": 1, "b": 0.5}}}
    results = [column(annotate(make_store(rows, per), [load(op)], HERE), "z") for per in (7, 500)]
    assert results[0] == results[1]
    known = [row["a"] for row in rows if row["a"] is not None]
    a, b = (statistics.fmean(known), statistics.pstdev(known)), [row["b"] for row in rows]
    for row, z in zip(rows, results[0], strict=True):
        if row["a"] is None:
            assert z is None
        else:
            second = 0.5 * (row["b"] - statistics.fmean(b)) / statistics.pstdev(b)
            assert z == pytest.approx((row["a"] - a[0]) / a[1] + second, rel=1e-5, abs=1e-6)


def test_parts_add_up_to_the_bit() -> None:
    draw = random.Random(2)
    values = [draw.uniform(-1, 1) * 10 ** draw.randint(-12, 12) for _ in range(400)]
    op = load({"balance.standardise": {"name": "z", "columns": ["x"]}})
    whole = learned(op, [rows_with(op, {"x": pa.array(values)})])
    draw.shuffle(values)
    cut = [rows_with(op, {"x": pa.array(values[i : i + 37])}) for i in range(0, 400, 37)]
    assert learned(op, cut) == whole


def test_weights_of_a_file(tmp_path) -> None:
    path = tmp_path / "weights.yaml"
    path.write_text("x: 0.5\ny: -2\n")
    op = load({"balance.standardise": {"name": "m_flyt", "columns": str(path)}})
    assert op.spec() == load({"balance.standardise": {"name": "m_flyt", "columns": {"x": 0.5, "y": -2}}}).spec()
    path.write_text("- x\n- y\n")
    with pytest.raises(CurateError, match="expected a line `column: weight`"):
        load({"balance.standardise": {"columns": str(path)}})
    with pytest.raises(CurateError, match=r"weights cannot be read: .*none\.yaml"):
        load({"balance.standardise": {"columns": str(tmp_path / "none.yaml")}})
