"""Matchers kept on a node: what a file gives is what the list gives, and where there is no file nothing is lost."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pytest

from curate.metaclip import kept_matcher as kept
from curate.metaclip.kept_matcher import kept_matcher
from curate.metaclip.matching import Matcher
from curate.metaclip.scripts import ScriptMatcher

ENTRIES = ["red", "car", "red car", "小犬", "a word of more than sixteen bytes"]
TEXTS = pa.array(["a red car, parked", None, "小犬 red", "see: a word of more than sixteen bytes", ""])
MATCHED = {
    Matcher: [[0, 1, 2], None, [0, 3], [4], []],
    ScriptMatcher: [[0, 1, 2], None, [0, 3], [4], []],
}


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(kept, "LEAST_ENTRIES", 1)
    return tmp_path / "curate" / "matchers"


def never() -> list[str]:
    raise AssertionError("the list was read again")


def files(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.matcher*"))


@pytest.mark.parametrize("kind", [Matcher, ScriptMatcher])
def test_a_file_gives_what_the_list_gives(kind: type[Matcher | ScriptMatcher], folder: Path) -> None:
    made = kept_matcher(kind, "one", lambda: ENTRIES)
    read = kept_matcher(kind, "one", never)
    assert type(read) is kind and len(read) == len(ENTRIES)
    assert made.match(TEXTS).to_pylist() == read.match(TEXTS).to_pylist() == MATCHED[kind]
    assert len(files(folder)) == 1


def test_another_list_or_kind_has_another_file(folder: Path) -> None:
    kept_matcher(Matcher, "one", lambda: ["red"])
    other = kept_matcher(Matcher, "two", lambda: ["car"])
    assert other.match(pa.array(["red car"])).to_pylist() == [[0]]
    kept_matcher(ScriptMatcher, "one", lambda: ["red"])
    assert len(files(folder)) == 3


@pytest.mark.parametrize("at", [0, 3, 9, 17, 300, -1])
def test_a_damaged_file_is_made_anew(at: int, folder: Path) -> None:
    kept_matcher(Matcher, "one", lambda: ENTRIES)
    (path,) = files(folder)
    whole = bytearray(path.read_bytes())
    damaged = whole.copy()
    damaged[at] ^= 1
    for content in (damaged, whole[: len(whole) // 2], b""):
        path.write_bytes(content)
        assert kept_matcher(Matcher, "one", lambda: ENTRIES).match(TEXTS).to_pylist() == MATCHED[Matcher]
        assert kept_matcher(Matcher, "one", never).match(TEXTS).to_pylist() == MATCHED[Matcher]


def test_a_file_that_others_may_write_is_not_read(folder: Path) -> None:
    kept_matcher(Matcher, "one", lambda: ["car"])
    (path,) = files(folder)
    path.chmod(0o622)
    assert kept_matcher(Matcher, "one", lambda: ["red"]).match(pa.array(["red"])).to_pylist() == [[0]]


def test_a_small_list_has_no_file(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kept, "LEAST_ENTRIES", len(ENTRIES) + 1)
    kept_matcher(Matcher, "one", lambda: ENTRIES)
    assert files(folder) == []


def test_the_file_that_was_not_used_for_longest_makes_room(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number, version in enumerate(("old", "used", "new")):
        kept_matcher(Matcher, version, lambda: ENTRIES)
        os.utime(next(folder.glob(f"*-{version}-*")), (number, number))
    monkeypatch.setattr(kept, "MOST_BYTES", 3 * max(path.stat().st_size for path in files(folder)))
    kept_matcher(Matcher, "more", lambda: ENTRIES)
    assert [path.name.split("-")[1] for path in files(folder)] == ["more", "new", "used"]


@pytest.mark.parametrize("place", ["file/in/the/way", "relative"])
def test_without_a_folder_each_makes_its_own(place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / place) if place != "relative" else place)
    for _ in range(2):
        assert kept_matcher(Matcher, "one", lambda: ENTRIES).match(TEXTS).to_pylist() == MATCHED[Matcher]


def test_a_list_that_cannot_be_matched_is_told_as_ever(folder: Path) -> None:
    with pytest.raises(ValueError, match="stands twice"):
        kept_matcher(Matcher, "one", lambda: ["a", "a"])
    assert files(folder) == []


#: Arguments: a file in which each that makes the matcher leaves a line; bytes that a file may have.
CODE = """
import resource, signal, sys, time
import pyarrow as pa
from curate.metaclip import kept_matcher as kept
from curate.metaclip.matching import Matcher

kept.LEAST_ENTRIES = 1
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
if sys.argv[2] != "0":
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]),) * 2)

def entries():
    with open(sys.argv[1], "a") as file:
        file.write("made\\n")
    time.sleep(1)
    return ["red", "car"]

print(kept.kept_matcher(Matcher, "one", entries).match(pa.array(["red car"])).to_pylist())
"""


@pytest.mark.slow
def test_of_two_processes_at_once_one_makes_it(folder: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-c", CODE, str(tmp_path / "log"), "0"]
    both = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    assert [process.communicate()[0] for process in both] == ["[[0, 1]]\n"] * 2
    assert (tmp_path / "log").read_text() == "made\n"
    assert len(files(folder)) == 1


@pytest.mark.slow
def test_a_full_disk_costs_the_file_alone(folder: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-c", CODE, str(tmp_path / "log"), "100"]
    for _ in range(2):
        assert subprocess.run(command, capture_output=True, text=True).stdout == "[[0, 1]]\n"
    assert (tmp_path / "log").read_text() == "made\nmade\n"
    assert files(folder) == []
