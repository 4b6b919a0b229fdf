"""Whole-dataset ops under any memory limit and with their workers killed: always the same bytes."""

from __future__ import annotations

import hashlib
import os
import random
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pytest
from conftest import HERE, MakeStore, column
from killing import KillingCluster
from stopping import stopped_at_write
from whole_ops import Close, Same, Share, rows_of

from curate.annotate import exchange
from curate.annotate.all_rows import AllRows
from curate.annotate.partitions import USUAL, Cut, forget, partitions_for, planned, rows_that_fit, runs_of
from curate.annotate.step import annotate
from curate.annotate.tables import folder_for
from curate.catalog import find, load, names
from curate.cluster.cluster import Cluster
from curate.cluster.memory import memory_size
from curate.errors import CurateError
from curate.op import Grouped, Linked, Op
from curate.store.spill import by_key, read_spilled, spill, spilled, spilled_rows
from curate.store.store import Store
from curate.store.view import View

pytestmark = pytest.mark.slow

OPS = [name for name in names() if issubclass(find(name), (Grouped, Linked))]
OPTIONS: dict[str, dict[str, Any]] = {
    "balance.cluster_cap": {"by": "vector_cluster", "cap": 9},
    "balance.hierarchical": {"by": ["n", "vector_cluster"], "rows": 99},
    "dedupe.exact": {"by": "url_text", "keep": "largest_image"},
    "dedupe.minhash": {"num_perm": 20},
    "dedupe.semantic": {"by": "vector", "largest": 20},
    "score.backdoor": {"by": "vector", "k": 3, "batch": 40},
    "score.ncl": {"by": "vector", "texts": "vector", "batch": 40, "partitions": 2},
}
ROWS = 240
#: Moments of the kills. With a seed given, every op that ships goes through them, not one of each kind.
SEED = os.environ.get("CURATE_KILL_SEED")


def everything() -> list[dict[str, Any]]:
    """Rows with whatever an op may read, alike and equal ones among them; nulls here and there."""
    draw = random.Random(5)
    words = ["a", "red", "stop", "sign", "near", "the", "old", "stone", "bridge", "at", "night", "with", "snow"]
    rows: list[dict[str, Any]] = []
    for number in range(ROWS):
        row: dict[str, Any] = {"uid": hashlib.md5(str(number).encode()).hexdigest()}
        twin = draw.choice(rows) if number and draw.random() < 0.5 else None
        row["url"] = twin["url"] if twin and draw.random() < 0.5 else f"http://a.example/{number}.jpg"
        row["text"] = twin["text"] if twin else " ".join(draw.choices(words, k=6))
        if draw.random() < 0.3:
            row["text"] += "!"
        row["phash"] = (twin["phash"] or 0) ^ (1 << draw.randrange(62)) if twin else draw.getrandbits(62)
        row["phash_colours"] = twin["phash_colours"] if twin and draw.random() < 0.8 else draw.randbytes(48)
        row["metaclip_p"] = draw.random()
        for name in ("sha256", "pixel_hash"):
            row[name] = twin[name] if twin else f"{number:064x}"
        row["original_width"], row["original_height"] = draw.randrange(99), draw.randrange(99)
        row["n"] = draw.randrange(500)
        row["vector_cluster"], row["vector_cluster_cos"] = number % 9, draw.random()
        row["vector"] = [draw.gauss(0, 1) for _ in range(8)] if twin is None else [v + 0.01 for v in twin["vector"]]
        rows.append(row)
    for number in range(0, ROWS, 50):
        rows[number] |= {"phash": None, "text": None, "url": rows[1]["url"], "sha256": None, "original_width": None}
    return rows


#: A table from outside: of two rows in three, some of them twice, and of rows that there are not.
OUTSIDE = Path(tempfile.mkdtemp()) / "scores.parquet"
THEIR_UIDS = [hashlib.md5(str(number * 3 // 2).encode()).hexdigest() for number in [*range(200), *range(40)]]
pl.DataFrame({"uid": THEIR_UIDS, "s": range(240), "v": [[n / 7, 1.0] for n in range(240)]}).write_parquet(OUTSIDE)
OPTIONS["score.join"] = {"table": str(OUTSIDE)}


#: All memory is for rows, so that a limit cuts them into as many partitions as a test wants.
CUT = Cut(shards_per_run=4, files_per_merge=10, imports=0)


@pytest.fixture
def full(make_store: MakeStore) -> View:
    return make_store(everything(), 7)


def limit_for(view: View, op: Any, parts: int) -> int:
    """Memory that cuts the rows into so many partitions."""
    much = 10**12
    per_row = much / rows_that_fit(
        AllRows.of(view, op), op.carries(), op.copies, Cluster(workers=0, memory=much), 1, CUT
    )
    bands = op.bands() if isinstance(op, Grouped) else 1
    return int(per_row * (-(-bands * sum(AllRows.of(view, op).sizes().values()) // parts) + 0.5))


def files_of(view: View, op: Op) -> dict[str, bytes]:
    folder = Path(view.store.url, view.columns[next(iter(op.makes()))])
    assert ".work" not in view.store.names(folder.name)
    return {file.name: file.read_bytes() for file in folder.iterdir() if not file.name.endswith(".tmp")}


def fresh(view: View, op: Op) -> None:
    """Forget a table that was made."""
    manifest = view.store.manifest()
    folder = folder_for(view, op, whole=True)
    del manifest.tables[folder], manifest.current[op.table()]
    view.store.save(manifest)
    view.store.remove(folder)


def counted_cuts(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Numbers of partitions that are asked for from now on; the last one is that of the groups."""
    cuts: list[int] = []
    counted = lambda rows, fit: cuts.append(partitions_for(rows, fit)) or cuts[-1]  # noqa: E731
    monkeypatch.setattr(exchange, "partitions_for", counted)
    return cuts


#: A quarter of a minute each and more: `make soak` has these.
LONG = {"dedupe.minhash", "dedupe.perceptual"}


@pytest.mark.parametrize("name", [pytest.param(name, marks=[pytest.mark.soak] * (name in LONG)) for name in OPS])
def test_the_same_bytes_under_any_limit(full: View, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    op, cuts, found = load({name: OPTIONS.get(name, {})}), counted_cuts(monkeypatch), []
    for parts, cut in ((1, CUT), (3, CUT), (40, replace(CUT, ranges=5))):
        found.append(files_of(annotate(full, [op], Cluster(workers=0, memory=limit_for(full, op, parts)), cut), op))
        assert cuts[-1] == parts
        fresh(full, op)
    assert sum(file.endswith(".parquet") for file in found[0]) == 35 and found[0] == found[1] == found[2]


def op_of(name: str) -> Any:
    return Close() if name == "Close" else load({name: OPTIONS.get(name, {})})


@pytest.mark.parametrize("name", ["dedupe.exact", pytest.param("Close", marks=pytest.mark.soak)])
@pytest.mark.parametrize(("before", "after", "then"), [(3, 12, 12), (12, 3, 12)])
def test_gone_on_with_under_another_limit(
    full: View, monkeypatch: pytest.MonkeyPatch, name: str, before: int, after: int, then: int
) -> None:
    """Less memory: what was there may have been too much, all anew. More: what is there still fits."""
    op, cuts = op_of(name), counted_cuts(monkeypatch)
    undisturbed = files_of(annotate(full, [op], HERE, CUT), op)
    seen = []
    for stop in (1, 5, 11):
        fresh(full, op)
        limited = Cluster(workers=0, memory=limit_for(full, op, before))
        with stopped_at_write(stop):
            annotate(full, [op], limited, CUT)
        view = annotate(full, [op], Cluster(workers=0, memory=limit_for(full, op, after)), CUT)
        assert files_of(view, op) == undisturbed
        seen.append(cuts[-1])
    assert seen == [then] * 3


# ---- workers killed, on Ray ----


@pytest.mark.parametrize("name", OPS if SEED else ["dedupe.exact", "score.join", "Close"])
def test_killed_workers_change_nothing(full: View, ray_cluster: Cluster, tmp_path: Path, name: str) -> None:
    op = op_of(name)
    cut, phases = replace(CUT, rows_per_partition=20), 3 if isinstance(op, Grouped) else 7
    undisturbed = annotate(full, [op], HERE, CUT)
    expected, verdicts = files_of(undisturbed, op), column(undisturbed, "uid", *op.makes())
    fresh(full, op)
    after = annotate(full, [op], killing(tmp_path), cut)
    assert files_of(after, op) == expected
    assert column(after, "uid", *op.makes()) == verdicts and len(verdicts) == ROWS
    assert len({mark.name.split()[-2] for mark in (tmp_path / "marks").iterdir()}) == phases


@pytest.mark.soak
def test_killed_workers_change_nothing_in_rounds(full: View, ray_cluster: Cluster, tmp_path: Path) -> None:
    op, cut = Close(cap=5), replace(CUT, links=60)
    expected = files_of(annotate(full, [op], HERE, CUT), op)
    fresh(full, op)
    assert files_of(annotate(full, [op], killing(tmp_path, limit_for(full, op, 6)), cut), op) == expected
    phases = {mark.name.split()[-2] for mark in (tmp_path / "marks").iterdir()}
    rounds = {"begin", "small", "large", "label_stars", "apart", "meet", "cut"}
    assert phases == rounds | {"keys", "pairs", "spread", "judge", "collect"}


@pytest.mark.soak
@pytest.mark.parametrize("name", OPS if SEED else ["dedupe.exact"])
def test_killed_workers_change_nothing_in_two_steps(
    full: View, ray_cluster: Cluster, tmp_path: Path, name: str
) -> None:
    op, cut = op_of(name), replace(CUT, rows_per_partition=20, ranges=5)
    expected = files_of(annotate(full, [op], HERE, CUT), op)
    fresh(full, op)
    assert files_of(annotate(full, [op], killing(tmp_path), cut), op) == expected
    steps = [mark.name for mark in (tmp_path / "marks").iterdir() if " second step " in mark.name]
    assert steps


@pytest.mark.soak
def test_killed_workers_do_not_change_a_statistic(
    make_store: MakeStore, ray_cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    numbers = [i * i % 17 for i in range(900)]
    view = make_store(rows_of(numbers), 4)
    after = annotate(view, [Share()], killing(tmp_path))
    assert column(after, "share") == [n / sum(numbers) for n in numbers]
    assert len({mark.name.split()[-2] for mark in (tmp_path / "marks").iterdir()}) == 2


def killing(folder: Path, memory: int | None = None) -> KillingCluster:
    (folder / "marks").mkdir()
    cluster = KillingCluster(workers=2, memory=memory)
    cluster.marks, cluster.seed = folder / "marks", SEED or "0"
    return cluster


# ---- how a step is cut ----


@pytest.mark.parametrize(
    ("text", "size"), [("8GB", 8_000_000_000), ("500 MB", 500_000_000), ("2GiB", 2**31), (10**9, 10**9)]
)
def test_sizes_of_memory(text: str | int, size: int) -> None:
    assert memory_size(text, "--memory") == size


@pytest.mark.parametrize(
    ("text", "message"), [("8 gigs", "write it as 8GB"), ("-1GB", "no size"), ("100MB", "expected 500MB or more")]
)
def test_what_is_no_size(text: str, message: str) -> None:
    with pytest.raises(CurateError, match=message):
        memory_size(text, "--memory")


def test_rows_that_fit(make_store: MakeStore) -> None:
    view = make_store([{"n": i} for i in range(30)], 10)
    # 24 bytes for key and place, 8 for n and a bit of validity at most; 5 copies.
    fit = rows_that_fit(AllRows(view), ["n"], 5, Cluster(workers=0, memory=USUAL.imports + 160_000_000), 1)
    assert 950_000 < fit <= 1_000_000
    # A quarter of the limit where the imports alone are more.
    assert 20 < rows_that_fit(AllRows(view), ["n"], 5, Cluster(workers=0, memory=16_000), 1) <= 25
    assert rows_that_fit(AllRows(view), ["n"], 5, HERE, 1, Cut(rows_per_partition=1000)) == 1000
    much = Cluster(workers=0, memory=10**12)
    assert rows_that_fit(AllRows(view), ["n"], 5, much, 1) > 10**9


def test_a_plan_is_kept_while_it_fits(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store = Store(str(tmp_path))
    assert planned(store, "t", {"keys": 10, "groups": 5}) == {"keys": 10, "groups": 5}
    store.write_bytes("t/.work/x", b"")
    assert planned(store, "t", {"keys": 10, "groups": 9}) == {"keys": 10, "groups": 5}
    assert store.names("t/.work") == {"plan.json", "x"}
    assert planned(store, "t", {"keys": 9, "groups": 9}) == {"keys": 9, "groups": 9}
    assert store.names("t/.work") == {"plan.json"}
    store.write_bytes("t/.work/x", b"")
    store.remove("t/.work/plan.json")  # as if killed while it was forgotten
    assert planned(store, "t", {"groups": 5}) == {"groups": 5}
    assert planned(store, "t", {"keys": 5}) == {"keys": 5}
    begun_anew = [" ".join(line.split()) for line in capsys.readouterr().err.split("t: work that was begun ")[1:]]
    assert begun_anew == [
        "is begun anew: it was cut for more rows at a time than fit now",
        "is begun anew: it was cut for another version of curate",
    ]
    assert store.names("t/.work") == {"plan.json"}
    forget(store, "t")
    assert ".work" not in store.names("t")


def test_runs_of_shards() -> None:
    rows, cut = {0: 4, 1: 4, 2: 4, 5: 100, 6: 0, 7: 3}, Cut(shards_per_run=3)
    assert runs_of(sorted(rows), cut, rows, 8) == [[0, 1], [2], [5], [6, 7]]
    assert runs_of(sorted(rows), cut, rows, 1000) == [[0, 1, 2], [5, 6, 7]]
    assert runs_of(sorted(rows), cut) == [[0, 1, 2], [5, 6, 7]]
    assert runs_of([], cut, {}, 8) == []


def test_what_was_spilled_comes_back_in_order(tmp_path: Path) -> None:
    store = Store(str(tmp_path))
    for writer, values in enumerate([["é", None, "b", "c"], [], ["d", "e", "f", ""]]):
        frame = pl.DataFrame(
            pa.table({"v": pa.array(values, pa.string()), "n": pa.array(range(len(values)), pa.int32())})
        )
        spill(store, "s", writer, frame, np.array([2, 0, 2, 0][: len(values)], np.int64), 4)
    assert spilled(store, "s") == {0, 1, 2}
    assert spilled_rows(store, "s", range(3), 4).tolist() == [4, 0, 4, 0]
    found = [read_spilled(store, "s", 3, reader) for reader in range(4)]
    assert [part["v"].to_list() for part in found] == [[None, "c", "e", ""], [], ["é", "b", "d", "f"], []]
    assert all(dict(part.schema) == {"v": pl.String, "n": pl.Int32} for part in found)


def test_keys_go_to_all_partitions() -> None:
    high = np.array([0, 1, 2**30, 2**31, 2**32 - 1], np.uint32)
    assert by_key(high, 4).tolist() == [0, 0, 1, 2, 3]
    assert by_key(high, 1).tolist() == [0] * 5
    assert by_key(high, 100_000).max() == 99_999


def test_one_key_with_too_many_rows_is_said(make_store: MakeStore, capsys: pytest.CaptureFixture[str]) -> None:
    view = make_store(rows_of([7] * 90 + list(range(10))), 10)
    found = annotate(view, [Same()], Cluster(workers=0, memory=40_000))
    assert column(found, "same_size")[:2] == [91, 91]
    said = " ".join(capsys.readouterr().err.split())
    assert "rows that share a key stay together" in said and "give it more (--memory)" in said
