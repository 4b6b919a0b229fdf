"""A filter whose shards are many is done by workers: the same bytes as in threads, whoever is killed meanwhile."""

from __future__ import annotations

import itertools
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pytest
from conftest import MakeStore, importable
from killing import KillingCluster
from two_nodes import two_nodes

from curate.cluster import many_shards
from curate.cluster.cluster import Cluster
from curate.errors import CurateError
from curate.filter.rule import Filter
from curate.filter.step import select
from curate.filter.top import Top
from curate.store.store import Store
from curate.store.view import View

pytestmark = pytest.mark.slow

#: By conditions; by `top`, which ends inside equal scores at a uid that several rows share; by the words of a column.
RULES = [
    Filter(name="a", where={"low": "n > 0", "x": "s > 0.1"}),
    Filter(name="b", top=Top(by="n", rows=60, among="passing"), where="n < 9"),
    Filter(name="c", where="n != 5", reason="text"),
]


def rows():
    return [{"uid": f"{i % 3:032x}", "n": i % 10, "s": i / 100 if i % 7 else None} for i in range(195)]


def filtered(root: str, cluster: Cluster | None) -> dict[str, bytes]:
    """All rules applied, one behind the other: the bytes of every file of the store."""
    view = View.of(Store(root))
    for rule in RULES:
        view, _ = select(view, rule, cluster=cluster)
    return files_of(root)


def files_of(root: str) -> dict[str, bytes]:
    files = (file for file in Path(root).rglob("*") if file.is_file() and file.suffix != ".tmp")
    return {str(file.relative_to(root)): file.read_bytes() for file in files}


@pytest.fixture
def copies(make_store: MakeStore, tmp_path: Path) -> Iterator[str]:
    """Places of copies of one store."""
    root = make_store(rows(), 10).store.url
    return (str(shutil.copytree(root, tmp_path / f"copy{number}")) for number in itertools.count())


@pytest.fixture
def many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(many_shards, "FEW_SHARDS", 0)
    monkeypatch.setattr(many_shards, "RUN_ROWS", 25)


@pytest.mark.soak
def test_the_same_bytes_from_two_nodes_and_any_number_of_workers(copies, many):
    expected = filtered(next(copies), None)
    assert len([name for name in expected if name.startswith("keep_")]) == 3 * 20
    assert b'"place"' in expected["manifest.json"], "top ends at a row"
    with two_nodes() as address:
        for workers in (1, 2, 4):
            cluster = Cluster(address=address, workers=workers)
            files = filtered(next(copies), cluster)
            cluster.stop()
            assert files == expected, f"{workers} workers"


@pytest.mark.soak
def test_workers_that_are_killed_cost_no_byte(copies, many, ray_cluster, tmp_path):
    """In every pass, and in the work that writes, one worker dies: before a file, in it, or behind it."""
    expected = filtered(next(copies), None)
    for seed in ("one", "two"):
        cluster = KillingCluster(workers=2)
        cluster.marks, cluster.seed = tmp_path / seed, seed
        cluster.marks.mkdir()
        assert filtered(next(copies), cluster) == expected
        cluster.stop()
        killed = [mark.name for mark in cluster.marks.iterdir()]
        assert sum(" judge " in name for name in killed) == 3, killed
        assert any("threshold" in name for name in killed), killed


DRIVER = """
import itertools, os, signal, sys
from curate.cluster import many_shards
from curate.cluster.cluster import Cluster
from test_filter_workers import filtered

many_shards.FEW_SHARDS, many_shards.RUN_ROWS = 0, 25
reports = itertools.count()


class Dying(Cluster):
    def each(self, *arguments, **use):
        for report in super().each(*arguments, **use):
            if next(reports) == int(sys.argv[2]):
                os.kill(os.getpid(), signal.SIGKILL)
            yield report


filtered(sys.argv[1], Dying(workers=2))
"""


@pytest.mark.parametrize("reports", [12, pytest.param(28, marks=pytest.mark.soak)])
def test_a_driver_that_is_killed_ends_with_the_same_bytes(copies, many, reports):
    """In the passes of `top`, and in the last filter; the same filters go on, in threads."""
    expected, root = filtered(next(copies), None), next(copies)
    environment = {**os.environ, "PYTHONPATH": importable()}
    ended = subprocess.run([sys.executable, "-c", DRIVER, root, str(reports)], env=environment, check=False)
    assert ended.returncode == -signal.SIGKILL
    assert files_of(root).keys() < expected.keys()
    assert filtered(root, None) == expected


def test_what_cannot_be_judged_is_told_as_in_threads(copies, many, ray_cluster):
    root = next(copies)
    for shard, kind in enumerate([pa.int64(), pa.float64()]):
        store = Store(root)
        part = store.read_part("records", shard)
        place = part.schema.get_field_index("n")
        store.write_part("records", shard, part.set_column(place, "n", part["n"].cast(kind)))
    rule = Filter(name="b", top=Top(by="n", rows=6))
    lines = []
    for cluster in (None, ray_cluster):
        with pytest.raises(CurateError, match="top ranks numbers of one type") as fault:
            select(View.of(Store(root)), rule, cluster=cluster)
        lines.append(str(fault.value))
    assert lines[0] == lines[1]
