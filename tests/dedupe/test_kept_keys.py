"""Keys that stores keep: with and without them the same bytes, and what is kept is not computed again."""

from __future__ import annotations

import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from conftest import HERE, MakeStore, column
from killing import KillingCluster
from stopping import files_written, stopped_at_write

from curate import api
from curate.annotate import partitions, reach
from curate.annotate.partitions import Cut
from curate.annotate.reach import ALL, Reach
from curate.annotate.step import annotate
from curate.catalog import load
from curate.cluster.cluster import Cluster
from curate.filter.rule import Filter
from curate.filter.step import select
from curate.op import Op, Rows
from curate.store.store import Store
from curate.store.verify import verify
from curate.store.view import View

pytestmark = pytest.mark.slow

OPS: dict[str, tuple[str, dict[str, Any]]] = {
    "exact": ("dedupe.exact", {"by": "text"}),
    "pair": ("dedupe.exact", {"by": "url_text", "keep": "first"}),
    "minhash": ("dedupe.minhash", {"threshold": 0.6}),
    "shared": ("dedupe.shared", {"by": "text", "distinct": "url"}),
}
#: Cut as small as rows allow.
CUT = Cut(rows_per_partition=4, shards_per_run=2, files_per_merge=2)

WORDS = "one stone bridge over slow water and two tall poplars beside an empty mill with broken wheels".split()  # noqa: SIM905
#: Captions of which each is like the next, and the first is not like the last.
CHAIN = [" ".join(WORDS[start : start + 9]) for start in range(8)]
OTHERS = [f"{word} {number * number}" for number, word in enumerate(WORDS)]
OLD: list[dict[str, Any]] = [{"text": text} for text in (*CHAIN[1:], *OTHERS, "", None, "cat", OTHERS[3])]
NEW: list[dict[str, Any]] = [{"text": text} for text in (CHAIN[0], "cat", "a new one", "cat", None, OTHERS[3])]


def op_of(name: str, **options: Any) -> Op:
    kind, own = OPS[name]
    return load({kind: {**own, **options}})


def table_of(view: View, op: Op) -> dict[str, bytes]:
    folder = Path(view.store.url, view.columns[next(iter(op.makes()))])
    return {path.name: path.read_bytes() for path in folder.iterdir() if not path.name.endswith(".tmp")}


class Stores:
    """An old store and a new one of the rows above, with the keys kept in the old one or not."""

    def __init__(self, make_store: MakeStore, name: str, keep_keys: bool = True, rows_per_shard: int = 3):
        self.old, self.new, self.name = make_store(OLD, rows_per_shard), make_store(NEW, rows_per_shard), name
        if keep_keys:
            annotate(self.old, [op_of(name, keep_keys=True)], HERE)

    def judged(self, cluster: Cluster = HERE, cut: Cut = CUT, **options: Any) -> dict[str, bytes]:
        """The new store's table, by file. Where the old store lies is no part of its bytes."""
        op = op_of(self.name, against="OLD", **options)
        link = Path("OLD")
        link.unlink(missing_ok=True)
        link.symlink_to(self.old.store.url)
        return table_of(annotate(View.of(self.new.store), [op], cluster, cut), op)

    def fresh(self) -> None:
        """Without what was made of the new store."""
        for folder in self.new.store.manifest().tables:
            shutil.rmtree(Path(self.new.store.url, folder))
        manifest = self.new.store.manifest()
        manifest.tables, manifest.current = {}, {}
        self.new.store.save(manifest)


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def hashed(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """Rows that keys were computed of, by op."""
    rows: Counter[str] = Counter()
    for name in ("exact", "minhash", "shared"):
        cls, keys = type(op_of(name)), type(op_of(name)).keys

        def counting(self: Any, some: Rows, keys: Any = keys) -> Any:
            rows[type(self).__name__] += len(some)
            return keys(self, some)

        monkeypatch.setattr(cls, "keys", counting)
    return rows


def filled(rows: list[dict[str, Any]]) -> int:
    return sum(row["text"] is not None for row in rows)


# ---- the same bytes, and nothing twice ----


@pytest.mark.parametrize("name", [pytest.param(name, marks=[pytest.mark.soak] * (name == "minhash")) for name in OPS])
def test_the_same_bytes_and_old_rows_are_not_hashed(make_store: MakeStore, name: str, hashed: Counter[str]) -> None:
    expected = Stores(make_store, name, keep_keys=False).judged()
    stores = Stores(make_store, name)
    hashed.clear()
    assert stores.judged() == expected and len(expected) == 2
    assert sum(hashed.values()) in (len(NEW), filled(NEW))
    stores.fresh()
    hashed.clear()
    assert stores.judged(keep_keys=True) == expected
    assert sum(hashed.values()) == filled(NEW)
    stores.fresh()
    assert stores.judged(cut=Cut()) == expected


def test_new_shards_alone_are_hashed_where_rows_are_appended(make_store: MakeStore, hashed: Counter[str]) -> None:
    for name in OPS:
        kept, plain = op_of(name, keep_keys=True), op_of(name)
        view = make_store(OLD, 3)
        annotate(view, [kept], HERE)
        hashed.clear()
        both = make_store(NEW, 3, root=view.store.url)
        after = annotate(both, [kept], HERE)
        assert sum(hashed.values()) == filled(NEW)
        whole = make_store([*OLD, *({**row, "url": f"http://test/{len(OLD) + i}.jpg"} for i, row in enumerate(NEW))], 3)
        whole = annotate(whole, [plain], HERE)
        assert column(after, *plain.makes()) == column(whole, *plain.makes())


def test_more_rows_that_are_in_are_filled_in(make_store: MakeStore, hashed: Counter[str]) -> None:
    view, op = make_store(OLD, 3), op_of("exact", keep_keys=True)
    few, _ = select(view, Filter(name="few", where="text = 'cat'"))
    annotate(few, [op], HERE)
    assert hashed == {"Exact": 1}
    annotate(view, [op], HERE)
    assert hashed == {"Exact": filled(OLD)}


def test_it_is_no_column_for_others(make_store: MakeStore) -> None:
    view, op = make_store(OLD), op_of("minhash", keep_keys=True)
    after = annotate(view, [op], HERE)
    assert set(View.of(view.store).columns) == {*view.columns, *op.makes(), "near_text_status"}
    assert set(after.columns) == {*view.columns, *op.makes()}
    table = view.store["near_text_keys"].collect()
    assert table.columns == ["uid", "near_text_key", "near_text_keys_status"]
    lengths = [key and len(key) for key in table["near_text_key"]]
    assert lengths == [(row["text"] and 8 * op.bands()) or None for row in OLD]  # type: ignore[attr-defined]
    entry = view.store.manifest().op_table(view.store.manifest().current["near_text_keys"])
    assert entry and entry.cost.rows == len(OLD) and entry.cost.bytes > 0
    assert set(entry.options) == {"threshold", "num_perm", "seed", "shingles", "k", "digits", "recall", "by"}


# ---- which keys are used ----


@pytest.mark.soak
def test_keys_of_other_options_are_not_used(
    make_store: MakeStore, hashed: Counter[str], capsys: pytest.CaptureFixture[str]
) -> None:
    stores = Stores(make_store, "minhash")
    hashed.clear()
    stores.judged(seed=2)
    assert sum(hashed.values()) == len(OLD) + len(NEW)
    assert "keeps no keys of them" in " ".join(capsys.readouterr().err.split())
    stores.judged(keep="first", cap=50)
    assert sum(hashed.values()) == len(OLD) + 2 * len(NEW)
    assert "their keys are read from there" in " ".join(capsys.readouterr().err.split())


def test_keys_of_fewer_rows_than_are_in_are_not_used(make_store: MakeStore, hashed: Counter[str]) -> None:
    stores = Stores(make_store, "exact", keep_keys=False)
    few, _ = select(stores.old, Filter(name="few", where="text = 'cat'"))
    annotate(few, [op_of("exact", keep_keys=True)], HERE)
    select(stores.old, Filter(name="all", where="TRUE"))
    expected = Stores(make_store, "exact", keep_keys=False).judged()
    hashed.clear()
    assert stores.judged() == expected
    assert hashed["Exact"] == len(OLD) + len(NEW)


def test_keys_of_which_a_part_is_lost_are_not_used(make_store: MakeStore) -> None:
    stores = Stores(make_store, "exact")
    expected = stores.judged()
    folder = stores.old.store.manifest().current["dup_text_keys"]
    Path(stores.old.store.url, folder, "00001.parquet").unlink()
    stores.fresh()
    assert stores.judged() == expected


# ---- which old rows are compared ----


@pytest.fixture
def rounds(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The last round of each reach."""
    lasts, end = list[int](), Reach.end

    def noted(self: Reach, last: int) -> Reach:
        lasts.append(last)
        return end(self, last)

    monkeypatch.setattr(Reach, "end", noted)
    return lasts


@pytest.mark.parametrize("keep_keys", [False, True])
def test_a_chain_of_old_rows_is_one_group(make_store: MakeStore, rounds: list[int], keep_keys: bool) -> None:
    stores = Stores(make_store, "minhash", keep_keys)
    stores.judged()
    of, size = column(View.of(stores.new.store), "near_text_of", "near_text_size")[0]
    assert rounds and rounds[0] > 1
    assert (of, size) == (min(column(stores.old, "uid")[: len(CHAIN) - 1]), len(CHAIN))
    folder = stores.new.store.manifest().current["near_text"]
    entry = stores.new.store.manifest().op_table(folder)
    # The chain, three cats, two of the others: groups of old rows alone are not told.
    assert entry and entry.report["linked_rows"] == len(CHAIN) + 3 + 3 and entry.report["groups"] == 3


@pytest.mark.soak
def test_without_room_or_after_many_rounds_all_old_rows_are_compared(
    make_store: MakeStore, rounds: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in OPS:
        stores = Stores(make_store, name)
        expected = stores.judged()
        rounds.clear()
        with monkeypatch.context() as patch:
            patch.setattr(reach, "MOST_ROUNDS", 0)
            stores.fresh()
            assert stores.judged() == expected
        with monkeypatch.context() as patch:
            patch.setattr(reach, "MOST_ROWS", 0)
            stores.fresh()
            assert stores.judged() == expected
        assert rounds == ([ALL, ALL] if name == "minhash" else [])
        with monkeypatch.context() as patch:
            patch.setattr(partitions, "bits_for", lambda *_: 0)
            stores.fresh()
            assert stores.judged() == expected
        with monkeypatch.context() as patch:
            # So few bits that most keys look as if they were met.
            patch.setattr(partitions, "bits_for", lambda *_: 64)
            stores.fresh()
            assert stores.judged() == expected


@pytest.mark.soak
def test_a_limit_of_memory_changes_nothing(make_store: MakeStore) -> None:
    for name in OPS:
        stores = Stores(make_store, name)
        expected = stores.judged()
        stores.fresh()
        assert stores.judged(Cluster(workers=0, memory=16_000)) == expected


# ---- stopped and killed ----


@pytest.mark.parametrize("name", ["exact", pytest.param("minhash", marks=pytest.mark.soak)])
@pytest.mark.parametrize("keep_keys", [False, True])
def test_stopped_at_any_write(make_store: MakeStore, name: str, keep_keys: bool) -> None:
    stores = Stores(make_store, name, keep_keys)
    with files_written() as names:
        expected = stores.judged(keep_keys=True)
    for stop in range(0, len(names), 1 + len(names) // 8):
        stores.fresh()
        with stopped_at_write(stop):
            stores.judged(keep_keys=True)
        assert stores.judged(keep_keys=True) == expected


@pytest.mark.parametrize("name", ["pair", pytest.param("minhash", marks=pytest.mark.soak)])
def test_killed_workers_change_nothing(make_store: MakeStore, ray_cluster: Cluster, tmp_path: Path, name: str) -> None:
    stores = Stores(make_store, name, rows_per_shard=10)
    expected = stores.judged()
    stores.fresh()
    (tmp_path / "marks").mkdir()
    cluster = KillingCluster(workers=2)
    cluster.marks, cluster.seed = tmp_path / "marks", "0"
    cut = Cut(rows_per_partition=500, shards_per_run=1)
    assert stores.judged(cluster, cut, keep_keys=True) == expected
    phases = {mark.name.split()[-2] for mark in (tmp_path / "marks").iterdir()}
    assert {"OneShard", "keys", "mark"} <= phases and ("reach" in phases) == (name == "minhash")


# ---- removed, verified ----


def test_a_removed_row_loses_its_keys(make_store: MakeStore) -> None:
    view = make_store(OLD, 3)
    ops = [op_of(name, keep_keys=True) for name in ("exact", "minhash", "shared")]
    annotate(view, ops, HERE)
    root, row = view.store.url, 2
    keys = {name: view.store[f"{name}_keys"].collect() for name in ("dup_text", "near_text", "text_urls")}
    secrets = [table[f"{name}_key"][row] for name, table in keys.items()]
    assert all(any(secret in data for data in _columns(root)) for secret in secrets)
    assert verify(root)
    api.remove(root, uids=[keys["dup_text"]["uid"][row]], workers=0)
    assert verify(root)
    assert not [secret for secret in secrets if any(secret in data for data in _columns(root))]
    for name, before in keys.items():
        after = Store(root)[f"{name}_keys"].collect()
        assert after[f"{name}_keys_status"][row] == "removed"
        assert after[f"{name}_key"].to_list() == [k if i != row else None for i, k in enumerate(before[f"{name}_key"])]
    part = next(Path(root).glob("dup_text_keys-*/00000.parquet"))
    part.write_bytes(part.read_bytes()[:-40] + bytes(40))
    with pytest.raises(api.CurateError, match="dup_text_keys"):
        verify(root)


def test_after_a_removal_the_keys_that_stay_are_used(make_store: MakeStore, hashed: Counter[str]) -> None:
    stores = Stores(make_store, "exact")
    plain = Stores(make_store, "exact", keep_keys=False)
    for one in (stores, plain):
        api.remove(one.old.store.url, uids=[column(one.old, "uid")[0]], workers=0)
    expected = plain.judged()
    hashed.clear()
    assert stores.judged() == expected
    assert hashed["Exact"] == len(NEW)


def _columns(root: str) -> list[bytes]:
    """The values of every column of every parquet file that are bytes, joined."""
    joined = []
    for path in sorted(Path(root).rglob("*.parquet")):
        table = pa.parquet.read_table(path)
        for array in table.columns:
            if pa.types.is_binary(array.type) or pa.types.is_fixed_size_binary(array.type):
                joined.append(b"|".join(value or b"" for value in array.to_pylist()))
    return joined
