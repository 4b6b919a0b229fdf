"""A store of format 1, converted: same rows, same scores, same images, and then checked like any other."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import finished_run
import pyarrow.parquet as pq
import pytest
from conftest import HERE, ledger
from earlier_form import keep_tables_to_ledgers

from curate.errors import CurateError
from curate.store.file_list import read_file_list
from curate.store.store import Store
from curate.store.upgrade import upgrade
from curate.store.verify import verify
from curate.store.view import View
from curate.write.step import WriteOptions, write

pytestmark = pytest.mark.slow


def to_format_2(root: Path) -> None:
    """As format 2 was: the files of an input in the manifest, and seconds of every table."""
    manifest = json.loads((root / "manifest.json").read_text())
    del manifest["checksum"]
    for number, group in enumerate(manifest["inputs"]):
        files = read_file_list(Store(str(root)), number)
        group["marks"] = [file.mark for file in files]
        group["files"] = [{"name": f.name, "size": f.size, "rows": f.rows, "ends": f.ends} for f in files]
        del group["files_id"]
    for table in manifest["tables"].values():
        table.setdefault("seconds", 0.0)
    shutil.rmtree(root / "inputs")
    Store(str(root)).write_json("manifest.json", {**manifest, "format": 2})


def to_format_1(root: Path) -> None:
    """As format 1 was: uid in every table, no checksums, keep tables with three columns."""
    keep_tables_to_ledgers(root)
    to_format_2(root)
    manifest = json.loads((root / "manifest.json").read_text())
    del manifest["checksum"]
    (root / "manifest.json").write_text(json.dumps({**manifest, "format": 1}))
    for path in root.glob("*/0*.parquet"):
        if path.parent.name.startswith(("shards-", "robots-")):  # no rows of the store's
            continue
        table = pq.read_table(path, partitioning=None).replace_schema_metadata(None)
        if path.parent.name != "records":
            uid = pq.read_table(root / "records" / path.name, columns=["uid"], partitioning=None)["uid"]
            table = table.add_column(0, "uid", uid)
        if path.parent.name.startswith("images-"):
            table = table.drop_columns("checksum")
        pq.write_table(table, path)


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> Path:
    return Path(finished_run.finish(tmp_path_factory.mktemp("upgraded"), 150))


@pytest.fixture
def old(finished, tmp_path) -> Path:
    root = Path(shutil.copytree(finished, tmp_path / "store"))
    to_format_1(root)
    return root


def test_nothing_but_the_format_changes(finished, old, tmp_path):
    with pytest.raises(CurateError, match="`curate upgrade"):
        View.of(Store(str(old)))
    assert "has format 3 now" in upgrade(str(old))
    views = [View.of(Store(str(root)), "keep_sure") for root in (finished, old)]
    assert ledger(views[0]).equals(ledger(views[1]))
    keeps = [view.store.read_part(view.keep, 0).to_pydict() for view in views]
    assert keeps[0] == keeps[1]
    for view, to in zip(views, ("before", "after"), strict=True):
        write(view, WriteOptions(to=str(tmp_path / to), samples_per_shard=50), HERE)
    for path in sorted((tmp_path / "before").glob("0*")):
        assert path.read_bytes() == (tmp_path / "after" / path.name).read_bytes(), path.name
    shutil.rmtree(next(old.glob("shards-*")))
    verify(str(old))


def test_a_store_of_format_2_gets_its_list_of_files(finished, tmp_path):
    root = Path(shutil.copytree(finished, tmp_path / "store"))
    before = read_file_list(Store(str(root)), 0)
    to_format_2(root)
    with pytest.raises(CurateError, match=r"format 2; this curate reads 3: `curate upgrade"):
        View.of(Store(str(root)))
    assert "has format 3 now: no part had to be converted" in upgrade(str(root))
    assert read_file_list(Store(str(root)), 0) == before
    assert (root / "manifest.json").read_bytes() == (finished / "manifest.json").read_bytes()
    verify(str(root))


def test_keep_tables_of_format_2_are_read_as_they_are(finished, tmp_path):
    root = Path(shutil.copytree(finished, tmp_path / "store"))
    assert keep_tables_to_ledgers(root) == 15
    to_format_2(root)
    assert "has format 3 now: no part had to be converted" in upgrade(str(root))
    views = [View.of(Store(str(store)), "keep_sure") for store in (finished, root)]
    assert ledger(views[0]).equals(ledger(views[1]))
    for view, to in zip(views, ("before", "after"), strict=True):
        write(view, WriteOptions(to=str(tmp_path / to), samples_per_shard=50), HERE)
    for path in sorted((tmp_path / "before").glob("0*")):
        assert path.read_bytes() == (tmp_path / "after" / path.name).read_bytes(), path.name


def test_a_stopped_upgrade_goes_on(old, monkeypatch):
    written, calls = Store.write_part, []

    def stops(self, *arguments):
        calls.append(arguments)
        if len(calls) == 5:
            raise KeyboardInterrupt
        written(self, *arguments)

    with monkeypatch.context() as patch:
        patch.setattr(Store, "write_part", stops)
        with pytest.raises(KeyboardInterrupt):
            upgrade(str(old))
    upgrade(str(old))
    assert "has format 3 already" in upgrade(str(old))
    shutil.rmtree(next(old.glob("shards-*")))
    verify(str(old))


def test_what_is_no_store_is_named(tmp_path):
    with pytest.raises(CurateError, match=r"holds no manifest\.json that can be read"):
        upgrade(str(tmp_path))
    (tmp_path / "manifest.json").write_text("[]")
    with pytest.raises(CurateError, match=r"holds no manifest\.json that can be read"):
        upgrade(str(tmp_path))


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('"words"', '"worts"', "is damaged: ValueError: its checksum is another"),
        ('"format": 2', '"format": 9', "is damaged: ValueError: its checksum is another"),
    ],
)
def test_a_damaged_manifest_is_not_converted(finished, tmp_path, old, new, said):
    root = Path(shutil.copytree(finished, tmp_path / "store"))
    to_format_2(root)
    text = (root / "manifest.json").read_text()
    (root / "manifest.json").write_text(text.replace(old, new, 1))
    with pytest.raises(CurateError, match=said):
        upgrade(str(root))
    assert (root / "manifest.json").read_text() == text.replace(old, new, 1) != text


def test_a_manifest_that_holds_something_unknown_is_named(finished, tmp_path):
    root = Path(shutil.copytree(finished, tmp_path / "store"))
    to_format_2(root)
    manifest = Store(str(root)).read_json("manifest.json")
    manifest["runs"]["job"]["mood"] = "good"
    Store(str(root)).write_json("manifest.json", manifest)
    with pytest.raises(CurateError, match=r"manifest.json cannot be converted: runs.job.mood: Extra inputs"):
        upgrade(str(root))
