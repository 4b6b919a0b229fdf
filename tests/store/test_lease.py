"""One command at a time changes a store; a dead owner's lease ends; readers never wait."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading

import pytest

from curate.errors import CurateError
from curate.store import lease
from curate.store.folder import Folder
from curate.store.lease import leased
from curate.store.store import DOUBTFUL, Store

pytestmark = pytest.mark.slow

HOLD = """
import sys
from curate.store.lease import leased
from curate.store.store import Store
with leased(Store(sys.argv[1]), "curate run first.yaml"):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture(params=["local", "s3"])
def root(request, tmp_path):
    return f"{request.getfixturevalue('s3')}/leased" if request.param == "s3" else str(tmp_path / "store")


@pytest.fixture
def holder(root):
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, root], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.communicate()


def test_a_second_command_is_refused_with_the_owner(root, holder, monkeypatch):
    monkeypatch.setattr(lease, "BEAT_SECONDS", 0.2)
    if root.startswith("s3"):
        _beat(root)
    with (
        pytest.raises(CurateError, match=rf"being changed by `curate run first.yaml` \(process {holder.pid} on"),
        leased(Store(root), "curate filter", patience_seconds=0.5),
    ):
        pass


def _beat(root):
    """The owner's next beat, sooner than it comes."""
    folder = Folder(root)

    def beat():
        owner = json.loads(folder.read_bytes(lease.NAME))
        folder.write_bytes(lease.NAME, json.dumps({**owner, "beat": owner["beat"] + 1}).encode())

    threading.Timer(1, beat).start()


def test_a_killed_owner_is_followed_at_once(root, holder):
    os.kill(holder.pid, signal.SIGKILL)
    holder.wait()
    with leased(Store(root), "curate run first.yaml", patience_seconds=1):
        pass
    with leased(Store(root), "curate run first.yaml", patience_seconds=0):
        pass


def test_a_command_waits_for_a_short_one(root):
    store, order = Store(root), []

    def first():
        with leased(store, "first"):
            started.set()
            order.append("first")
            ended.wait(0.5)
            order.append("first ends")

    started, ended = threading.Event(), threading.Event()
    thread = threading.Thread(target=first)
    thread.start()
    started.wait()
    with leased(store, "second", patience_seconds=20):
        order.append("second")
    thread.join()
    assert order == ["first", "first ends", "second"]


def test_a_command_made_of_others_holds_it_once(root):
    with leased(Store(root), "run"), leased(Store(root), "annotate"):
        pass
    with leased(Store(root), "run", patience_seconds=0):
        pass


def test_an_owner_elsewhere_that_does_not_beat_is_taken_over(s3, monkeypatch):
    monkeypatch.setattr(lease, "DEAD_AFTER_SECONDS", 0.5)
    store = Store(f"{s3}/elsewhere")
    store.write_bytes(
        lease.NAME, json.dumps({"command": "run", "host": "b", "pid": 1, "since": "", "beat": 3}).encode()
    )
    with leased(store, "curate run"):
        pass
    assert not store.exists(lease.NAME)


def test_who_was_taken_over_does_not_change_the_manifest(s3, monkeypatch):
    monkeypatch.setattr(lease, "BEAT_SECONDS", 0.1)
    store = Store(f"{s3}/late")
    with leased(store, "curate run"):
        store.write_bytes(lease.NAME, json.dumps({"token": "another"}).encode())
        for _ in range(100):
            if store.url in DOUBTFUL:
                break
            threading.Event().wait(0.1)
        with pytest.raises(CurateError, match="another command has taken the lease"):
            store.save(store.manifest())
    assert not DOUBTFUL


def test_a_beat_that_storage_refuses_is_tried_again(s3, monkeypatch):
    """While it is in doubt the manifest is saved only by who can read that the lease is still this process's."""
    monkeypatch.setattr(lease, "BEAT_SECONDS", 0.1)
    store, answers = Store(f"{s3}/doubt"), threading.Event()
    parsed = lease._parsed

    def refusing(folder):
        if answers.is_set():
            return parsed(folder)
        raise OSError(16, "Please reduce your request rate.")

    with leased(store, "curate run"):
        monkeypatch.setattr(lease, "_parsed", refusing)
        until(lambda: store.url in DOUBTFUL)
        with pytest.raises(OSError, match="request rate"):
            store.save(store.manifest())
        answers.set()
        until(lambda: store.url not in DOUBTFUL)
        store.save(store.manifest())
    assert not store.exists(lease.NAME)


def until(true):
    for _ in range(200):
        if true():
            return
        threading.Event().wait(0.1)
    raise AssertionError("never came true")


def test_a_folder_that_cannot_be_written_is_one_sentence(tmp_path):
    (tmp_path / "file").write_text("")
    with (
        pytest.raises(CurateError, match=r"cannot write to .*file/store: Not a directory"),
        leased(Store(str(tmp_path / "file" / "store")), "run"),
    ):
        pass


TORN = """
import os, signal, sys
from curate.store.lease import leased
from curate.store.store import Store
store = Store(sys.argv[1])
with leased(store, "curate run"), store.writing("images-1/00007.tar") as file:
    store.write_bytes("images-1/00006.tar", b"whole")
    file.write(b"half")
    file.flush()
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_unfinished_files_of_a_killed_command_are_removed(tmp_path, capsys):
    store = Store(str(tmp_path / "store"))
    subprocess.run([sys.executable, "-c", TORN, store.url], check=False)
    (tmp_path / "store" / ".manifest.json.x.1.tmp").touch()
    assert len(store.names("images-1")) == 2
    with leased(store, "curate run"):
        assert store.names("images-1") == {"00006.tar"}
    assert "2 unfinished files of a killed command removed" in capsys.readouterr().err.replace("\n", " ")
