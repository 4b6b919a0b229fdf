"""Rows near those of an old store, by dedupe.decontaminate: of an evaluation set, or of rows that are held out."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from conftest import HERE, MakeStore, column
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import curate
from curate.annotate.step import annotate
from curate.catalog import load
from curate.cluster.cluster import Cluster
from curate.errors import CurateError
from curate.filter.rule import Filter
from curate.filter.step import select
from curate.function import score_function
from curate.op import Op
from curate.store.view import View

pytestmark = pytest.mark.slow

#: A hash far from small numbers.
FAR = 2**63 - 1


def judged(view: View, op: Op) -> list[tuple[Any, ...]]:
    return column(annotate(view, [op], HERE), *op.makes())


def degrees(*angles: float | None) -> list[dict[str, Any]]:
    turned = [None if a is None else [float(np.cos(np.radians(a))), float(np.sin(np.radians(a)))] for a in angles]
    return [{"v": vector} for vector in turned]


def test_the_nearest_row_and_its_store_are_named(make_store: MakeStore) -> None:
    a, b = make_store(degrees(0, 90, None), 2), make_store(degrees(180))
    new = make_store(degrees(10, 84, 179, 45, None), 2)
    op = load({"dedupe.decontaminate": {"by": "v", "threshold": 0.9, "against": [a.store.url, b.store.url]}})
    near, match, _, store = zip(*judged(new, op), strict=True)
    first, second, _ = column(a, "uid")
    assert near == (True, True, True, False, None)
    assert match == (first, second, column(b, "uid")[0], None, None)
    assert store == (a.store.url, a.store.url, b.store.url, None, None)
    note = new.store.manifest().op_table(new.store.manifest().current["near_eval"])
    assert note and note.report["evaluation_images"] == 3 and note.report["rows_near"] == 3
    assert {met["store"] for met in note.report["met"]} == {a.store.url, b.store.url}


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(st.sampled_from([*range(0, 40), None]), min_size=1, max_size=8),
    st.lists(st.sampled_from([*range(0, 40), None]), min_size=1, max_size=8),
    st.integers(0, 3),
)
def test_hashes_as_a_plain_loop_has_them(
    make_store: MakeStore, old: list[int | None], new: list[int | None], radius: int
) -> None:
    a, view = (make_store([{"phash": h} for h in hashes] + [{"phash": FAR}], 3) for hashes in (old, new))
    op = load({"dedupe.decontaminate": {"by": "phash", "radius": radius, "against": a.store.url}})
    uids = column(a, "uid")
    for h, (near, match, bits, store) in zip([*new, FAR], judged(view, op), strict=True):
        if h is None:
            assert (near, match, bits, store) == (None, None, None, None)
            continue
        far = [((h ^ o).bit_count(), i) for i, o in enumerate([*old, FAR]) if o is not None]
        least, place = min(far)
        assert (near, bits) == (least <= radius, least)
        assert (match, store) == ((uids[place], a.store.url) if near else (None, None))


def test_only_rows_that_are_in_at_its_end_are_the_set(make_store: MakeStore) -> None:
    old, new = make_store([{"phash": 0, "file": "a.jpg"}, {"phash": 255, "file": "b.jpg"}]), make_store([{"phash": 0}])
    op = load({"dedupe.decontaminate": {"by": "phash", "radius": 0, "names": "file", "against": old.store.url}})
    assert judged(new, op) == [(True, "a.jpg", 0, old.store.url)]
    select(old, Filter(name="some", where="phash > 0"))
    assert judged(new, op) == [(False, None, 8, None)]
    assert len([name for name in os.listdir(new.store.url) if name.startswith("near_eval")]) == 2
    select(old, Filter(name="none", where="phash > 999"))
    with pytest.raises(CurateError, match="is empty"):
        annotate(new, [op], HERE)


@score_function(reads="text", makes={"v": pa.list_(pa.float32())})
def turned(text, by: float = 1.0):  # type: ignore[no-untyped-def]
    """A vector of the length of the caption."""
    return [[float(len(caption)), by] for caption in text]


def test_what_another_model_made_is_refused(make_store: MakeStore) -> None:
    old = annotate(make_store(2), [turned(by=2.0)], HERE)
    new = annotate(make_store(2), [turned()], HERE)
    op = load({"dedupe.decontaminate": {"by": "v", "threshold": 0.5, "against": old.store.url}})
    with pytest.raises(CurateError, match=r"was made by .*turned with \{by: 2.0\}, here it is \{by: 1.0\}"):
        annotate(new, [op], HERE)
    annotate(View.of(old.store), [turned()], HERE)
    assert [near for near, *_ in judged(new, op)] == [True, True]


def test_vectors_of_two_lengths(make_store: MakeStore) -> None:
    a, b = make_store([{"v": [1.0, 0.0]}]), make_store([{"v": [1.0]}])
    op = load({"dedupe.decontaminate": {"by": "v", "threshold": 0.5, "against": [a.store.url, b.store.url]}})
    with pytest.raises(CurateError, match="'v' of old stores has values of 1 and 2 numbers"):
        annotate(make_store([{"v": [1.0, 0.0]}]), [op], HERE)


def test_wrong_options(make_store: MakeStore, tmp_path: Path) -> None:
    view = make_store([{"phash": 0}])
    options = {"by": "phash", "radius": 0}
    np.save(tmp_path / "eval.npy", np.array([1], np.uint64))
    with pytest.raises(CurateError, match=r"eval\.npy' is no store: several are stores; a file"):
        load({"dedupe.decontaminate": {**options, "against": [view.store.url, str(tmp_path / "eval.npy")]}})
    with pytest.raises(CurateError, match="a store is named twice"):
        load({"dedupe.decontaminate": {**options, "against": [view.store.url, view.store.url + "/"]}})
    with pytest.raises(CurateError, match="name an evaluation set"):
        load({"dedupe.decontaminate": {**options, "against": []}})
    with pytest.raises(CurateError, match="is the store itself"):
        annotate(view, [load({"dedupe.decontaminate": {**options, "against": view.store.url}})], HERE)
    with pytest.raises(CurateError, match="`made_by` goes with a file or a folder"):
        load({"dedupe.decontaminate": {**options, "against": view.store.url, "made_by": "score.pdq"}}).check()
    lacking = make_store(1)
    with pytest.raises(CurateError, match="no column 'phash'"):
        annotate(view, [load({"dedupe.decontaminate": {**options, "against": lacking.store.url}})], HERE)


def test_a_file_has_the_identity_that_it_had_before_there_were_stores(tmp_path: Path) -> None:
    np.save(tmp_path / "eval.npy", np.array([1], np.uint64))
    op = load({"dedupe.decontaminate": {"by": "phash", "radius": 0, "against": str(tmp_path / "eval.npy")}})
    assert op.spec()["options"]["against"] == str(tmp_path / "eval.npy")
    assert list(op.makes()) == ["near_eval", "eval_match", "eval_closeness"]


PIPELINE = """
set: {root: }
steps:
  - dedupe: [decontaminate: {by: phash, radius: 2, against: EVAL}]
"""


def test_a_step_of_a_pipeline(make_store: MakeStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    make_store([{"phash": 0}], root="EVAL")
    make_store([{"phash": h} for h in (1, 255, 0, 2**62)], 1, root="NEW")
    Path("job.yaml").write_text(PIPELINE)
    assert curate.check("job.yaml", set={"root": "NEW"})
    curate.run("job.yaml", set={"root": "NEW"}, workers=0)
    reason = "near an image of an old store"
    assert curate.open("NEW").ledger().collect()["reason"].to_list() == [reason, None, reason, reason]


def test_workers_do_as_this_process_does(
    make_store: MakeStore, ray_cluster: Cluster, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    make_store([{"phash": 0}], root="EVAL")
    files = []
    for cluster in (HERE, ray_cluster):
        view = make_store([{"phash": h} for h in (1, 255, 0, 2**62)], 1)
        op = load({"dedupe.decontaminate": {"by": "phash", "radius": 2, "against": "EVAL"}})
        folder = annotate(view, [op], cluster).columns["near_eval"]
        files.append([part.read_bytes() for part in sorted(Path(view.store.url, folder).glob("*.parquet"))])
    assert files[0] == files[1] and len(files[0]) == 4
