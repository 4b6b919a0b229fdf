"""A write step that has ended is not done again: no part is opened, unless anything of it is missing or another."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from conftest import HERE, MakeStore, picture

from curate.errors import CurateError
from curate.filter.rule import Filter
from curate.filter.step import select
from curate.store.store import Store
from curate.store.verify import verify
from curate.store.view import View
from curate.write.step import WriteOptions, write

OPTIONS = WriteOptions(samples_per_shard=4, bytes_per_shard=100_000)


@pytest.fixture
def view(make_store: MakeStore) -> View:
    files = [None if i == 5 else picture(i) for i in range(13)]
    store = make_store([{"n": i, "width": i} for i in range(13)], 5, files)
    return select(store, Filter(name="f", where="n != 3"))[0]


@pytest.fixture
def shut(monkeypatch: pytest.MonkeyPatch):
    """shut(): from now on no part can be opened."""

    def opened(self: Store, name: str):
        raise AssertionError(f"{name} is opened")

    return lambda: monkeypatch.setattr(Store, "opened", opened)


def files(folder: str) -> dict[str, tuple[bytes, int]]:
    return {f.name: (f.read_bytes(), f.stat().st_mtime_ns) for f in Path(folder).iterdir()}


@pytest.mark.parametrize("outside", [False, True])
def test_what_is_written_already_opens_no_part_and_says_the_same(view, tmp_path, shut, capsys, outside):
    options = OPTIONS.model_copy(update={"to": str(tmp_path / "out")}) if outside else OPTIONS
    first = write(view, options, HERE)
    said, before = capsys.readouterr().err, files(first["to"])
    shut()
    assert write(View.of(Store(view.store.url), "keep_f"), options, HERE) == first
    assert (first["samples"], first["shards"], first["without_image"]) == (11, 3, {"no_image": 1})
    assert files(first["to"]) == before, "not one file is written again"
    assert "width_input" not in said and "called <name>_input" in said and said == capsys.readouterr().err


def test_a_store_that_was_moved_is_written_where_it_is_now(view, tmp_path, shut):
    first = write(view, OPTIONS, HERE)
    shutil.move(view.store.url, tmp_path / "moved")
    shut()
    again = write(View.of(Store(str(tmp_path / "moved")), "keep_f"), OPTIONS, HERE)
    assert again == {**first, "to": first["to"].replace(view.store.url, str(tmp_path / "moved"))}


@pytest.mark.parametrize("change", [{"samples_per_shard": 5}, {"columns": ("n",)}, {"leave_out": ("n",)}])
def test_other_options_are_another_note(view, shut, change):
    write(view, OPTIONS, HERE)
    shut()
    with pytest.raises(AssertionError, match="is opened"):
        write(view, OPTIONS.model_copy(update=change), HERE)


def test_other_rows_or_another_version_are_another_note(view, monkeypatch, shut):
    write(view, OPTIONS, HERE)
    other = select(View.of(view.store), Filter(name="g", where="n != 4"))[0]
    shut()
    with pytest.raises(AssertionError, match="is opened"):
        write(other, OPTIONS, HERE)
    monkeypatch.setattr("curate.write.finished.__version__", "another")
    with pytest.raises(AssertionError, match="is opened"):
        write(view, OPTIONS, HERE)


@pytest.mark.parametrize("name", ["00001.tar", "00002_stats.json", "README.md", "sizes.json", "manifest.json"])
def test_a_file_that_is_missing_is_written_again(view, name):
    first = write(view, OPTIONS, HERE)
    before = {name: data for name, (data, _) in files(first["to"]).items()}
    (Path(first["to"]) / name).unlink()
    assert write(view, OPTIONS, HERE) == first
    assert {name: data for name, (data, _) in files(first["to"]).items()} == before


def test_a_card_of_the_users_stays_and_leaves_the_manifest(view):
    out = Path(write(view, OPTIONS, HERE)["to"])
    (out / "README.md").write_text("mine")
    for _ in range(2):
        write(view, OPTIONS, HERE)
        assert (out / "README.md").read_text() == "mine"
        assert "all as written" in verify(str(out))


def test_a_damaged_note_is_told_by_verify_and_made_anew(view, tmp_path):
    first = write(view, OPTIONS, HERE)
    (note,) = (Path(view.store.url) / "write_notes").iterdir()
    data = note.read_bytes()
    assert "all as written" in verify(view.store.url)
    note.write_bytes(data.replace(b'"samples": 11', b'"samples": 12'))
    with pytest.raises(CurateError, match=f"1 faults in .*write_notes/{note.name}: differs"):
        verify(view.store.url)
    assert write(view, OPTIONS, HERE) == first
    assert note.read_bytes() == data
