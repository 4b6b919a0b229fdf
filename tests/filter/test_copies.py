"""How often a row is taken: copies in keep tables, subset files as filters, and what is said of them."""

from __future__ import annotations

import json
import tarfile
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
import pytest
from conftest import HERE, MakeStore, ledger, picture
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from stopping import stopped_at_part

import curate
from curate.errors import CurateError
from curate.filter.matched import REPEATED, SHARED, UNKNOWN, UNSORTED
from curate.filter.rule import Filter, load_filter
from curate.filter.step import funnel, select
from curate.look.show import print_funnel, print_store
from curate.pipeline.file import load_pipeline
from curate.store.store import Store
from curate.store.view import View
from curate.write.step import WriteOptions, write
from curate.write.subset import subset_rows, write_kept, write_subset


def uid(number: int) -> str:
    return f"{number:032x}"


def counted_rows(numbers: list[int | None]) -> list[dict[str, object]]:
    return [{"uid": uid(i), "k": k} for i, k in enumerate(numbers)]


# ---- a column of copies ----


def test_the_published_example(make_store: MakeStore, tmp_path: Path) -> None:
    """Copies 0, 2, 1: three samples, 16 bytes x 3 in the subset file, sorted."""
    view = make_store(counted_rows([0, 2, 1]), 10, [picture(i) for i in range(3)])
    after, counts = select(view, Filter(name="soft", copies="k"))
    assert counts == {"entered": 3, "kept": 2, "dropped": {"0 copies by k": 1}, "copies": 3}
    assert ledger(after)["copies"].to_list() == [0, 2, 1]
    assert write_kept(after, str(tmp_path / "s.npy")) == 3
    assert np.load(tmp_path / "s.npy").tolist() == [(0, 1), (0, 1), (0, 2)]
    assert (tmp_path / "s.npy").stat().st_size == 128 + 16 * 3
    done = write(after, WriteOptions(to=str(tmp_path / "out")), HERE)
    assert (done["samples"], done["rows"]) == (3, 2)
    with tarfile.open(tmp_path / "out/00000.tar") as tar:
        images = {m.name: tar.extractfile(m).read() for m in tar if m.name.endswith(".jpg")}
    assert list(images) == ["000000000-0.jpg", "000000000-1.jpg", "000000002-0.jpg"]
    assert list(images.values()) == [picture(1), picture(1), picture(2)]
    assert json.loads((tmp_path / "out/sizes.json").read_text()) == {"00000.tar": 3}
    stats = json.loads((tmp_path / "out/00000_stats.json").read_text())
    assert (stats["count"], stats["successes"], stats["rows"]) == (3, 3, 2)
    table = pl.read_parquet(tmp_path / "out/00000.parquet")
    assert table["uid"].to_list() == [uid(1), uid(1), uid(2)]
    assert table["key"].to_list() == ["000000000-0", "000000000-1", "000000002-0"]
    card = (tmp_path / "out/README.md").read_text()
    assert "3 image-caption pairs" in card and "The samples are of 2 rows." in card


def test_a_row_whose_copies_go_into_two_shards(make_store: MakeStore, tmp_path: Path) -> None:
    view = make_store(counted_rows([3, 1, 2]), 2, [picture(i) for i in range(3)])
    after, _ = select(view, Filter(name="soft", copies="k"))
    done = write(after, WriteOptions(to=str(tmp_path / "out"), samples_per_shard=2), HERE)
    assert (done["samples"], done["shards"], done["rows"]) == (6, 3, 3)
    keys = [pl.read_parquet(tmp_path / f"out/0000{n}.parquet")["key"].to_list() for n in range(3)]
    assert keys == [["000000-0", "000000-1"], ["000010-2", "000011-0"], ["000020-0", "000020-1"]]


@pytest.mark.parametrize("form", ["files", "parquet"])
def test_copies_in_the_other_forms(make_store: MakeStore, tmp_path: Path, form: str) -> None:
    view = make_store(counted_rows([2, 1]), 2, [picture(0), picture(1)])
    after, _ = select(view, Filter(name="soft", copies="k"))
    write(after, WriteOptions(to=str(tmp_path / "out"), output_format=form), HERE)
    table = pl.read_parquet(tmp_path / "out/00000.parquet")
    assert table["uid"].to_list() == [uid(0), uid(0), uid(1)]
    if form == "parquet":
        assert table["jpg"].to_list() == [picture(0), picture(0), picture(1)]
    else:
        assert (tmp_path / "out/00000/000000000-1.jpg").read_bytes() == picture(0)


@pytest.mark.parametrize("ending", ["parquet", "csv", "txt"])
def test_lists_have_a_line_for_each_copy(make_store: MakeStore, tmp_path: Path, ending: str) -> None:
    after, _ = select(make_store(counted_rows([2, 0, 1]), 2), Filter(name="soft", copies="k"))
    path = tmp_path / f"a.{ending}"
    assert write_kept(after, str(path)) == 3
    uids = {
        "parquet": lambda: pl.read_parquet(path)["uid"],
        "csv": lambda: pl.read_csv(path, infer_schema=False)["uid"],
    }
    read = uids[ending]().to_list() if ending in uids else path.read_text().split()
    assert read == [uid(0), uid(0), uid(2)]


def test_a_row_without_a_number_of_copies_leaves(make_store: MakeStore) -> None:
    after, counts = select(make_store(counted_rows([None, 2]), 2), Filter(name="soft", copies="k"))
    assert counts == {"entered": 2, "kept": 1, "dropped": {"0 copies by k (no value)": 1}, "copies": 2}
    assert ledger(after)["copies"].to_list() == [0, 2]


def test_later_steps_keep_the_copies_of_rows_that_stay(make_store: MakeStore) -> None:
    rows = [{"uid": uid(i), "k": k, "n": n} for i, (k, n) in enumerate([(3, 1), (2, 2), (0, 3), (5, 4)])]
    first, _ = select(make_store(rows, 3), Filter(name="soft", copies="k"))
    second, counts = select(first, Filter(name="some", where="n != 2"))
    assert counts == {"entered": 3, "kept": 2, "dropped": {"fails: n != 2": 1}, "copies": 8}
    assert ledger(second)["copies"].to_list() == [3, 0, 0, 5]
    third, counts = select(second, Filter(name="again", copies="n"))
    assert (counts["copies"], ledger(third)["copies"].to_list()) == (5, [1, 0, 0, 4])


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (pl.Series([1, -1]), "column 'k' says -1 copies of a row, expected 0 to 65,535"),
        (pl.Series([1, 70_000]), "says 70,000 copies of a row"),
        (pl.Series([0.5, 1.0]), "copies are whole numbers, and 'k' holds Float64"),
        (pl.Series(["1", "2"]), "copies are whole numbers, and 'k' holds String"),
    ],
)
def test_what_is_no_number_of_copies(make_store: MakeStore, values: pl.Series, message: str) -> None:
    view = make_store([{"k": value} for value in values])
    with pytest.raises(CurateError, match=message):
        select(view, Filter(name="soft", copies="k"))


def test_two_that_say_how_often() -> None:
    with pytest.raises(CurateError, match="`subset` and `copies` both say how often"):
        load_filter({"name": "f", "subset": "a.npy", "copies": "k"})


def test_rows_without_copies_are_as_before(make_store: MakeStore) -> None:
    """The bytes of the part, its identity and its entry in the manifest know nothing of copies."""
    view = make_store([{"uid": uid(i), "n": i} for i in range(4)], 4)
    rule = Filter(name="f", where="n > 1", top="n=50%")
    after, counts = select(view, rule)
    assert view.store.read_part(after.keep, 0).column_names == ["verdict"]
    assert counts == {"entered": 4, "kept": 2, "dropped": {"fails: n > 1": 2}}
    top = {"by": "n", "fraction": 0.5, "rows": None, "among": "entering", "ties": "exact"}
    assert rule.spec() == {"version": 2, "where": {"fails: n > 1": "n > 1"}, "top": top, "reason": ""}
    entry = json.loads((Path(view.store.url) / "manifest.json").read_text())["tables"][after.keep]
    assert set(entry) == {"kind", "name", "step", "filter", "columns", "counts", "threshold"}


def test_copies_are_shown(make_store: MakeStore, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    root = make_store(counted_rows([0, 2, 1]), 10, [picture(i) for i in range(3)]).store.url
    result = curate.filter(root, {"copies": "k"}, name="soft")
    assert (result.kept, result.copies) == (2, 3)
    print_funnel(result.funnel)
    said = " ".join(capfd.readouterr().out.split())
    assert "copies 3 how often the kept rows are taken, all together" in said
    assert "2 kept + 1 dropped = 3 in: exact" in said
    written = curate.write(root, "soft", to=str(tmp_path / "out"), workers=0)
    assert (written.samples, written.rows) == (3, 2)
    again = curate.write(root, "soft", to=str(tmp_path / "out"), workers=0)
    assert again == written
    print_funnel(written.funnel, written)
    assert "written: 3 samples of 2 rows in 1 shard" in " ".join(capfd.readouterr().out.split())
    print_store(root)
    assert "filter: copies k" in " ".join(capfd.readouterr().out.split())
    assert "copies <span" in Path(curate.report(root)).read_text()
    assert curate.verify(str(tmp_path / "out")).endswith("all as written")


def test_removed_rows_take_their_copies_along(make_store: MakeStore) -> None:
    root = make_store(counted_rows([3, 2, 0, 1]), 2).store.url
    curate.filter(root, {"copies": "k"}, name="soft")
    curate.remove(root, uids=[uid(0)])
    view = View.of(Store(root), "keep_soft")
    assert funnel(view.store.manifest(), view.keep)[-1] == {
        "step": "soft", "entered": 3, "kept": 2, "dropped": {"0 copies by k": 1}, "copies": 3
    }  # fmt: skip
    assert ledger(view)["copies"].to_list() == [0, 2, 0, 1]


# ---- a subset file ----


def subset_file(path: Path, *uids: str) -> str:
    write_subset([subset_rows(list(uids))], str(path))
    return str(path)


def test_a_subset_keeps_what_it_has(make_store: MakeStore, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Row 1 is there once, row 3 twice, and one uid is of no row."""
    view = make_store([{"uid": uid(i), "n": i} for i in range(5)], 2)
    file = subset_file(tmp_path / "their.npy", uid(3), uid(1), uid(3), uid(9))
    after, counts = select(view, Filter(name="s", where="n < 4", subset=file))
    assert counts["dropped"] == {"not in the subset their.npy": 2, "fails: n < 4": 1}
    assert (counts["kept"], counts["copies"]) == (2, 3)
    assert ledger(after)["copies"].to_list() == [0, 1, 0, 2, 0]
    said = " ".join(capfd.readouterr().err.split())
    assert "s: 1 uid(s) of the subset that are there more than once: copies of their rows; " in said
    assert "1 uid(s) of the subset that the store does not have (their.npy)" in said
    assert write_kept(after, str(tmp_path / "again.npy")) == 3
    assert np.load(tmp_path / "again.npy").tolist() == [(0, 1), (0, 3), (0, 3)]
    select(view, Filter(name="s", where="n < 4", subset=file))
    assert "that the store does not have" in " ".join(capfd.readouterr().err.split()), "said again when it is there"


def test_a_subset_without_repeats_makes_no_copies(make_store: MakeStore, tmp_path: Path) -> None:
    view = make_store([{"uid": uid(i)} for i in range(5)], 2)
    after, counts = select(view, Filter(name="s", subset=subset_file(tmp_path / "a.npy", uid(4), uid(0))))
    assert counts == {"entered": 5, "kept": 2, "dropped": {"not in the subset a.npy": 3}}
    assert view.store.read_part(after.keep, 0).column_names == ["verdict"]


def test_a_subset_is_known_by_what_it_holds(make_store: MakeStore, tmp_path: Path) -> None:
    view = make_store([{"uid": uid(i)} for i in range(5)], 2)
    file = subset_file(tmp_path / "a.npy", uid(4))
    first, _ = select(view, Filter(name="s", subset=file))
    (tmp_path / "b").mkdir()
    moved, _ = select(view, Filter(name="s", subset=subset_file(tmp_path / "b" / "a.npy", uid(4))))
    assert moved.keep == first.keep
    other, counts = select(view, Filter(name="s", subset=subset_file(tmp_path / "a.npy", uid(4), uid(0))))
    assert other.keep != first.keep and counts["kept"] == 2


def test_top_among_the_rows_of_a_subset(make_store: MakeStore, tmp_path: Path) -> None:
    view = make_store([{"uid": uid(i), "n": i} for i in range(6)], 2)
    file = subset_file(tmp_path / "a.npy", uid(0), uid(1), uid(2), uid(3))
    top = {"by": "n", "fraction": 0.5, "among": "passing"}
    after, counts = select(view, load_filter({"name": "s", "subset": file, "top": top}))
    assert ledger(after).filter("kept")["uid"].to_list() == [uid(2), uid(3)]
    assert counts["kept"] == 2


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.integers(0, 12), max_size=12), st.lists(st.integers(0, 15), max_size=20), st.integers(1, 5))
def test_as_counting_does(make_store: MakeStore, tmp_path: Path, rows: list[int], file: list[int], size: int) -> None:
    """Uids that several rows share, uids of no row, files of any order."""
    uids = [uid(n) for n in [*rows, 1]]
    view = make_store([{"uid": name} for name in uids], size)
    path = tmp_path / "any.npy"
    np.save(path, np.array([(0, n) for n in file], "u8,u8"))
    after, counts = select(view, Filter(name="s", subset=str(path)))
    expected = [file.count(int(name, 16)) for name in uids]
    verdicts = ledger(after)
    assert verdicts["kept"].to_list() == [times > 0 for times in expected]
    assert counts.get("copies", counts["kept"]) == sum(expected)
    if "copies" in verdicts.columns:
        assert verdicts["copies"].to_list() == expected
    remarks = {kind: entry["rows"] for kind, entry in view.store.manifest().keep(after.keep).remarks.items()}
    known = [int(name, 16) for name in uids if int(name, 16) in file]
    assert remarks == {
        kind: number
        for kind, number in {
            UNKNOWN: len(set(file) - set(known)),
            REPEATED: sum(file.count(n) > 1 for n in set(file)),
            SHARED: len(known) - len(set(known)),
            UNSORTED: int(file != sorted(file)),
        }.items()
        if number
    }


def test_the_same_bytes_however_it_is_cut(make_store: MakeStore, tmp_path: Path, monkeypatch) -> None:  # type: ignore[no-untyped-def]
    file = subset_file(tmp_path / "a.npy", *(uid(i % 40) for i in range(60)))
    parts = []
    for number in range(2):
        if number:
            monkeypatch.setattr("curate.filter.batches.BATCH_BYTES", 1)
            monkeypatch.setattr("curate.store.subset_file._ROWS", 3)
            from curate.store import subset_file as module

            module._opened.cache_clear()
        view = make_store([{"uid": uid(i)} for i in range(50)], 7)
        after, _ = select(view, Filter(name="s", subset=file))
        parts.append([view.store.read_bytes(view.store.part(after.keep, shard)) for shard in range(8)])
    assert parts[0] == parts[1]


def test_a_stopped_subset_filter_goes_on(make_store: MakeStore, tmp_path: Path) -> None:
    view = make_store([{"uid": uid(i)} for i in range(9)], 2)
    rule = Filter(name="s", subset=subset_file(tmp_path / "a.npy", uid(1), uid(1), uid(8)))
    with stopped_at_part(2):
        select(view, rule)
    after, counts = select(view, rule)
    assert counts == {"entered": 9, "kept": 2, "dropped": {"not in the subset a.npy": 7}, "copies": 3}
    assert ledger(after)["copies"].sum() == 3


def test_on_workers(make_store: MakeStore, tmp_path: Path, ray_cluster, monkeypatch) -> None:  # type: ignore[no-untyped-def]
    file = subset_file(tmp_path / "a.npy", *(uid(i % 40) for i in range(60)))
    here = make_store([{"uid": uid(i)} for i in range(50)], 7)
    there = make_store([{"uid": uid(i)} for i in range(50)], 7)
    monkeypatch.setattr("curate.cluster.many_shards.FEW_SHARDS", 2)
    first, counts = select(here, Filter(name="s", subset=file))
    second, on_workers = select(there, Filter(name="s", subset=file), cluster=ray_cluster)
    assert counts == on_workers and first.keep.partition("-")[0] == second.keep.partition("-")[0]
    assert ledger(first).equals(ledger(second))


def saved(path: Path, array: np.ndarray) -> str:
    np.save(path, array)
    return str(path)


def test_other_forms_of_the_file(make_store: MakeStore, tmp_path: Path) -> None:
    """Big-endian halves, uids as texts, the rows without numpy's head."""
    view = make_store([{"uid": uid(i)} for i in range(5)], 2)
    rows = subset_rows([uid(1), uid(4)])
    (tmp_path / "raw.bin").write_bytes(rows.tobytes())
    files = [
        saved(tmp_path / "big.npy", rows.astype(">u8,>u8")),
        saved(tmp_path / "texts.npy", np.array([uid(4), uid(1).upper()])),
        saved(tmp_path / "bytes.npy", np.array([uid(4).encode(), uid(1).encode()])),
        str(tmp_path / "raw.bin"),
    ]
    for file in files:
        after, _ = select(view, Filter(name="s", subset=file))
        assert ledger(after)["kept"].to_list() == [False, True, False, False, True], file


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "subset: there is no file"),
        (np.zeros((3, 2), "<u8"), r"holds uint64 of shape \(3, 2\): expected a .npy of two uint64 a row"),
        (np.zeros(3, "<u4,<u8"), "expected a .npy of two uint64 a row"),
        (np.zeros(3, "<i8,<i8"), "expected a .npy of two uint64 a row"),
        (np.array([uid(1), "x" * 32]), f"row 1: '{'x' * 32}' is no uid of 32 hex digits"),
        (b"uid\n1\n", "is no .npy: expected"),
        (b"\x93NUMPY\x01\x00", "cannot be read"),
        (b"", "is no .npy"),
    ],
)
def test_files_that_are_none(make_store: MakeStore, tmp_path: Path, content: object, message: str) -> None:
    """One line before any row is looked at, whether a command or a pipeline asks."""
    path = tmp_path / "a.npy"
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif content is not None:
        np.save(path, content)
    view = make_store(3)
    before = view.store.names()
    with pytest.raises(CurateError, match=message):
        curate.filter(view.store.url, subset=str(path))
    assert view.store.names() - {"lease.json"} == before
    job = tmp_path / "job.yaml"
    job.write_text(f"name: job\nsteps:\n- filter: {{name: s, subset: {path}}}\n")
    with pytest.raises(CurateError, match=message):
        load_pipeline(job, {"root": view.store.url})


def test_a_subset_in_a_pipeline_and_a_command(make_store: MakeStore, tmp_path: Path) -> None:
    root = make_store([{"uid": uid(i), "n": i} for i in range(5)], 2).store.url
    file = subset_file(tmp_path / "a.npy", uid(1), uid(1), uid(4))
    job = tmp_path / "job.yaml"
    job.write_text(
        "name: job\nset: {subset: }\nsteps:\n"
        '- filter: {name: s, subset: "${subset}", keep: [{if: n < 4, else: large}]}\n'
    )
    result = curate.run(job, subset=file, root=root, workers=0)
    assert (result.kept, result.funnel[-1]["copies"]) == (1, 2)
    kept = curate.filter(root, {"keep": ["n > 0"]}, subset=file, output=str(tmp_path / "o.npy"))
    assert (kept.kept, kept.copies, kept.written) == (2, 3, 3)


def test_a_shard_of_no_rows_in_a_subset_of_none(make_store: MakeStore, tmp_path: Path) -> None:
    after, counts = select(make_store(3), Filter(name="s", subset=saved(tmp_path / "a.npy", np.zeros(0, "u8,u8"))))
    assert (counts["kept"], after.store.read_part(after.keep, 0)["verdict"].type) == (
        0, pa.dictionary(pa.int32(), pa.string())
    )  # fmt: skip
