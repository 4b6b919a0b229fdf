"""A value is computed once, a row's fault costs that row, an image is decoded once, whatever the ops and the order."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
import pytest
from conftest import HERE, column, picture
from pydantic import Field

from curate.annotate import ahead
from curate.annotate.step import annotate
from curate.arrays.arrow_columns import as_array
from curate.catalog import load
from curate.errors import CurateError
from curate.filter.rule import Filter
from curate.filter.step import select
from curate.library.op_fault import OpFault
from curate.op import Rows, Score
from curate.pictures import decoded
from curate.store.part_file import rows_of
from curate.store.view import View

#: How often each op of this file was called for each text.
CALLS: Counter[tuple[str, str]] = Counter()
LARGEST: Counter[str] = Counter()


@pytest.fixture(autouse=True)
def _forget_calls():
    CALLS.clear()
    LARGEST.clear()


class Counting(Score):
    """An op that notes what it was asked for."""

    how: ClassVar[frozenset[str]] = Score.how | {"bad"}
    bad: tuple[str, ...] = ()

    def reads(self) -> tuple[str, ...]:
        return ("text",)

    def seen(self, rows: Rows) -> list[str]:
        texts = rows["text"].to_pylist() if "text" in self.reads() else [""] * len(rows)
        CALLS.update((self.table(), text) for text in texts)
        LARGEST[self.table()] = max(LARGEST[self.table()], len(rows))
        for text in texts:
            if text in self.bad:
                raise ValueError(f"cannot do {text!r}")
        return texts


class Length(Counting):
    name: str = "length"

    def makes(self) -> dict[str, pa.DataType]:
        return {"length": pa.int32()}

    def batch(self, rows: Rows) -> Mapping[str, Any]:
        return {"length": [len(text) for text in self.seen(rows)]}


class Twice(Counting):
    """Reads what Length makes."""

    name: str = "twice"

    def reads(self) -> tuple[str, ...]:
        return ("length", "text")

    def makes(self) -> dict[str, pa.DataType]:
        return {"twice": pa.int64()}

    def batch(self, rows: Rows) -> Mapping[str, Any]:
        self.seen(rows)
        return {"twice": [2 * n for n in rows["length"].to_pylist()]}


class Red(Score):
    """Reads pixels."""

    name: str = "red"
    batch_size: int = 4

    def reads(self) -> tuple[str, ...]:
        return ("image",)

    def makes(self) -> dict[str, pa.DataType]:
        return {self.name: pa.uint8(), f"{self.name}_size": pa.list_(pa.float16())}

    def batch(self, rows: Rows) -> Mapping[str, Any]:
        LARGEST[self.name] = max(LARGEST[self.name], len(rows))
        sizes = np.array([image.size for image in rows.images], np.float32)
        return {self.name: [image.getpixel((0, 0))[0] for image in rows.images], f"{self.name}_size": sizes}


class Odd(Score):
    """Returns whatever it is told to."""

    name: str = "odd"
    returns: Any = Field(None, exclude=True)

    def reads(self) -> tuple[str, ...]:
        return ("text",)

    def makes(self) -> dict[str, pa.DataType]:
        return {"x": pa.float32()}

    def batch(self, rows: Rows) -> Mapping[str, Any]:
        return self.returns(len(rows))


def texts(*given: str | None) -> list[dict[str, Any]]:
    return [{"text": text} for text in given]


# ---- computed once ----


def test_a_value_is_never_computed_twice(make_store):
    view = make_store([{"text": f"t{i}"} for i in range(25)])
    for _ in range(3):
        after = annotate(view, [Length(), Twice()], HERE)
    assert set(CALLS.values()) == {1}
    assert len(CALLS) == 50
    assert column(after, "length", "twice") == [(len(f"t{i}"), 2 * len(f"t{i}")) for i in range(25)]
    annotate(View.of(view.store), [Length(batch_size=2)], HERE)
    assert set(CALLS.values()) == {1}, "a table that the manifest knows is found again"


def test_rows_that_are_out_are_skipped_and_computed_when_they_come_in(make_store):
    rows = [{"text": "x" * i, "n": i} for i in range(1, 26)]
    view = make_store(rows)
    few, _ = select(view, Filter(name="few", where="n % 3 = 0"))
    first = annotate(few, [Length(), Twice()], HERE)
    assert column(first, "length") == [i if i % 3 == 0 else None for i in range(1, 26)]
    part = view.store.read_part(first.columns["length"], 0)
    assert part["length_status"].to_pylist() == ["ok" if i % 3 == 0 else "skipped" for i in range(1, 11)]
    assert {text for _, text in CALLS} == {"x" * i for i in range(3, 26, 3)}
    later = annotate(view, [Length(), Twice()], HERE)
    assert later.columns == first.columns
    assert set(CALLS.values()) == {1}
    other = annotate(make_store(rows), [Length(), Twice()], HERE)
    for folder in ("length", "twice"):
        for shard in range(3):
            mine, theirs = (v.store.read_part(v.columns[folder], shard) for v in (later, other))
            assert mine.equals(theirs)


def test_appended_rows_alone_are_computed(make_store):
    view = annotate(make_store(texts("a", "bb"), 2), [Length()], HERE)
    more = make_store(texts("ccc", "dddd", "e"), 2, root=view.store.url)
    after = annotate(more, [Length()], HERE)
    assert column(after, "length") == [1, 2, 3, 4, 1]
    assert set(CALLS.values()) == {1}


def test_a_part_names_the_records_that_were_read(make_store, monkeypatch):
    view = make_store([{"text": f"t{i}"} for i in range(30)])
    opened, opens = [], type(view.store).opened

    def counted(self, name):
        opened.append(name)
        return opens(self, name)

    with monkeypatch.context() as patch:
        patch.setattr(type(view.store), "opened", counted)
        after = annotate(view, [Length()], HERE)
    assert opened.count("records/00000.parquet") == 2, "to see which rows are in, and to read them"
    for shard in view.store.shard_rows():
        part = view.store.read_part(after.columns["length"], shard)
        assert rows_of(part.schema) == view.store.rows_digest(shard) != ""


def test_a_stopped_pass_goes_on_where_it_was(make_store, monkeypatch):
    view = make_store([{"text": f"t{i}"} for i in range(30)])
    write_part, left = type(view.store).write_part, [3]

    def stop(self, *arguments, **more):
        left[0] -= 1
        if left[0] < 0:
            raise KeyboardInterrupt
        return write_part(self, *arguments, **more)

    with monkeypatch.context() as patch:
        patch.setattr(type(view.store), "write_part", stop)
        with pytest.raises(KeyboardInterrupt):
            annotate(view, [Length(), Twice()], HERE)
    assert "length" not in view.store.manifest().current, "a table that is not complete has no name yet"
    after = annotate(view, [Length(), Twice()], HERE)
    assert column(after, "twice") == [2 * len(f"t{i}") for i in range(30)]
    again = [key for key, calls in CALLS.items() if calls > 1]
    assert {table for table, _ in again} == {"twice"}, "only the part that was not written is made again"
    assert len(again) == 10


def test_another_version_is_another_table(make_store, monkeypatch):
    view = make_store(texts("a", "bb"))
    first = annotate(view, [Length()], HERE)
    monkeypatch.setattr(Length, "version", 2)
    second = annotate(view, [Length()], HERE)
    assert first.columns["length"] != second.columns["length"]
    assert set(CALLS.values()) == {2}
    assert View.of(view.store).columns["length"] == second.columns["length"]


def test_filled_for_more_rows_the_old_verdicts_are_not_reused(make_store):
    """A filter over rows that had no value yet is another one once they have."""
    view = make_store([{"text": "x" * i, "n": i} for i in range(1, 11)])
    few, _ = select(view, Filter(name="few", where="n > 5"))
    annotate(few, [Length()], HERE)
    rule = Filter(name="long", where="length >= 3")
    whole = View.of(view.store)
    early, counts = select(whole, rule)
    assert counts["kept"] == 5
    within = select(View.of(view.store, "keep_few"), rule)[0]
    annotate(whole, [Length()], HERE)
    late, counts = select(View.of(view.store), rule)
    assert counts == {"entered": 10, "kept": 8, "dropped": {"fails: length >= 3": 2}}
    assert early.keep != late.keep
    assert select(View.of(view.store, "keep_few"), rule)[0].keep == within.keep, "what was complete is reused"


# ---- what a row lacks ----


def test_null_is_read_as_null_with_the_reason(make_store):
    view = annotate(make_store(texts("a", None, "")), [Length(), Twice()], HERE)
    assert column(view, "length", "twice") == [(1, 2), (None, None), (0, 0)]
    assert view.store["length"].collect()["length_status"].to_list() == ["ok", "no_text", "ok"]
    assert view.store["twice"].collect()["twice_status"].to_list() == ["ok", "no_length", "ok"]


def test_one_bad_row_costs_that_row(make_store):
    view = make_store([{"text": f"t{i}"} for i in range(10)], 5)
    after = annotate(view, [Length(bad=("t3", "t4")), Twice()], HERE)
    assert column(after, "length") == [2, 2, 2, None, None, 2, 2, 2, 2, 2]
    status = after.store["length"].collect()["length_status"].to_list()
    assert status[3].startswith("error: ValueError: cannot do 't3' (test_annotate.py, line ")
    assert Counter(status) == {"ok": 8, status[3]: 1, status[4]: 1}
    assert after.store["twice"].collect()["twice_status"].to_list()[2:5] == ["ok", "no_length", "no_length"]


@pytest.mark.parametrize(
    ("returns", "error"),
    [
        (lambda n: {"x": [1.0] * (n + 1)}, "column 'x' has 4 values for 3 rows"),
        (lambda n: {"x": [1.0]}, "column 'x' has 1 value for 3 rows"),
        (lambda n: {"x": []}, "column 'x' has 0 values for 3 rows"),
        (lambda n: {"x": np.zeros(n + 1)}, "column 'x' has 4 values for 3 rows"),
        (lambda n: {"x": 1.5}, "column 'x' is a float, expected one value for each of 3 rows, in their order"),
        (lambda n: {"x": np.float32(1.5)}, "column 'x' is a float32, expected one value for each of 3 rows"),
        (lambda n: {"x": "abc"}, "column 'x' is a str, expected one value for each of 3 rows"),
        (lambda n: {"x": {0: 1.0, 1: 2.0, 2: 3.0}}, "column 'x' is a dict, expected one value for each of 3 rows"),
        (lambda n: {"x": (1.0 for _ in range(n))}, "column 'x' is a generator, expected one value for each of 3 rows"),
        (lambda n: {"y": [1.0] * n}, "`batch` returned no column 'x'; it returned: y"),
        (lambda n: {"x": [1.0] * n, "status": ["ok"] * (n + 1)}, "`status` has 4 values for 3 rows"),
        (lambda n: {"x": [1.0] * n, "status": "ok"}, "`status` is a str"),
        (lambda n: None, "`batch` must return columns by name, it returned NoneType"),
    ],
)
def test_an_op_that_breaks_its_contract_stops_at_the_first_batch(make_store, returns, error):
    calls = []

    def counted(n: int) -> Any:
        calls.append(n)
        return returns(n)

    with pytest.raises(OpFault) as caught:
        annotate(make_store(3), [Odd(returns=counted)], HERE)
    assert str(caught.value).startswith("test_annotate:Odd: " + error)
    assert calls == [3]


def test_values_of_the_wrong_type_cost_their_rows(make_store):
    view = annotate(make_store(3), [Odd(returns=lambda n: {"x": ["word"] * n})], HERE)
    assert column(view, "x") == [None] * 3
    for status in view.store["odd"].collect()["odd_status"]:
        assert status.startswith("error: ArrowInvalid")


def test_an_op_that_fails_for_every_row_stops_with_the_line_of_its_author(make_store):
    def returns(n: int) -> Any:
        return {"x": undefined_name}  # noqa: F821

    with pytest.raises(OpFault) as caught:
        annotate(make_store(20), [Odd(returns=returns)], HERE)
    assert str(caught.value).startswith(
        "test_annotate:Odd: all 10 rows of a batch failed: NameError: name 'undefined_name' is not defined "
        "(test_annotate.py, line "
    )
    assert 'in returns: return {"x": undefined_name}' in str(caught.value)


def test_a_value_of_the_wrong_type_costs_its_row(make_store):
    def returns(n: int) -> dict[str, Any]:
        return {"x": [1.0] * (n - 1) + ["word"]} if n > 1 else {"x": [2.0]}

    view = annotate(make_store(3), [Odd(returns=returns)], HERE)
    assert column(view, "x") == [2.0] * 3


def test_an_op_may_say_why_there_is_no_value(make_store):
    def returns(n: int) -> dict[str, Any]:
        return {"x": [None] + [1.0] * (n - 1), "status": ["empty", None, "skipped"][:n]}

    view = annotate(make_store(3), [Odd(returns=returns)], HERE)
    assert column(view, "x") == [None, 1.0, 1.0]
    assert view.store["odd"].collect()["odd_status"].to_list() == ["empty", "ok", "skipped"]


def test_no_rows_are_in(make_store):
    view = make_store(12, images=[picture(i) for i in range(12)])
    none, _ = select(view, Filter(name="none", where="text = 'nothing'"))
    after = annotate(none, [Length(), Twice(), Red()], HERE)
    assert column(after, "length", "twice", "red") == [(None, None, None)] * 12
    assert not CALLS
    assert set(after.store["red"].collect()["red_status"]) == {"skipped"}


# ---- order of ops ----


def test_a_column_made_earlier_in_the_pass_and_one_already_complete(make_store):
    rows = [{"text": "x" * i, "n": i} for i in range(1, 13)]
    together = annotate(make_store(rows, 5), [Length(), Twice()], HERE)
    view = make_store(rows, 5)
    one = annotate(view, [Length()], HERE)
    two = annotate(one, [Length(), Twice()], HERE)
    assert column(two, "twice") == column(together, "twice") == [2 * i for i in range(1, 13)]
    few, _ = select(make_store(rows, 5), Filter(name="few", where="n > 6"))
    some = annotate(few, [Length()], HERE)
    rest = annotate(View.of(few.store), [Length(), Twice()], HERE)
    assert column(rest, "twice") == [2 * i for i in range(1, 13)]
    assert some.columns["length"] == rest.columns["length"]


def test_a_column_filled_later_reaches_the_op_that_lacked_it(make_store):
    """Twice ran where length was not there yet; when length comes, twice follows, and so does a filter on it."""
    rows = [{"text": "x" * i, "n": i} for i in range(1, 11)]
    few, _ = select(make_store(rows, 4), Filter(name="few", where="n > 6"))
    annotate(few, [Length()], HERE)
    view = View.of(few.store)
    annotate(view, [Twice()], HERE)
    rule = Filter(name="long", where="twice > 2")
    before, _ = select(View.of(few.store), rule)
    after = annotate(View.of(few.store), [Length()], HERE)
    after = annotate(after, [Twice()], HERE)
    assert column(after, "twice") == [2 * i for i in range(1, 11)]
    assert set(CALLS.values()) == {1}
    late, counts = select(View.of(few.store), rule)
    assert (counts["kept"], late.keep != before.keep) == (9, True)


def test_a_column_that_two_tables_make_means_the_one_before(make_store):
    """Between two ops that make the same column, a reader gets the first one's."""
    longer = Length(name="longer")
    view = annotate(make_store(texts("a", "bb")), [Length(), Twice(), longer, Twice(name="twice_longer")], HERE)
    assert column(view, "twice") == [2, 4]
    assert view.columns["length"].startswith("longer-")
    assert view.store["twice_longer"].collect()["twice"].to_list() == [2, 4]


# ---- images ----


@pytest.fixture
def decodes(monkeypatch) -> Counter[bytes]:
    """How often each file was decoded."""
    seen: Counter[bytes] = Counter()
    lock, attempt = threading.Lock(), ahead.attempt

    def counted(data: bytes, **how: bool):
        with lock:
            seen[data] += 1
        return attempt(data, **how)

    monkeypatch.setattr(ahead, "attempt", counted)
    return seen


def test_an_image_is_decoded_once_however_many_ops_read_it(make_store, decodes):
    files = [picture(i) for i in range(23)]
    view = make_store(23, images=files)
    after = annotate(view, [Red(), Length(batch_size=1000), Red(name="red2", batch_size=3), Twice()], HERE)
    assert set(decodes.values()) == {1}
    assert len(decodes) == 23
    assert column(after, "red") == column(after, "red2") == [decoded.decode(f).image.getpixel((0, 0))[0] for f in files]
    assert column(after, "red_size") == [[16.0, 12.0]] * 23
    assert LARGEST == {"red": 4, "red2": 3, "length": 4, "twice": 4}, "no op gets more rows than it asks for"


def test_images_of_rows_that_are_out_or_done_are_not_decoded(make_store, decodes):
    files = [picture(i) for i in range(12)]
    view = make_store([{"n": i} for i in range(12)], images=files)
    few, _ = select(view, Filter(name="few", where="n < 4"))
    annotate(few, [Red()], HERE)
    assert set(decodes) == set(files[:4])
    annotate(view, [Red(), Length()], HERE)
    assert set(decodes.values()) == {1}
    assert set(decodes) == set(files)


def test_a_missing_or_broken_image_has_null_and_a_reason(make_store):
    files = [picture(0), None, picture(2)[:200], b"no image at all", picture(4)]
    view = annotate(make_store(5, images=files), [Red()], HERE)
    reds = column(view, "red")
    assert [red is None for red in reds] == [False, True, True, True, False]
    status = view.store["red"].collect()["red_status"].to_list()
    assert status[1] == status[3] == "no_image"
    assert status[2].startswith("undecodable: ") or status[2] == "no_image"


def test_an_image_that_comes_later_is_looked_at(make_store, decodes):
    """A download tried again: the row that had none gets its value, the others keep theirs."""
    files = [picture(i) for i in range(6)]
    view = make_store(6, images=files)
    store, folder = view.store, view.images
    part = store.read_part(folder, 0)
    status = part.column_names.index("status")
    lost = pa.array(["success"] * 4 + ["timeout"] * 2)
    store.write_part(folder, 0, part.set_column(status, "status", lost))
    first = annotate(view, [Red(), Length()], HERE)
    assert column(first, "red")[4:] == [None, None]
    good = Filter(name="good", where={"no image": "status = 'success'"})
    assert select(view, good)[1]["kept"] == 4

    store.note_change(folder)
    store.write_part(folder, 0, part)
    again = annotate(view, [Red(), Length()], HERE)
    assert None not in column(again, "red")
    assert set(decodes.values()) == {1}
    assert set(CALLS.values()) == {1}
    assert select(view, good)[1]["kept"] == 6


# ---- arrays ----


@pytest.mark.parametrize(
    ("values", "kind", "expected"),
    [
        (np.float32([[0.5, 1], [2, 3]]), pa.list_(pa.float16()), [[0.5, 1], [2, 3]]),
        (np.float16([[0.5, 1], [2, 3]]), pa.list_(pa.float16(), 2), [[0.5, 1], [2, 3]]),
        (np.float64([[0.5, 1]]), pa.large_list(pa.float32()), [[0.5, 1]]),
        (np.zeros((2, 0), np.float32), pa.list_(pa.float16()), [[], []]),
        (np.zeros((0, 3), np.float32), pa.list_(pa.float16()), []),
        (np.asfortranarray(np.float32([[0.5, 1], [2, 3]])), pa.list_(pa.float16()), [[0.5, 1], [2, 3]]),
        ([np.float16([0.5]), None], pa.list_(pa.float16()), [[0.5], None]),
        (np.array([0.5, np.nan], np.float32), pa.float32(), [0.5, None]),
        (np.array([0.5, np.nan]), pa.float16(), [0.5, None]),
        (pa.array([0.5, float("nan"), None]), pa.float32(), [0.5, None, None]),
        (pa.chunked_array([[1], [2]]), pa.int8(), [1, 2]),
        (np.array([True, False]), pa.bool_(), [True, False]),
        (["a", None], pa.large_string(), ["a", None]),
    ],
)
def test_as_array(values, kind, expected):
    array = as_array(values, kind)
    assert array.type == kind
    assert array.to_pylist() == expected


# ---- a real Ray ----


def test_workers_do_as_this_process_does(make_store, ray_cluster):
    rows = [{"text": "word " * (i % 7), "n": i} for i in range(40)]
    files = [picture(i) for i in range(40)]
    here = annotate(make_store(rows, 8, files), [Red(), Length(bad=("word ",)), Twice()], HERE)
    view = make_store(rows, 8, files)
    few, _ = select(view, Filter(name="few", where="n % 2 = 0"))
    annotate(few, [Red(), Length(bad=("word ",))], ray_cluster)
    there = annotate(view, [Red(), Length(bad=("word ",)), Twice()], ray_cluster)
    for name in ("length", "twice", "red"):
        for shard in range(5):
            mine, theirs = (v.store.read_part(v.columns[name], shard) for v in (here, there))
            assert mine.equals(theirs)
    assert Path(view.store.url, there.columns["red"]).is_dir()
    assert load("score.words").table() == "words"


# ---- tables have the names of their ops ----


class OneOp(Length):
    name: str = ""

    def makes(self) -> dict[str, pa.DataType]:
        return {"one": pa.int64()}

    def batch(self, rows: Rows) -> Mapping[str, Any]:
        return {"one": [1] * len(rows)}


class AnotherOp(OneOp):
    def makes(self) -> dict[str, pa.DataType]:
        return {"other": pa.int64()}

    def batch(self, rows: Rows) -> Mapping[str, Any]:
        return {"other": [2] * len(rows)}


def test_two_ops_of_one_module_have_two_tables(make_store):
    view = make_store(3)
    annotate(view, [OneOp()], HERE)
    annotate(view, [AnotherOp()], HERE)
    now = View.of(view.store)
    assert column(now, "one", "other") == [(1, 2)] * 3
    assert {"one_op", "another_op"} <= set(view.store.manifest().current)


def test_a_table_does_not_take_the_name_of_another_ops(make_store):
    view = make_store(3)
    annotate(view, [OneOp(name="mark")], HERE)
    with pytest.raises(CurateError, match=r"test_annotate:AnotherOp: table 'mark' .* is that of test_annotate:OneOp"):
        annotate(view, [AnotherOp(name="mark")], HERE)
    assert column(View.of(view.store), "one") == [1] * 3


# ---- rows without a value are counted ----


def test_rows_without_a_value_are_counted_by_reason_with_an_example(make_store, capsys):
    view = make_store(texts("t0", None, "t2", None, "t4"), 2)
    annotate(view, [Length(bad=("t4",))], HERE)
    entry = view.store.manifest().tables[view.store.manifest().current["length"]]
    remarks = entry.remarks
    assert {kind: about["rows"] for kind, about in remarks.items()} == {"no_text": 2, "error": 1}
    assert remarks["no_text"]["example"] == "shard 0, row 1"
    assert remarks["error"]["example"].startswith("shard 2, row 0: ValueError: cannot do 't4'")
    assert "length: 2 no_text (shard 0, row 1); 1 error (shard 2, row 0: ValueError" in capsys.readouterr().err.replace(
        "\n", " "
    )
