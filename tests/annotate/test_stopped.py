"""Whole-dataset work that is stopped, or killed, at any write: it goes on, and ends with the bytes of an undisturbed
run."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import HERE, MakeStore, column, importable
from stopping import files_written, stopped_at_write
from whole_ops import NUMBERS, Close, Same, Share, close, rows_of, same, shares

from curate.annotate.partitions import Cut
from curate.annotate.step import annotate
from curate.op import Op
from curate.store.store import Store
from curate.store.view import View

pytestmark = pytest.mark.slow

#: 12 partitions of the keys of Close, whose links are merged three times; 5 partitions of groups; 3 runs of shards.
CUT = Cut(rows_per_partition=6, shards_per_run=3, files_per_merge=2)

OPS: dict[str, Op] = {"Same": Same(), "Share": Share(), "Close": Close()}


def files_of(view: View, op: Op) -> dict[str, bytes]:
    folder = Path(view.store.url, view.columns[next(iter(op.makes()))])
    files = [file for file in folder.rglob("*") if file.is_file() and not file.name.endswith(".tmp")]
    return {str(file.relative_to(folder)): file.read_bytes() for file in files}


@pytest.fixture(params=OPS)
def op(request: pytest.FixtureRequest) -> Op:
    return OPS[request.param]


Undisturbed = tuple[dict[str, bytes], int]


@pytest.fixture
def undisturbed(make_store: MakeStore, op: Op) -> Undisturbed:
    """The files of a table that nothing disturbed, and how many files were written on the way."""
    view = make_store(rows_of(NUMBERS), 4)
    with files_written() as names:
        after = annotate(view, [op], HERE, CUT)
    return files_of(after, op), len(names)


def test_stopped_at_any_write(make_store: MakeStore, op: Op, undisturbed: Undisturbed) -> None:
    expected, writes = undisturbed
    for stop in range(0, writes, 1 + writes // 12):
        view = make_store(rows_of(NUMBERS), 4)
        with stopped_at_write(stop):
            annotate(view, [op], HERE, CUT)
        assert files_of(annotate(view, [op], HERE, CUT), op) == expected


@pytest.mark.parametrize("op", ["Same", "Close"], indirect=True)
def test_what_is_done_is_not_done_again(make_store: MakeStore, op: Op) -> None:
    """Both tries together write each file of the work once, save the small ones of a run that was stopped midway."""
    for stop in (3, 9, 17):
        view = make_store(rows_of(NUMBERS), 4)
        with stopped_at_write(stop) as before:
            annotate(view, [op], HERE, CUT)
        with files_written() as after:
            annotate(view, [op], HERE, CUT)
        once = [name for name in before + after if "/.work/" in name and "/keyed/" not in name]
        assert len(once) > 10 and sorted(once) == sorted(set(once))


def test_stopped_when_all_parts_are_there(make_store: MakeStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither the work files nor the manifest's entry are forgotten."""
    view = make_store(rows_of(NUMBERS), 4)
    with monkeypatch.context() as patch:
        patch.setattr(Store, "remove", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt()))
        with pytest.raises(KeyboardInterrupt):
            annotate(view, [Same()], HERE)
    after = annotate(view, [Same()], HERE)
    folder = after.columns["same_size"]
    assert ".work" not in view.store.names(folder)
    entry = view.store.manifest().op_table(folder)
    assert entry and entry.pool == view.pool()


KILLED = """
import os, signal, sys
from conftest import HERE
from curate.annotate.step import annotate
from curate.store.store import Store
from curate.store.view import View
from test_stopped import CUT, OPS

root, allowed = sys.argv[1], int(sys.argv[2])
writing = Store.writing

def killed(self, name):
    global allowed
    allowed -= 1
    if allowed < 0:
        with open(f"{root}/killed", "a") as file:
            file.write("x")
        handle = writing(self, name)
        handle.__enter__().write(b"torn")
        os.kill(os.getpid(), signal.SIGKILL)
    return writing(self, name)

Store.writing = killed
annotate(View.of(Store(root)), [*OPS.values()], HERE, CUT)
"""


def test_killed_again_and_again(make_store: MakeStore) -> None:
    """With SIGKILL in the midst of a file, every 16 files, through one op of each kind."""
    rows = rows_of(NUMBERS)
    undisturbed = annotate(make_store(rows, 4), [*OPS.values()], HERE, CUT)
    root = make_store(rows, 4).store.url
    environment = {**os.environ, "PYTHONPATH": importable()}
    codes: list[int] = []
    while 0 not in codes and len(codes) < 12:
        process = subprocess.run([sys.executable, "-c", KILLED, root, "16"], env=environment, check=False)
        codes.append(process.returncode)
    assert codes == [*[-9] * Path(root, "killed").stat().st_size, 0] and len(codes) > 4
    after = annotate(View.of(Store(root)), [*OPS.values()], HERE, CUT)
    assert column(after, "same_size", "same_first") == same(rows)
    assert column(after, "share") == shares(rows)
    assert column(after, "close_of", "close_size") == close(rows)
    for op in OPS.values():
        assert files_of(after, op) == files_of(undisturbed, op)
