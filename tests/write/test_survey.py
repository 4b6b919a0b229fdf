"""What must be known of all rows before shards are written: the same however shards are cut, and whoever looks."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections import Counter
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
from conftest import HERE, MakeStore, importable, picture
from killing import KillingCluster
from two_nodes import two_nodes

from curate.cluster import many_shards
from curate.cluster.cluster import Cluster
from curate.filter.rule import Filter
from curate.filter.step import select
from curate.messages.remarks import Remarks
from curate.store.store import Store
from curate.store.view import View
from curate.write.plan import Piece, plan
from curate.write.shard_columns import columns_to_write
from curate.write.step import WriteOptions, write
from curate.write.survey import Survey, sizes, survey

#: Which rows show a value: `late` and `twice` in one row, `own` before them, `never` in none.
SHOWN = {"late": {33, 40}, "twice": {33}, "own": {12, 13, 33}, "never": set()}


@pytest.fixture
def view(make_store: MakeStore) -> View:
    rows = [{"uid": f"{i:032x}", "n": i, **{c: i if i in at else None for c, at in SHOWN.items()}} for i in range(47)]
    files = [None if i % 8 == 7 else picture(i) for i in range(47)]
    return select(make_store(rows, 5, files), Filter(name="f", where="n != 3"))[0]


def surveyed(view: View, cluster: Cluster | None = None) -> Survey:
    return survey(view, columns_to_write(view, None, (), Remarks()), cluster)


def test_the_facts_by_the_book(view):
    facts = surveyed(view)
    inside = [i for i in range(47) if i % 8 != 7 and i != 3]
    assert (facts.shards, sum(facts.counts)) == (list(range(10)), len(inside))
    assert facts.counts == [sum(i // 5 == shard for i in inside) for shard in range(10)]
    assert facts.without == Counter({"no_image": 5})
    assert facts.extensions == Counter({"jpg": len(inside)})
    assert (facts.empty, facts.members, facts.too_large) == ({"never", "malformed"}, False, set())
    place = {i: sum(j // 5 == i // 5 for j in inside if j < i) for i in inside}
    assert facts.shows["late"] == facts.shows["twice"] == (6, place[33])
    assert facts.shows["own"] == (2, place[12])
    assert facts.first == [(6, place[33])], "one row shows all that the others show"
    assert list(facts.first_sizes(view).values()) == [len(picture(33))]
    heavy = [size for _, some in sizes(view, facts, in_bytes=True) for size in some.tolist()]
    assert heavy == [len(picture(i)) for i in inside]


@pytest.mark.parametrize("rows", [1, 10, 11, 1000])
def test_how_shards_are_cut_into_runs_changes_nothing(view, monkeypatch, rows):
    expected = surveyed(view)
    monkeypatch.setattr(many_shards, "RUN_ROWS", rows)
    assert asdict(surveyed(view)) == asdict(expected)
    assert list(surveyed(view).without) == list(expected.without)


def test_a_plan_is_a_list_of_pieces_and_counts_its_samples():
    sizes_of = [(0, np.full(5, 3)), (2, np.full(4, 3))]
    cut = plan(sizes_of, 4, None, {(2, 1): 3})
    first = [Piece(2, 1, 2), Piece(0, 0, 3)]
    assert list(cut) == cut[:] == [first, [Piece(0, 3, 5), Piece(2, 0, 1), Piece(2, 2, 3)], [Piece(2, 3, 4)]]
    assert cut[-3] == first and len(cut) == 3
    assert cut.samples().tolist() == [4, 4, 1]
    with pytest.raises(IndexError):
        cut[3]
    empty = plan([(0, np.zeros(0))], 4, None)
    assert (list(empty), empty.samples().tolist()) == ([], [])


# ---- on workers ----


@pytest.fixture
def many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(many_shards, "FEW_SHARDS", 0)
    monkeypatch.setattr(many_shards, "RUN_ROWS", 10)


def written(view: View, to: Path, cluster: Cluster) -> tuple[dict[str, bytes], list[tuple[str, int]]]:
    """Every file, and the rows without an image in their order."""
    done = write(view, WriteOptions(to=str(to), samples_per_shard=6, bytes_per_shard=3000), cluster)
    return {f.name: f.read_bytes() for f in to.iterdir()}, list(done["without_image"].items())


@pytest.mark.soak
@pytest.mark.slow
def test_the_same_shards_from_two_nodes_and_any_number_of_workers(view, many, tmp_path):
    expected = written(view, tmp_path / "here", HERE)
    with two_nodes() as address:
        for workers in (1, 2, 4):
            cluster = Cluster(address=address, workers=workers)
            assert written(view, tmp_path / f"by{workers}", cluster) == expected
            cluster.stop()


def test_workers_that_are_killed_cost_no_byte(view, many, ray_cluster, tmp_path):
    expected = written(view, tmp_path / "here", HERE)
    cluster = KillingCluster(workers=2)
    cluster.marks, cluster.seed = tmp_path / "marks", "seed"
    cluster.marks.mkdir()
    assert written(view, tmp_path / "killed", cluster) == expected
    killed = [mark.name for mark in cluster.marks.iterdir()]
    assert len(killed) == 2 and any("survey look" in name for name in killed), killed


DRIVER = """
import os, signal, sys
from pathlib import Path
from curate.cluster import many_shards
from curate.cluster.cluster import Cluster
from curate.store.store import Store
from curate.store.view import View
from test_survey import written

many_shards.FEW_SHARDS, many_shards.RUN_ROWS = 0, 10


class Dying(Cluster):
    def each(self, *arguments, **use):
        for number, report in enumerate(super().each(*arguments, **use)):
            if number == 2:
                os.kill(os.getpid(), signal.SIGKILL)
            yield report


written(View.of(Store(sys.argv[1]), "keep_f"), Path(sys.argv[2]), Dying(workers=2))
"""


@pytest.mark.soak
@pytest.mark.slow
def test_a_driver_that_is_killed_in_the_survey_ends_with_the_same_bytes(view, many, tmp_path):
    out = tmp_path / "out"
    command = [sys.executable, "-c", DRIVER, view.store.url, str(out)]
    ended = subprocess.run(command, env={**os.environ, "PYTHONPATH": importable()}, check=False)
    assert (ended.returncode, out.exists()) == (-signal.SIGKILL, False)
    assert not (Path(view.store.url) / "write_notes").exists()
    again = written(View.of(Store(view.store.url), "keep_f"), out, HERE)
    assert again == written(view, tmp_path / "here", HERE)
