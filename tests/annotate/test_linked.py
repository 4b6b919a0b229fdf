import itertools
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
import pytest
from conftest import HERE, importable
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from curate.alike.keeper import keepers
from curate.annotate import link_tasks, linked, partitions, whole
from curate.annotate.linked import run_linked
from curate.annotate.step import annotate
from curate.annotate.tables import folder_for
from curate.errors import CurateError
from curate.op import Linked
from curate.store.store import Store
from curate.store.view import View


class Close(Linked):
    """Links numbers that differ by 1 or less; closeness 1 for equal ones. Fails on request."""

    def makes(self):
        return {"close_of": pa.string(), "close_size": pa.uint32()}

    def reads(self):
        return ("number", "uid")

    def compares(self):
        return ("number",)

    def bands(self):
        return 2

    def keys(self, rows):
        numbers = np.asarray(rows["number"].fill_null(0), np.int64)
        null = rows["number"].is_null().to_numpy(zero_copy_only=False)
        return [pa.array(((numbers + shift) // 2).astype(np.uint64), mask=null) for shift in (0, 1)]

    def links(self, rows):
        found = []
        for _, group in rows.with_row_index("place").group_by("key"):
            pairs = itertools.combinations(group.select("place", "number").rows(), 2)
            found += [(a, b, 1.0 if x == y else 0.5) for (a, x), (b, y) in pairs if abs(x - y) <= 1]
        a, b, closeness = zip(*found, strict=True) if found else ((), (), ())
        return np.array(a, np.int64), np.array(b, np.int64), np.array(closeness)

    def judge(self, rows):
        return keepers(rows, "smallest_uid", *self.makes())


def columns(view, op, cluster=HERE):
    """(verdicts by uid, report)."""
    folder = folder_for(view, op, whole=True)
    report = run_linked(view, op, folder, cluster)
    table = view.store.scan(folder).collect()
    assert not view.store.names(f"{folder}/.work")
    assert table["uid"].to_list() == view.store.scan("records").collect()["uid"].to_list()
    return {uid: rest for uid, *rest in table.rows()}, report


def rows_of(numbers):
    return [{"uid": f"{i:032x}", "number": number} for i, number in enumerate(numbers)]


def expected(numbers, cap=10_000):
    """(number of the row that stays, size) by the book: runs of neighbours; over the cap, equal numbers."""
    found = []
    for i, number in enumerate(numbers):
        if number is None:
            found.append((None, None))
            continue
        group = {number}
        while more := {n for n in numbers if n is not None and min(abs(n - g) for g in group) <= 1} - group:
            group |= more
        members = [j for j, n in enumerate(numbers) if n in group]
        if len(members) > cap:
            members = [j for j, n in enumerate(numbers) if n == number]
        found.append((None if members[0] == i else f"{members[0]:032x}", len(members)))
    return found


NUMBERS = [5, 9, None, 6, 5, 20, 10, 7, 20, None, 30, 11]


@pytest.mark.parametrize("rows_per_shard", [1, 3, 100])
@pytest.mark.parametrize("rows_per_partition", [1, 7, 1000])
def test_whatever_the_shards_and_the_partitions(make_store, monkeypatch, rows_per_shard, rows_per_partition):
    monkeypatch.setattr(partitions, "ROWS_PER_PARTITION", rows_per_partition)
    monkeypatch.setattr(linked, "MERGED", 3)
    monkeypatch.setattr(partitions, "SHARDS_PER_RUN", 2)
    found, report = columns(make_store(rows_of(NUMBERS), rows_per_shard), Close())
    words = ["no_value" if n is None else "ok" for n in NUMBERS]
    assert list(found.values()) == [[*v, w] for v, w in zip(expected(NUMBERS), words, strict=True)]
    assert report == {
        "linked_rows": 9,
        "groups": 3,
        "groups_by_size": {"2": 2, "4": 1},
        "largest": 4,
        "over_cap": 0,
        "over_cap_rows": 0,
    }


def test_a_group_over_the_cap_is_cut_and_reported(make_store):
    found, report = columns(make_store(rows_of(NUMBERS)), Close(cap=3))
    assert [v[:2] for v in found.values()] == [list(v) for v in expected(NUMBERS, 3)]
    assert (report["over_cap"], report["over_cap_rows"], report["largest"]) == (1, 4, 4)


def test_rows_that_are_out_have_no_part(make_store):
    view = make_store(rows_of([1, 2, 3]), 2)
    for shard, kept in enumerate([[True, False], [True]]):
        view.store.write_part("keep", shard, pa.table({"kept": kept}))
    view = view.__class__(view.store, view.columns, keep="keep")
    found, _ = columns(view, Close())
    assert list(found.values()) == [[None, 1, "ok"], [None, None, "skipped"], [None, 1, "ok"]]


def test_no_row_has_a_key(make_store):
    view = make_store([{"uid": "0" * 32, "number": 1}, {"uid": "1" * 32, "number": None}])
    view.store.write_part("keep", 0, pa.table({"kept": [False, True]}))
    found, report = columns(view.__class__(view.store, view.columns, keep="keep"), Close())
    assert list(found.values()) == [[None, None, "skipped"], [None, None, "no_value"]] and report["groups"] == 0


PHASES = ["SpillBands", "LinkPartition", "MergeLinks", "Label", "SpillLabels", "JudgePartition", "CollectVerdicts"]


@pytest.mark.parametrize("phase", PHASES)
def test_goes_on_where_it_was_stopped(make_store, monkeypatch, phase):
    monkeypatch.setattr(linked, "MERGED", 2)
    monkeypatch.setattr(partitions, "ROWS_PER_PARTITION", 4)
    monkeypatch.setattr(partitions, "SHARDS_PER_RUN", 2)
    view, op = make_store(rows_of(NUMBERS), 2), Close()
    work = getattr(link_tasks, phase, None) or getattr(whole, phase)
    call, calls = work.__call__, []

    def failing(self, item):
        calls.append(item)
        if len(calls) == 2 or phase == "Label":
            raise OSError("disk full")
        return call(self, item)

    with monkeypatch.context() as patch:
        patch.setattr(work, "__call__", failing)
        with pytest.raises(CurateError, match="disk full"):
            columns(view, op)
    found, _ = columns(view, op)
    assert [tuple(v[:2]) for v in found.values()] == expected(NUMBERS)


KILLED = """
import os, signal, sys
from conftest import HERE
from curate.annotate import linked, partitions
from curate.annotate.step import annotate
from curate.store.store import Store
from curate.store.view import View
from test_linked import Close

linked.MERGED, partitions.ROWS_PER_PARTITION, partitions.SHARDS_PER_RUN = 2, 4, 2
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
annotate(View.of(Store(root)), [Close()], HERE)
"""


def test_killed_again_and_again_it_ends_as_if_undisturbed(make_store):
    def files(view):
        folder = Path(view.store.url, view.columns["close_of"])
        return {file.name: file.read_bytes() for file in folder.glob("*.parquet")}

    expected = files(annotate(make_store(rows_of(NUMBERS), 2), [Close()], HERE))
    root = make_store(rows_of(NUMBERS), 2).store.url
    environment = {**os.environ, "PYTHONPATH": importable()}
    codes = []
    while 0 not in codes and len(codes) < 8:
        done = subprocess.run([sys.executable, "-c", KILLED, root, "11"], env=environment, check=False)
        codes.append(done.returncode)
    assert codes == [*[-9] * Path(root, "killed").stat().st_size, 0] and len(codes) > 3
    assert files(annotate(View.of(Store(root)), [Close()], HERE)) == expected


@pytest.mark.parametrize("left", [["labels.parquet", "report.json"], ["labels.parquet"], []])
def test_stopped_while_its_work_was_removed(make_store, monkeypatch, left):
    view, op = make_store(rows_of(NUMBERS)), Close()
    found, report = columns(view, op)
    folder = folder_for(view, op, whole=True)
    for name in left:
        view.store.write_json(f"{folder}/.work/{name}", report)
    assert columns(view, op) == (found, report if "report.json" in left else {})


def test_a_wrong_number_of_keys_is_refused(make_store, monkeypatch):
    monkeypatch.setattr(Close, "bands", lambda self: 3)
    with pytest.raises(CurateError, match="gave 2 arrays, expected 3"):
        columns(make_store(rows_of([1, 2])), Close())


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.integers(0, 25) | st.none(), min_size=1, max_size=14), st.sampled_from([2, 4, 100]), st.data())
def test_against_the_book_in_any_order(make_store, numbers, cap, data):
    wanted = {f"{i:032x}": verdict for i, verdict in enumerate(expected(numbers, cap))}
    order = data.draw(st.permutations(range(len(numbers))))
    rows = rows_of(numbers)
    view = make_store(
        pl.DataFrame([rows[i] for i in order], schema={"uid": pl.String, "number": pl.Int64}).to_dicts(),
        data.draw(st.sampled_from([2, 5, 50])),
    )
    if all(n is None for n in numbers):
        return
    found, _ = columns(view, Close(cap=cap))
    assert {uid: tuple(v[:2]) for uid, v in found.items()} == wanted
