"""Ops that begin a batch on a device of its own: the next one is begun before the last one is waited for."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

import pyarrow as pa
import pytest
from conftest import HERE, column
from pydantic import Field

from curate.annotate.one_shard import OneShard
from curate.annotate.step import annotate
from curate.annotate.unfinished import Planned
from curate.errors import CurateError
from curate.op import Rows, Score


class Queued(Score):
    """Twice the number of a row; `log` says what was asked for and when, by the number of its first row.

    refuses, breaks: numbers of rows whose batch cannot be begun, or fails when it is waited for.
    """

    name: str = "twice"
    batch_size: int = 3
    refuses: tuple[int, ...] = ()
    breaks: tuple[int, ...] = ()
    log: Any = Field(default_factory=list, exclude=True)

    def reads(self) -> tuple[str, ...]:
        return ("n",)

    def makes(self) -> dict[str, pa.DataType]:
        return {self.name: pa.int64()}

    def begin(self, rows: Rows) -> Callable[[], Mapping[str, Any]] | None:
        numbers = rows["n"].to_pylist()
        self.log.append(f"begin {numbers[0]}")
        if {*numbers} & {*self.refuses}:
            raise ArithmeticError("cannot begin")

        def result() -> Mapping[str, Any]:
            self.log.append(f"wait {numbers[0]}")
            return self.values(numbers)

        return result

    def batch(self, rows: Rows) -> Mapping[str, Any]:
        numbers = rows["n"].to_pylist()
        self.log.append(f"batch {numbers}")
        return self.values(numbers)

    def values(self, numbers: list[int]) -> Mapping[str, Any]:
        if {*numbers} & {*self.breaks}:
            raise ArithmeticError("breaks")
        return {self.name: [2 * number for number in numbers]}


class Behind(Score):
    """One more than what the op before it made."""

    name: str = "behind"
    batch_size: int = 3

    def reads(self) -> tuple[str, ...]:
        return ("twice",)

    def makes(self) -> dict[str, pa.DataType]:
        return {"behind": pa.int64()}

    def begin(self, rows: Rows) -> Callable[[], Mapping[str, Any]] | None:
        raise CurateError("what it reads is not there yet")

    def batch(self, rows: Rows) -> Mapping[str, Any]:
        return {"behind": [value + 1 for value in rows["twice"].to_pylist()]}


@pytest.fixture
def view(make_store: Any) -> Any:
    return make_store([{"n": n} for n in range(8)], rows_per_shard=8)


def test_the_next_batch_is_begun_before_the_last_one_is_waited_for(view):
    op = Queued()
    assert column(annotate(view, [op], HERE), "twice") == [0, 2, 4, 6, 8, 10, 12, 14]
    assert op.log == ["begin 0", "begin 3", "wait 0", "begin 6", "wait 3", "wait 6"]


def test_an_op_behind_it_has_its_values(view):
    after = annotate(view, [Queued(), Behind()], HERE)
    assert column(after, "twice", "behind") == [(2 * n, 2 * n + 1) for n in range(8)]


def test_what_cannot_be_begun_is_done_in_its_turn(view):
    op = Queued(refuses=(4,))
    assert column(annotate(view, [op], HERE), "twice") == [0, 2, 4, 6, 8, 10, 12, 14]
    assert op.log == ["begin 0", "begin 3", "wait 0", "batch [3, 4, 5]", "begin 6", "wait 6"]


def test_a_row_that_fails_where_it_is_waited_for_costs_no_other_its_value(view):
    op = Queued(breaks=(4,))
    after = annotate(view, [op], HERE)
    assert column(after, "twice") == [0, 2, 4, 6, None, 10, 12, 14]
    status = after.store.read_part(after.columns["twice"], 0)["twice_status"].to_pylist()
    assert status[4].startswith("error: ArithmeticError: breaks")
    assert [word for i, word in enumerate(status) if i != 4] == ["ok"] * 7


def test_looking_for_a_row_that_kills_one_batch_is_at_work(view):
    op = Queued()
    OneShard(view, [Planned(op, "twice-1")]).careful(0)
    assert op.log == ["batch [0, 1, 2]", "batch [3, 4, 5]", "batch [6, 7]"]


def test_the_seconds_of_begin_and_of_waiting_are_the_op_s(view):
    class Slow(Queued):
        def begin(self, rows: Rows) -> Callable[[], Mapping[str, Any]] | None:
            time.sleep(0.05)
            result = super().begin(rows)
            assert result is not None
            return lambda: (time.sleep(0.05), result())[1]

    after = annotate(view, [Slow()], HERE)
    entry = after.store.manifest().op_table(after.columns["twice"])
    assert entry is not None
    assert 0.3 <= entry.cost.model_seconds <= entry.cost.worker_seconds
