"""Rows leave a store: no byte of theirs stays, all others keep theirs, and every sum is exact."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import webdataset
from bytes_on_disk import contents, hashes, leaks
from removal_store import body, pairs, run

from curate import api
from curate.errors import CurateError
from curate.refuse.tombstones import read_tombstones
from curate.store.store import Store
from curate.store.verdict import VERDICT

SHARD = 20


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("removal")
    run(folder, str(folder / "store"))
    return folder / "store"


@pytest.fixture
def root(made, tmp_path) -> str:
    # At the same place below another folder: notes of shards name where they lie.
    shutil.copytree(made, tmp_path / "store")
    for note in (tmp_path / "store" / "write_notes").iterdir():
        note.unlink()
    store = Store(str(tmp_path / "store"))
    manifest = store.manifest()
    for entry in manifest.runs.values():
        entry.written["to"] = entry.written["to"].replace(str(made), store.url)
    store.save(manifest)
    return store.url


def records(root: str) -> pl.DataFrame:
    return Store(root)["records"].collect()


def secrets(rows: pl.DataFrame, numbers: list[int]) -> list[str | bytes]:
    """Urls, captions, columns, uids and images of some rows: of duplicates the caption is another row's, too."""
    known = rows[numbers]
    alone = [t for t in known["text"] if rows["text"].to_list().count(t) == known["text"].to_list().count(t)]
    return [*known["url"], *alone, *known["source"], *known["uid"], *(body(number) for number in numbers)]


def test_the_search_finds_what_is_there(root):
    rows = records(root)
    for secret in secrets(rows, [0]):
        assert leaks(root, [secret]), secret


def test_no_byte_of_the_removed_stays(root):
    rows = records(root)
    gone = [3, 8, 25, 26]
    before = hashes(contents(root))
    removed = api.remove(root, uids=[rows["uid"][number] for number in gone])
    assert removed.rows == len(gone) and removed.version == 1
    assert leaks(root, secrets(rows, gone)) == []
    assert not leaks(root, [rows["uid"][number] for number in gone])
    after = hashes(contents(root))
    # Shards 2 to 4 hold none of them.
    others = [n for n in before if n.rpartition("/")[2] in ("00002.parquet", "00003.parquet", "00004.parquet")]
    same = [n for n in others if before[n] == after[n]]
    assert {n.partition("-")[0] for n in same} >= {"records/00002.parquet", "images", "phash", "words", "keep_long"}
    assert [n for n in others if before[n] != after[n] and not n.startswith(("shards-", "dup_text"))] == []
    assert "all as written" in api.verify(root)


def test_rows_keep_their_places_and_all_is_accounted_for(root):
    rows = records(root)
    gone = [1, 2, 40]
    kept = Store(root)["keep_long"].collect()["kept"]
    api.remove(root, uids=[rows["uid"][number] for number in gone])
    after = records(root)
    assert after.height == rows.height
    assert after.filter(pl.col("uid").is_null()).height == len(gone)
    assert after["uid"].is_null().arg_true().to_list() == gone
    assert after.drop_nulls("uid").equals(rows[[n for n in range(len(rows)) if n not in gone]])
    ledger = Store(root)["keep_long"].collect()
    assert ledger["dropped_by"].cast(str)[gone].to_list() == ["removed"] * 3
    assert ledger["kept"].sum() == kept.sum() - kept[gone].sum()
    images = Store(root)["images"].collect()
    assert images["status"][gone].to_list() == ["removed"] * 3
    words = Store(root)["words"].collect()
    assert words["words"][gone].to_list() == [None] * 3 and words["words_status"][gone].to_list() == ["removed"] * 3
    manifest = Store(root).manifest()
    assert manifest.out == {"removed": 3}
    for entry in manifest.tables.values():
        if hasattr(entry, "counts"):
            assert entry.counts.entered == entry.counts.kept + sum(entry.counts.dropped.values())
    first = manifest.chain(manifest.last_keep())[0]
    assert first.counts.entered + 3 == manifest.rows
    assert manifest.keep(manifest.last_keep()).counts.kept == ledger["kept"].sum()


def test_a_row_that_names_a_removed_one_names_it_no_more(root):
    table = Store(root)["dup_text"].collect()
    pointer = table.filter(pl.col("dup_text_of").is_not_null())["dup_text_of"][0]
    pointing = table.with_row_index().filter(pl.col("dup_text_of") == pointer)["index"].to_list()
    api.remove(root, uids=[pointer])
    after = Store(root)["dup_text"].collect()
    assert after["dup_text_of"][pointing].to_list() == ["removed"] * len(pointing)
    assert leaks(root, [pointer]) == []
    assert "all as written" in api.verify(root)


def shards_of(root: str) -> Path:
    return next(Path(root).glob("shards-*"))


def samples(shards: Path) -> dict[str, bytes]:
    urls = sorted(str(path) for path in shards.glob("*.tar"))
    dataset = webdataset.WebDataset(urls, shardshuffle=False, empty_check=False)
    return {sample["__key__"]: sample["png"] for sample in dataset}


def test_training_shards_lose_the_samples_and_nothing_else(root):
    shards, rows = shards_of(root), records(root)
    before, files = samples(shards), hashes(contents(str(shards)))
    written = pl.read_parquet(shards / "00001.parquet")
    gone, keys = written["uid"][[0, 7]].to_list(), written["key"][[0, 7]].to_list()
    api.remove(root, uids=gone)
    after = samples(shards)
    assert after == {key: data for key, data in before.items() if key not in keys} and list(after) == sorted(after)
    changed = {name for name, digest in hashes(contents(str(shards))).items() if digest != files[name]}
    assert changed == {
        *("00001.tar", "00001.parquet", "00001_stats.json"),
        *("sizes.json", "README.md", "manifest.json"),
    }
    about = json.loads((shards / "manifest.json").read_bytes())
    assert about["samples"] == len(after) == sum(json.loads((shards / "sizes.json").read_bytes()).values())
    assert f"{len(after)} image-caption pairs" in (shards / "README.md").read_text()
    assert "all as written" in api.verify(str(shards))
    assert Store(root).manifest().runs["job"].written["samples"] == len(after)
    assert len(rows) == 90


@pytest.mark.parametrize("output", ["files", "parquet"])
def test_other_outputs_lose_the_samples_too(root, tmp_path, output):
    rows, place = records(root), str(tmp_path / "out")
    job = tmp_path / "write.yaml"
    job.write_text(
        f"set: {{root: {root}}}\nsteps:\n"
        "  - filter: {name: all, keep: [{if: words > 0, else: none}]}\n"
        f"  - write: {{to: {place}, samples_per_shard: 15, output_format: {output}}}\n"
    )
    api.run(job, workers=0)
    table = pl.read_parquet(f"{place}/00001.parquet")
    before = hashes(contents(place))
    api.remove(root, uids=[table["uid"][4]])
    gone = [rows["uid"].to_list().index(table["uid"][4])]
    assert leaks(place, secrets(rows, gone)) == []
    after = hashes(contents(place))
    changed = {name.partition("/")[0] for name in {*before, *after} if before.get(name) != after.get(name)}
    folder = {"00001"} if output == "files" else set()
    assert changed == {"00001.parquet", "00001_stats.json", "sizes.json", "manifest.json"} | folder
    assert pl.read_parquet(f"{place}/00001.parquet").equals(table.filter(pl.col("uid") != table["uid"][4]))
    assert "all as written" in api.verify(place)


def test_writing_again_leaves_shrunk_shards_as_they_are(root, tmp_path):
    shards, rows = shards_of(root), records(root)
    api.remove(root, uids=[rows["uid"][3]])
    before = contents(str(shards))
    written = api.write(root, "long", to=str(shards), samples_per_shard=15, workers=0)
    assert contents(str(shards)) == before
    assert written.samples == len(samples(shards))
    (shards / "00001.tar").unlink()
    with pytest.raises(CurateError, match=r"rows were removed from these shards, and 00001\.tar is missing"):
        api.write(root, "long", to=str(shards), samples_per_shard=15, workers=0)
    fresh = api.write(root, "long", to=str(tmp_path / "fresh"), samples_per_shard=15, workers=0)
    assert fresh.samples == written.samples and leaks(fresh.to, secrets(rows, [3])) == []


def test_a_host_goes_with_the_hosts_below_it(root):
    rows = records(root)
    gone = [n for n in range(len(rows)) if n % 4 == 2]
    removed = api.remove(root, hosts=["C.test"])
    assert removed.rows == len(gone)
    assert leaks(root, [*secrets(rows, gone), "c.test"]) == []


def test_files_by_their_hash_and_urls_in_lists(root, tmp_path):
    rows, images = records(root), Store(root)["images"].collect()
    (tmp_path / "hashes.txt").write_text("# files\n" + "\n".join(images["sha256"][[5, 6]]) + "\n")
    pl.DataFrame({"URL": [rows["url"][7], "http://elsewhere.test/none.png"]}).write_csv(tmp_path / "urls.csv")
    removed = api.remove(root, sha256=str(tmp_path / "hashes.txt"), urls=str(tmp_path / "urls.csv"))
    assert removed.rows == 3
    assert leaks(root, secrets(rows, [5, 6, 7])) == []
    assert leaks(root, images["sha256"][[5, 6, 7]]) == []
    about = json.loads((Path(root) / "removed/00001.json").read_bytes())
    assert about["rules"] == {"url": {"asked": 2, "rows": 1}, "sha256": {"asked": 2, "rows": 2}}


def test_rows_by_a_condition(root):
    rows = records(root)
    removed = api.remove(root, where="url LIKE '%picture-of-001%'")
    gone = list(range(10, 20))
    assert removed.rows == len(gone)
    assert leaks(root, secrets(rows, gone)) == []
    with pytest.raises(CurateError, match="needs column 'no_such'"):
        api.remove(root, where="no_such > 1")


def test_the_certificate_tells_each_file_before_and_after(root):
    before = contents(root)
    rows = records(root)
    removed = api.remove(root, uids=[rows["uid"][0]])
    about = json.loads(Path(removed.certificate).read_bytes())
    after = contents(root)
    changed = {n for n in {*before, *after} if before.get(n) != after.get(n)}
    unlisted = {"manifest.json", "lease.json", "removed/00001.json", "removed/00001.txt", "removed/00001.parquet"}
    assert set(about["files"]) == changed - unlisted
    old, new = hashes(before), hashes(after)
    for name, file in about["files"].items():
        assert (file["before"] or {}).get("sha256") == old.get(name), name
        assert (file["after"] or {}).get("sha256") == new.get(name), name
    assert removed.text == (Path(root) / "removed/00001.txt").read_text()
    assert "1 row removed" in removed.text


def test_the_same_again_does_nothing(root):
    rows = records(root)
    api.remove(root, uids=[rows["uid"][0]])
    before = contents(root)
    again = api.remove(root, uids=[rows["uid"][0]])
    assert (again.rows, again.version) == (0, 0)
    assert contents(root) == before
    with pytest.raises(CurateError, match="name what is to be removed"):
        api.remove(root)


def test_what_was_computed_stays_until_it_is_asked_for(root, tmp_path):
    rows = records(root)
    removed = api.remove(root, uids=[rows["uid"][0]])
    assert "not made anew: dup_text" in removed.text
    folders = {path.name for path in Path(root).iterdir()}
    again = run(tmp_path, root)
    assert {path.name for path in Path(root).iterdir()} - folders <= {"write_notes", "report.html"}
    assert again.written.samples == len(samples(shards_of(root)))
    anew = api.remove(root, uids=[rows["uid"][1]], anew=True)
    assert "made anew by the next run" in anew.text
    run(tmp_path, root)
    assert len(list(Path(root).glob("dup_text-*"))) == 2
    assert "all as written" in api.verify(root)


def test_removed_rows_are_out_of_filters_before_any_other(root, tmp_path):
    rows = records(root)
    api.remove(root, uids=rows["uid"][:10].to_list())
    kept = api.filter(root, where="text IS NULL OR words > 0", name="all", after="none", output=str(tmp_path / "o.npy"))
    assert kept.kept == 80
    removed, step = kept.funnel
    assert removed == {"step": "removed", "entered": 90, "kept": 80, "dropped": {"removed": 10}}
    assert step["entered"] == 80
    assert len(np.load(tmp_path / "o.npy")) == 80
    best = api.filter(root, top="words=50%", name="best", after="none")
    assert best.kept == 40
    assert Store(root).read_part(Store(root).manifest().keeps()["keep_all"], 0).column_names == [VERDICT]


def test_copies_are_told_and_removed_when_asked(tmp_path):
    frame = pairs(30)
    doubled = pl.concat([frame, frame[:2].with_columns(text=pl.lit("a copy with other words entirely"))])
    doubled = doubled.with_columns(pl.Series("url", [*doubled["url"][:30], "http://e.test/1.png", doubled["url"][1]]))
    source = tmp_path / "pairs.parquet"
    doubled.write_parquet(source)
    (tmp_path / "p.yaml").write_text(f"steps:\n  - read: {{input: {source}, rows_per_shard: 20}}\n")
    api.run(tmp_path / "p.yaml", workers=0, set={"root": str(tmp_path / "s")})
    root = str(tmp_path / "s")
    uids = records(root)["uid"]
    removed = api.remove(root, uids=[uids[0]])
    assert "1 other row of the same url or image file stay" in removed.text
    more = api.remove(root, uids=[uids[25], uids[1]], copies=True)
    assert more.rows == 3 and records(root)["uid"].is_null().arg_true().to_list() == [0, 1, 25, 31]
    known = read_tombstones(Store(root)).by({"uid": uids})
    assert np.flatnonzero(known).tolist() == [0, 1, 25, 31]
    assert leaks(root, [body(1)]) == [] and leaks(root, [body(0)]) != []


@pytest.mark.slow
def test_on_object_storage(s3, tmp_path):
    """No object holds them any more; what a bucket with versions keeps is said."""
    root = f"{s3}/store"
    run(tmp_path, root, rows=45)
    rows = records(root)
    gone = [1, 22, 23]
    removed = api.remove(root, uids=rows["uid"][gone].to_list(), hosts=["d.test"])
    gone = sorted({*gone, *range(3, 45, 4)})
    assert removed.rows == len(gone)
    assert leaks(root, secrets(rows, gone)) == []
    assert "old versions of objects, where the bucket keeps some, are not deleted" in removed.text
    assert "all as written" in api.verify(root)
    again = run(tmp_path, root, rows=45)
    assert again.rows == 45 and again.kept == again.written.samples


def test_the_command_line(root, tmp_path, capsys):
    from curate.cli.start import main

    rows = records(root)
    (tmp_path / "uids.txt").write_text("\n".join(rows["uid"][:2]))

    def command(*words: str) -> tuple[int, str]:
        with pytest.MonkeyPatch.context() as patch, pytest.raises(SystemExit) as ended:
            patch.setattr("sys.argv", ["curate", *words])
            main()
        said = capsys.readouterr()
        return int(ended.value.code or 0), (said.out + said.err).replace("\n", " ")

    code, said = command("remove", root, "--uids", str(tmp_path / "uids.txt"), "--host", "www.c.test")
    assert code == 0 and "24 rows removed" in said and "removed/00001.json" in said
    assert "www.c.test" not in said
    code, said = command("show", root)
    assert "90 in: exact" in said and "removed" in said
    code, said = command("remove", root)
    assert code == 1 and "name what is to be removed" in said
