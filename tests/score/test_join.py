"""Columns of a table from outside: each row's by its uid, url or file hash, as a left join of plain polars has them."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from conftest import HERE, MakeStore, column, picture
from stopping import stopped_at_part

import curate
from curate.annotate.partitions import Cut
from curate.annotate.step import annotate
from curate.catalog import load
from curate.errors import CurateError
from curate.filter.rule import Filter
from curate.filter.step import select
from curate.pipeline.file import load_pipeline
from curate.store.view import View
from curate.write.subset import subset_rows


def uid(number: int) -> str:
    return f"{number:032x}"


def store_of(make_store: MakeStore, numbers: list[int], size: int = 3) -> View:
    return make_store([{"uid": uid(n), "url": f"http://A.example/{n}.jpg"} for n in numbers], size)


def join(**options: Any) -> Any:
    return load({"score.join": options})


def saved(path: Path, **columns: Any) -> str:
    pl.DataFrame(columns).write_parquet(path)
    return str(path)


def test_a_score_file(make_store: MakeStore, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Uid 4 twice (the first counts), 9 of no row, one row without a uid; rows 1 and 3 have no match."""
    uids = [uid(4), uid(0), uid(9), uid(4), uid(2).upper(), None]
    file = saved(tmp_path / "their scores.parquet", uid=uids, url=["u"] * 6, dfn=[0.5, 0.25, 9.0, 0.75, 0.125, 7.0])
    view = annotate(store_of(make_store, [0, 1, 2, 3, 4, 2], 2), [join(table=file)], HERE)
    assert column(view, "dfn") == [0.25, None, 0.125, None, 0.5, 0.125]
    table = view.store["their_scores"].collect()
    assert table["their_scores_status"].to_list() == ["ok", "no_match", "ok", "no_match", "ok", "ok"]
    said = " ".join(capfd.readouterr().err.split())
    for part in (
        "2 row(s) without a match",
        "1 uid(s) of the outside table that no row has",
        "1 uid(s) that the outside table has more than once: the first is taken",
        "1 row(s) of the outside table without a uid",
        "1 column(s) of the outside table left out (url)",
    ):
        assert part in said, said
    report = view.store.manifest().op_table(view.columns["dfn"]).report  # type: ignore[union-attr]
    assert report == {"outside_rows": 6, "matched": 4, "misses": 2}
    assert ".work" not in view.store.names(view.columns["dfn"])


@pytest.mark.parametrize(
    ("per_partition", "size"),
    [
        (4, 7),
        (1000, 7),
        (1000, 200),
        *(
            pytest.param(*few, marks=pytest.mark.soak)
            for few in [(1, 1), (1, 7), (1, 200), (4, 1), (4, 200), (1000, 1)]
        ),
    ],
)
def test_as_a_left_join_does(make_store: MakeStore, tmp_path: Path, per_partition: int, size: int) -> None:
    random = np.random.default_rng(per_partition * size)
    numbers = random.integers(0, 60, 150).tolist()
    theirs = random.integers(20, 90, 200).tolist()
    frame = pl.DataFrame({"uid": [uid(n) for n in theirs], "s": random.random(200), "w": [f"w{n % 7}" for n in theirs]})
    pq.write_table(frame.to_arrow(), tmp_path / "t.parquet", row_group_size=17)
    view = store_of(make_store, numbers, size)
    view = annotate(view, [join(table=str(tmp_path / "t.parquet"))], HERE, Cut(per_partition, shards_per_run=3))
    expected = pl.DataFrame({"uid": [uid(n) for n in numbers]}).join(
        frame.unique("uid", keep="first", maintain_order=True), on="uid", how="left", maintain_order="left"
    )
    assert column(view, "s", "w") == expected.select("s", "w").rows()
    report = view.store.manifest().op_table(view.columns["s"]).report  # type: ignore[union-attr]
    assert report["matched"] == 150 - expected["s"].null_count()


def metadata(folder: Path, numbers: list[int], each: int = 4) -> np.ndarray:
    """A folder as DataComp's: parquets with scores, an .npz of vectors beside each; returns the vectors."""
    folder.mkdir()
    vectors = np.random.default_rng(0).normal(size=(len(numbers), 3)).astype(np.float16)
    for start in range(0, len(numbers), each):
        some = slice(start, start + each)
        stem = folder / f"{start:04d}"
        uids = [uid(n) for n in numbers[some]]
        boxes = [[[0.0, 0.0, 0.5, 0.5]]] * len(uids)
        scores = {"clip_l14_similarity_score": [n / 8 for n in numbers[some]], "face_bboxes": boxes}
        pl.DataFrame({"uid": uids, "text": ["t"] * len(uids), **scores}).write_parquet(f"{stem}.parquet")
        np.savez(f"{stem}.npz", l14_img=vectors[some], l14_txt=-vectors[some])
    return vectors


def test_the_metadata_of_datacomp(make_store: MakeStore, tmp_path: Path) -> None:
    vectors = metadata(tmp_path / "metadata", list(range(10)))
    names = ["clip_l14_similarity_score", "l14_img", "face_bboxes"]
    view = store_of(make_store, [3, 12, 9, 0], 2)
    view = annotate(view, [join(table=str(tmp_path / "metadata"), columns=names)], HERE)
    assert column(view, names[0]) == [0.375, None, 1.125, 0.0]
    assert column(view, "l14_img") == [*(vectors[n].tolist() if n < 10 else None for n in (3, 12, 9, 0))]
    assert view.read(0, ["l14_img"])["l14_img"].type == pa.list_(pa.float16())
    assert column(view, "face_bboxes")[0] == [[0.0, 0.0, 0.5, 0.5]]
    assert view.columns["l14_img"].startswith("metadata-")


def test_other_names_for_columns(make_store: MakeStore, tmp_path: Path) -> None:
    metadata(tmp_path / "metadata", [0, 1])
    op = join(table=[str(tmp_path / "metadata/0000.parquet")], columns={"match": "clip_l14_similarity_score"}, name="m")
    view = annotate(store_of(make_store, [1, 0]), [op], HERE)
    assert column(view, "match") == [0.125, 0.0]
    assert select(view, Filter(name="f", where="match > 0.1"))[1]["kept"] == 1


@pytest.mark.parametrize("keys", ["npy", "texts", "txt", "parquet"])
@pytest.mark.parametrize("arrays", ["npy", "npz"])
def test_arrays_with_a_file_of_keys(make_store: MakeStore, tmp_path: Path, keys: str, arrays: str) -> None:
    numbers = [5, 1, 3]
    values = np.array([0.5, 0.25, 0.125], np.float32)
    file, key_file = tmp_path / f"score.{arrays}", tmp_path / f"keys.{keys.replace('texts', 'npy')}"
    np.save(file, values) if arrays == "npy" else np.savez(file, score=values)
    uids = [uid(n) for n in numbers]
    if keys == "parquet":
        pl.DataFrame({"uid": uids}).write_parquet(key_file)
    elif keys == "txt":
        key_file.write_text("".join(f"{name}\n" for name in uids))
    else:
        np.save(key_file, subset_rows(uids) if keys == "npy" else np.array(uids))
    view = annotate(store_of(make_store, [3, 4, 5]), [join(table=str(file), key_file=str(key_file))], HERE)
    assert column(view, "score") == [0.125, None, 0.5]


def test_by_url(make_store: MakeStore, tmp_path: Path) -> None:
    """URLs are compared as dedupe.exact compares them: a host's case says nothing."""
    file = saved(tmp_path / "t.parquet", image_url=["HTTP://a.EXAMPLE/1.jpg", "http://b.example/"], s=[1, 2])
    view = annotate(store_of(make_store, [0, 1]), [join(table=file, by="url")], HERE)
    assert column(view, "s") == [None, 1]


def test_by_the_hash_of_the_file(make_store: MakeStore, tmp_path: Path) -> None:
    view = make_store([{}, {}], 10, [picture(0), picture(1)])
    sums = column(view, "sha256")
    file = saved(tmp_path / "t.parquet", sha256=[bytes.fromhex(sums[1])], s=[7])
    assert column(annotate(view, [join(table=file, by="sha256")], HERE), "s") == [None, 7]


def test_only_rows_that_are_in(make_store: MakeStore, tmp_path: Path) -> None:
    file = saved(tmp_path / "t.parquet", uid=[uid(n) for n in range(4)], s=[0, 1, 2, 3])
    few, _ = select(store_of(make_store, [0, 1, 2, 3]), Filter(name="few", where=f"uid <> '{uid(2)}'"))
    assert column(annotate(few, [join(table=file)], HERE), "s") == [0, 1, None, 3]


def test_it_is_known_by_what_its_files_hold(make_store: MakeStore, tmp_path: Path) -> None:
    (tmp_path / "b").mkdir()
    first = join(table=saved(tmp_path / "t.parquet", uid=[uid(0)], s=[1]))
    moved = join(table=saved(tmp_path / "b" / "t.parquet", uid=[uid(0)], s=[1]))
    assert first.spec() == moved.spec()
    assert first.spec()["options"] == {"by": "uid", "key": "", "columns": []}
    again = join(table=saved(tmp_path / "t.parquet", uid=[uid(0)], s=[2]))
    assert again.spec() != moved.spec()
    view = annotate(store_of(make_store, [0]), [again], HERE)
    assert column(view, "s") == [2]


@pytest.mark.parametrize("part", [1, 2, 3])
def test_a_stopped_join_goes_on(make_store: MakeStore, tmp_path: Path, part: int) -> None:
    numbers = list(range(9))
    file = saved(tmp_path / "t.parquet", uid=[uid(n) for n in [*numbers[:7], 3]], s=[*numbers[:7], 9])
    view = store_of(make_store, numbers, 2)
    with stopped_at_part(part):
        annotate(view, [join(table=file)], HERE, Cut(4, shards_per_run=1))
    after = annotate(view, [join(table=file)], HERE, Cut(4, shards_per_run=1))
    assert column(after, "s") == [*numbers[:7], None, None]
    table = after.store.manifest().op_table(after.columns["s"])
    assert table and table.report == {"outside_rows": 8, "matched": 7, "misses": 2}


@pytest.mark.slow
def test_the_same_bytes_on_workers(make_store: MakeStore, tmp_path: Path, ray_cluster) -> None:  # type: ignore[no-untyped-def]
    vectors = metadata(tmp_path / "metadata", list(range(30)))
    assert len(vectors) == 30
    parts = []
    for cluster, cut in ((HERE, Cut()), (ray_cluster, Cut(5, shards_per_run=2))):
        op = join(table=str(tmp_path / "metadata"), columns=["l14_txt", "face_bboxes"])
        view = annotate(store_of(make_store, [n * 7 % 41 for n in range(40)], 6), [op], cluster, cut)
        folder = view.columns["l14_txt"]
        parts.append([view.store.read_bytes(view.store.part(folder, shard)) for shard in range(7)])
    assert [len(part) for part in parts[0]] == [len(part) for part in parts[1]]
    assert parts[0] == parts[1]


def test_as_a_command_and_in_a_pipeline(make_store: MakeStore, tmp_path: Path) -> None:
    root = store_of(make_store, [0, 1, 2]).store.url
    file = saved(tmp_path / "mflyt.parquet", uid=[uid(0), uid(2)], score=[0.5, 0.7])
    result = curate.score(root, {"score.join": {"table": file, "by": "uid"}}, workers=0)
    assert [(table.name, table.columns) for table in result.tables] == [("mflyt", ("score",))]
    job = tmp_path / "job.yaml"
    job.write_text(
        "name: job\nset: {scores: }\nsteps:\n"
        '- score: [join: {table: "${scores}", columns: {their: score}, name: theirs}]\n'
        "- filter: {name: best, top: their=1 row}\n"
    )
    assert curate.run(job, scores=file, root=root, workers=0).kept == 1
    assert curate.verify(root).endswith("all as written")
    curate.remove(root, uids=[uid(0)])
    assert curate.verify(root).endswith("all as written")
    assert curate.open(root)["theirs"].collect()["their"].to_list() == [None, None, 0.7]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"table": "none.parquet"}, "there is no file 'none.parquet'"),
        ({"table": "empty"}, "'empty' holds no .parquet"),
        ({"table": "t.csv"}, "'t.csv' is no .parquet, .npz or .npy"),
        ({"table": "bad.parquet"}, "cannot read 'bad.parquet'"),
        ({"table": "t.parquet", "by": "url"}, "no column 'url'"),
        ({"table": "t.parquet", "by": "phash"}, "rows are found by uid, url, sha256"),
        ({"table": "t.parquet", "columns": ["scor"]}, r"no column 'scor' \(did you mean 'score'\?\)"),
        ({"table": "t.parquet", "columns": ["uid"]}, "cannot be called 'uid'.*columns: {their_uid: uid}"),
        ({"table": "bare.parquet"}, "has no column beside 'uid'"),
        ({"table": "no_rows.parquet"}, "has no rows"),
        (
            {"table": ["t.parquet", "other.parquet"]},
            "column 'score' is double in 't.parquet' and large_string in 'other",
        ),
        ({"table": "s.npy"}, "'s.npy' holds no uids: key_file names the file"),
        ({"table": "s.npy", "key_file": "t.parquet"}, "'s.npy' has 3 rows of s, and 't.parquet' has 2"),
        ({"table": "s.npy", "key_file": "s.npy"}, "key_file 's.npy' holds float64"),
        ({"table": "s.npy", "key_file": "none.txt"}, "there is no file 'none.txt'"),
        ({"table": "t.parquet", "colums": ["a"]}, r"no option 'colums' \(did you mean 'columns'\?\); .*table"),
        ({}, "option 'table' is required"),
    ],
)
def test_what_is_refused_before_any_work(
    make_store: MakeStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: dict[str, Any], message: str
) -> None:
    root = store_of(make_store, [0, 1]).store.url
    before = {path for path in Path(root).rglob("*") if path.name != "lease.json"}
    monkeypatch.chdir(tmp_path)
    saved(Path("t.parquet"), uid=[uid(0), uid(1)], score=[0.5, 0.25])
    saved(Path("other.parquet"), uid=[uid(3)], score=["high"])
    saved(Path("bare.parquet"), uid=[uid(3)])
    pl.DataFrame(schema={"uid": str, "s": float}).write_parquet("no_rows.parquet")
    Path("bad.parquet").write_text("no")
    Path("t.csv").write_text("uid,s\n")
    Path("empty").mkdir()
    np.save("s.npy", np.arange(3.0))
    with pytest.raises(CurateError, match=re.sub(r"([{}])", r"\\\1", message)):
        curate.score(root, {"score.join": options}, workers=0)
    Path("job.yaml").write_text(json.dumps({"name": "job", "steps": [{"score": [{"join": options}]}]}))
    with pytest.raises(CurateError, match=re.sub(r"([{}])", r"\\\1", message)):
        load_pipeline("job.yaml", {"root": root})
    assert {path for path in Path(root).rglob("*") if path.name != "lease.json"} == before
