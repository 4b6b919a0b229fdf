"""New rows against old stores: what one run over all rows would say of the new ones, the old ones being first."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from conftest import HERE, MakeStore, column
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from stopping import files_written, stopped_at_write

import curate
from curate.annotate.partitions import USUAL, Cut
from curate.annotate.step import annotate
from curate.catalog import load
from curate.errors import CurateError
from curate.filter.rule import Filter
from curate.filter.step import select
from curate.op import Op
from curate.read.step import ReadOptions, read
from curate.store.manifest import Run
from curate.store.store import Store
from curate.store.view import View

pytestmark = pytest.mark.slow

TYPES = {"uid": pa.string(), "text": pa.string(), "score": pa.float64(), "phash": pa.uint64(), "pdq": pa.binary(32)}
#: Literal colours of two kinds.
RED, BLUE = bytes([200, 0, 0]) * 16, bytes([0, 0, 200]) * 16

_numbers = itertools.count()


def store_of(folder: Path, rows: list[dict[str, Any]], rows_per_shard: int = 3) -> View:
    """A store of literal rows, whose columns have the types of TYPES."""
    name = f"s{next(_numbers)}"
    kinds = TYPES | {"phash_colours": pa.binary(48), "pdq_colours": pa.binary(48)}
    columns = {name: pa.array([row[name] for row in rows], kinds[name]) for name in rows[0]}
    columns |= {"url": pa.array([f"http://x/{row['uid']}" for row in rows])}
    columns = {"text": pa.array(["t"] * len(rows)), **columns}
    pq.write_table(pa.table(columns), folder / f"{name}.parquet")
    options = ReadOptions(input=str(folder / f"{name}.parquet"), rows_per_shard=rows_per_shard)
    return read(Store(str(folder / name)), options, HERE)


def judged(view: View, op: Op, cut: Cut = USUAL) -> list[tuple[Any, ...]]:
    return column(annotate(view, [op], HERE, cut), *op.makes())


def files_of(root: str) -> dict[str, bytes]:
    return {str(file): file.read_bytes() for file in Path(root).rglob("*") if file.is_file()}


def split(rows: list[dict[str, Any]], first: int, second: int) -> list[list[dict[str, Any]]]:
    return [rows[:first], rows[first:second], rows[second:]]


# ---- against one run over all rows ----

CAPTIONS = ["a red stop sign", "A red  stop sign", "a red stop sign!", "cat", "cats", "two cats", "", None]
HASHES = [0, 0b1, 0b111, 0b11111, 2**64 - 1, 2**63, None]
WIDE = [bytes(32), bytes(31) + b"\x07", b"\xff" * 32, None]
OPS = {
    "dedupe.exact": {"by": "text"},
    "dedupe.minhash": {"threshold": 0.7},
    "dedupe.perceptual": {"by": "phash", "radius": 2, "cap": 4},
}
ROW = st.fixed_dictionaries(
    {
        "text": st.sampled_from(CAPTIONS),
        "phash": st.sampled_from(HASHES),
        "phash_colours": st.sampled_from([RED, BLUE]),
    }
)


@pytest.mark.parametrize("name", OPS)
@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=st.lists(ROW, min_size=3, max_size=14), data=st.data())
def test_as_one_run_over_old_and_new_rows(
    tmp_path: Path, name: str, rows: list[dict[str, Any]], data: st.DataObject
) -> None:
    numbers = data.draw(st.permutations(range(len(rows))))
    rows = [{"uid": f"{n:032x}", **row} for n, row in zip(numbers, rows, strict=True)]
    first = data.draw(st.integers(1, len(rows) - 2))
    second = data.draw(st.integers(first + 1, len(rows) - 1))
    cut = Cut(rows_per_partition=data.draw(st.sampled_from([2, 100])), shards_per_run=2, files_per_merge=2)
    parts = split(rows, first, second)
    a, b, new = (store_of(tmp_path, part, data.draw(st.sampled_from([1, 2, 100]))) for part in parts)
    options = {**OPS[name], "keep": "first"}
    everything = judged(store_of(tmp_path, rows), load({name: options}))[second:]
    stores = dict.fromkeys([row["uid"] for row in parts[0]], a.store.url)
    stores |= dict.fromkeys([row["uid"] for row in parts[1]], b.store.url)
    expected = [(of, size, stores.get(of)) for of, size in everything]
    before = files_of(a.store.url) | files_of(b.store.url)
    against = load({name: {**options, "against": [a.store.url, b.store.url]}})
    assert judged(new, against, cut) == expected
    assert files_of(a.store.url) | files_of(b.store.url) == before


def test_256_bits_without_and_with_colours(tmp_path: Path) -> None:
    pictures = [(WIDE[0], RED), (WIDE[2], BLUE), (WIDE[1], RED), (WIDE[1], BLUE), (WIDE[3], RED), (WIDE[2], BLUE)]
    rows = [{"uid": f"{i:032x}", "pdq": pdq, "pdq_colours": tone} for i, (pdq, tone) in enumerate(pictures)]
    old, new = store_of(tmp_path, rows[:2]), store_of(tmp_path, rows[2:])
    options = {"by": "pdq", "against": old.store.url}
    u0, u1 = (row["uid"] for row in rows[:2])
    lone, none = (None, 1, None), (None, None, None)
    seen = judged(new, load({"dedupe.perceptual": options}))
    assert seen == [(u0, 2, old.store.url), lone, none, (u1, 2, old.store.url)]
    blind = judged(new, load({"dedupe.perceptual": {**options, "colours": None}}))
    assert blind == [(u0, 3, old.store.url), (u0, 3, old.store.url), none, (u1, 2, old.store.url)]


U = [f"{i:032x}" for i in range(10)]


@pytest.mark.parametrize(("keep", "old_one"), [("smallest_uid", 1), ("best:score", 3), ("first", 2)])
def test_an_old_row_ranks_before_every_new_one(tmp_path: Path, keep: str, old_one: int) -> None:
    """And among themselves old rows rank as `keep` says."""
    old = [{"uid": U[2], "text": "t", "score": 0.1}, {"uid": U[1], "text": "t", "score": None}]
    more = [{"uid": U[3], "text": "t", "score": 0.2}, {"uid": U[9], "text": "w", "score": 0.0}]
    new = [{"uid": U[0], "text": "t", "score": 9.0}, {"uid": U[5], "text": "v", "score": 1.0}]
    new += [{"uid": U[4], "text": "v", "score": 2.0}]
    a, b, view = (store_of(tmp_path, rows) for rows in (old, more, new))
    op = load({"dedupe.exact": {"by": "text", "keep": keep, "against": [a.store.url, b.store.url]}})
    of, *among_new = judged(view, op)
    assert of == (U[old_one], 4, (b if old_one == 3 else a).store.url)
    assert among_new == ([(None, 2, None), (U[5], 2, None)] if keep == "first" else [(U[4], 2, None), (None, 2, None)])


# ---- which old rows take part ----


def test_rows_that_are_out_at_the_end_of_the_old_store_take_no_part(make_store: MakeStore) -> None:
    old = make_store([{"text": "cat"}, {"text": "dog"}, {"text": "bird"}], 2)
    new = make_store([{"text": "cat"}, {"text": "dog"}, {"text": "fish"}])
    op = load({"dedupe.exact": {"by": "text", "against": old.store.url}})
    uids = column(old, "uid")
    whole, folders = annotate(new, [op], HERE), []
    folders.append(whole.columns["dup_text_of"])
    assert column(whole, "dup_text_of") == [uids[0], uids[1], None]
    select(old, Filter(name="no_dogs", where="text <> 'dog'"))
    few = annotate(new, [op], HERE)
    assert column(few, "dup_text_of", "dup_text_size") == [(uids[0], 2), (None, 1), (None, 1)]
    note = few.store.manifest().op_table(few.columns["dup_text_of"])
    assert note and note.report == {"old_rows": 2, "against": [{"store": old.store.url, "rows": 2}]}
    folders.append(few.columns["dup_text_of"])
    # A run that ended says which rows are in, whatever was filtered after it.
    none, _ = select(old, Filter(name="no_cats", where="text <> 'cat'"))
    manifest = old.store.manifest()
    manifest.note_run("p", Run(keep=none.keep))
    old.store.save(manifest)
    select(old, Filter(name="no_dogs", where="text <> 'dog'"))
    last = annotate(new, [op], HERE)
    assert column(last, "dup_text_of") == [None, uids[1], None]
    assert last.columns["dup_text_of"] not in folders and len(set(folders)) == 2


def test_a_changed_old_store_is_judged_anew_and_an_unchanged_one_is_not(
    make_store: MakeStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    old, new = make_store([{"text": "cat"}]), make_store([{"text": "cat"}, {"text": "dog"}])
    op = load({"dedupe.exact": {"by": "text", "against": old.store.url}})
    first = annotate(new, [op], HERE)
    with monkeypatch.context() as patch:
        patch.setattr(type(op), "keys", None)
        second = annotate(View.of(new.store), [op], HERE)
        assert second.columns["dup_text_of"] == first.columns["dup_text_of"]
    uids = column(make_store([{"text": "dog"}], root=old.store.url), "uid")
    again = annotate(View.of(new.store), [op], HERE)
    assert column(again, "dup_text_of") == uids
    assert again.columns["dup_text_of"] != first.columns["dup_text_of"]


def test_without_it_no_table_has_another_identity() -> None:
    assert load("dedupe.exact").spec()["options"] == {"by": "url", "keep": "smallest_uid"}
    for name in ("dedupe.minhash", "dedupe.perceptual", "dedupe.shared"):
        assert "against" not in load(name).spec()["options"]
        assert load({name: {"against": []}}).spec() == load(name).spec()
        assert load({name: {"against": "a"}}).spec()["options"]["against"] == ["a"]


# ---- faults, before any work ----


@pytest.mark.parametrize(("stores", "fault"), [(["a", "./a/"], "a store is named twice"), ([""], "name the folders")])
def test_wrong_stores(stores: list[str], fault: str) -> None:
    with pytest.raises(CurateError, match=fault):
        load({"dedupe.exact": {"against": stores}})


def test_there_is_no_such_store(tmp_path: Path) -> None:
    op = load({"dedupe.exact": {"against": str(tmp_path / "nowhere")}})
    with pytest.raises(CurateError, match=r"against: '.*nowhere' holds no records: name the root of a store"):
        op.check()


def test_a_store_is_not_old_to_itself(make_store: MakeStore) -> None:
    view = make_store(2)
    with pytest.raises(CurateError, match="is the store itself"):
        annotate(view, [load({"dedupe.exact": {"against": view.store.url}})], HERE)


def test_a_column_of_another_type(make_store: MakeStore) -> None:
    old, new = make_store([{"n": "1"}]), make_store([{"n": 1}])
    with pytest.raises(CurateError, match=r"column 'n' is String in .* and Int64 in .*: values of two types"):
        annotate(new, [load({"dedupe.exact": {"by": "n", "against": old.store.url}})], HERE)


def test_a_column_that_the_old_store_lacks(make_store: MakeStore) -> None:
    old, new = make_store(2), annotate(make_store(2), [load("score.words")], HERE)
    op = load({"dedupe.exact": {"by": "words", "against": old.store.url}})
    with pytest.raises(CurateError, match=r"no column 'words'.*; `curate score .* 'score.words'` makes it"):
        annotate(new, [op], HERE)


def test_a_column_that_was_made_in_another_way(make_store: MakeStore, monkeypatch: pytest.MonkeyPatch) -> None:
    words = load("score.words")
    old = annotate(make_store(2), [words], HERE)
    monkeypatch.setattr(type(words), "version", words.version + 1)
    new = annotate(make_store(2), [words], HERE)
    op = load({"dedupe.exact": {"by": "words", "against": old.store.url}})
    here = words.version
    fault = rf"was made by version {here - 1} of score.words, here it is version {here}: .*`curate score"
    with pytest.raises(CurateError, match=fault):
        annotate(new, [op], HERE)
    annotate(View.of(old.store), [words], HERE)
    assert judged(new, op) == [(min(column(old, "uid")), 4, old.store.url)] * 2


def test_a_column_that_is_not_filled_for_all_rows_that_are_in(make_store: MakeStore) -> None:
    old, words = make_store([{"text": "cat"}, {"text": "a dog"}]), load("score.words")
    few, _ = select(old, Filter(name="few", where="text <> 'cat'"))
    annotate(few, [words], HERE)
    select(old, Filter(name="all", where="text IS NOT NULL"))
    new = annotate(make_store(2), [words], HERE)
    op = load({"dedupe.exact": {"by": "words", "against": old.store.url}})
    with pytest.raises(CurateError, match=r"'words' of .* lacks values of rows that are in; `curate score .* makes it"):
        annotate(new, [op], HERE)
    annotate(View.of(old.store), [words], HERE)
    annotate(new, [op], HERE)


def test_a_store_of_an_earlier_format_or_damaged_or_half_written(make_store: MakeStore) -> None:
    old, new = make_store(6, 2), make_store(2)
    manifest, op = Path(old.store.url, "manifest.json"), load({"dedupe.exact": {"against": old.store.url}})
    data = manifest.read_text()
    manifest.write_text(data.replace('"format": 3', '"format": 2'))
    with pytest.raises(CurateError, match=r"has format 2; this curate reads 3: `curate upgrade .*` converts it"):
        annotate(new, [op], HERE)
    manifest.write_text(data[:-20])
    with pytest.raises(CurateError, match=r"manifest\.json is damaged"):
        annotate(new, [op], HERE)
    manifest.write_text(data)
    part = Path(old.store.url, "records", "00001.parquet")
    whole = part.read_bytes()
    part.write_bytes(whole[:200] + b"?" + whole[201:])
    with pytest.raises(CurateError, match=r"00001\.parquet is damaged"):
        annotate(new, [op], HERE)
    part.unlink()
    with pytest.raises(CurateError, match=r"1 shard of column 'url' of .* are not there: a command that writes them"):
        annotate(new, [op], HERE)


# ---- stopped, and as a step of a pipeline ----


@pytest.mark.parametrize("name", ["dedupe.exact", pytest.param("dedupe.minhash", marks=pytest.mark.soak)])
def test_stopped_at_any_write(make_store: MakeStore, name: str) -> None:
    captions = [{"text": text} for text in CAPTIONS]
    old = make_store(captions, 3)
    op = load({name: {"by": "text", "against": old.store.url}})
    cut = Cut(rows_per_partition=4, shards_per_run=2, files_per_merge=2)

    def table(view: View) -> dict[str, bytes]:
        folder = Path(view.store.url, view.columns[next(iter(op.makes()))])
        return {path.name: path.read_bytes() for path in folder.iterdir() if not path.name.endswith(".tmp")}

    view = make_store(captions, 3)
    with files_written() as names:
        expected = table(annotate(view, [op], HERE, cut))
    assert len(expected) == 3
    for stop in range(0, len(names), 1 + len(names) // 8):
        view = make_store(captions, 3)
        with stopped_at_write(stop):
            annotate(view, [op], HERE, cut)
        assert table(annotate(view, [op], HERE, cut)) == expected


PIPELINE = """
set: {input: , root: }
steps:
  - read: {input: "${input}"}
  - dedupe: [exact: {by: sha256, against: [OLD]}]
"""


def test_a_step_of_a_pipeline(make_store: MakeStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    make_store([{"sha256": "00"}, {"sha256": "01"}], root="OLD")
    files = ["01", "02", "02"]
    new = [{"uid": U[i], "url": f"http://n/{i}", "text": "t", "sha256": file} for i, file in enumerate(files)]
    pq.write_table(pa.Table.from_pylist(new), tmp_path / "new.parquet")
    Path("job.yaml").write_text(PIPELINE)
    options = {"input": "new.parquet", "root": "NEW"}
    assert curate.check("job.yaml", set=options)
    curate.run("job.yaml", set=options, workers=0)
    dataset = curate.open("NEW")
    reasons = ["the same image file (old store)", None, "the same image file"]
    assert dataset.ledger().collect()["reason"].to_list() == reasons
    assert dataset.table("dup_sha256_store").collect()["dup_sha256_store"].to_list() == ["OLD", None, None]


def test_a_pipeline_is_refused_before_any_work(
    make_store: MakeStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    pq.write_table(pa.Table.from_pylist([{"url": "http://n/0", "text": "t", "sha256": "0"}]), tmp_path / "new.parquet")
    Path("job.yaml").write_text(PIPELINE)
    with pytest.raises(CurateError, match="against: 'OLD' holds no records"):
        curate.run("job.yaml", set={"input": "new.parquet", "root": "NEW"}, workers=0)
    with pytest.raises(CurateError, match="against: 'OLD' is the store itself"):
        curate.run("job.yaml", set={"input": "new.parquet", "root": str(tmp_path / "OLD")}, workers=0)
    make_store(1, root="OLD")
    with pytest.raises(CurateError, match=r"dedupe\.exact: OLD: no column 'sha256'"):
        curate.run("job.yaml", set={"input": "new.parquet", "root": "NEW"}, workers=0)
    assert not Path("NEW").exists()
