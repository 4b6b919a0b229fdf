"""Groups found by rounds, against one worker that holds all links and against the book; and the rounds it takes."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from conftest import HERE
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from curate.annotate.merging import Merging
from curate.annotate.nodes import read_labels, summed
from curate.annotate.rounds import Rounds, label_by_rounds
from curate.store.store import Store

pytestmark = pytest.mark.slow

#: (a, b, closeness), nodes being (shard << 32) + row.
Links = list[tuple[int, int, float]]
LASTS = [2, 5, 20_000]


def merging(folder: Path, links: Links, files: int, fit: int, cap: int) -> Merging:
    store = Store(str(folder))
    for number in range(files):
        frame = pl.DataFrame(
            links[number::files], {"a": pl.Int64, "b": pl.Int64, "closeness": pl.Float64}, orient="row"
        )
        store.write_file(f"t/.work/links-0/{number:05d}.parquet", frame.to_arrow())
    return Merging(store, "t/.work", files, fit, most=64, cap=cap, lasts=LASTS).batched()


def answer(job: Merging) -> tuple[dict[int, int], dict[str, Any]]:
    frames = [read_labels(job.store, job.work, run) for run in range(len(LASTS))]
    for last, before, frame in zip(LASTS, [-(2**20), *LASTS], frames, strict=False):
        shards = frame["node"].to_numpy() >> 32
        assert ((before < shards) & (shards <= last)).all()
    job.store.write_bytes(f"{job.work}/reports/.00000.json.x.1.tmp", b"torn")  # as a killed worker leaves it
    report = summed(job.reports())
    labels = pl.concat(frames)
    assert labels["node"].is_unique().all()
    return dict(labels.rows()), report


def by_one_worker(folder: Path, links: Links, cap: int) -> tuple[dict[int, int], dict[str, Any]]:
    job = merging(folder, links, 1, 10**9, cap)
    job.label(0)
    return answer(job)


def by_rounds(folder: Path, links: Links, cap: int, files: int = 3, fit: int = 20) -> tuple[Any, Any, int]:
    job = Rounds(**vars(merging(folder, links, files, fit, cap)))
    label_by_rounds(job, HERE, "t", {})
    step = max(int(name.removeprefix("stars-")) for name in job.store.names(job.work) if name.startswith("stars-"))
    return (*answer(job), step)


def by_the_book(links: Links) -> dict[int, int]:
    """The smallest node that each can be reached from, by walking."""
    beside: dict[int, set[int]] = {}
    for a, b, _ in links:
        beside.setdefault(a, set()).add(b)
        beside.setdefault(b, set()).add(a)
    labels: dict[int, int] = {}
    for start in sorted(beside):
        walk = [] if start in labels else [start]
        while walk:
            node = walk.pop()
            if node not in labels:
                labels[node] = start
                walk += beside[node]
    return labels


def node(number: int) -> int:
    """Three rows in each shard, the first shards those of an old store."""
    return ((number // 3 - 4) << 32) + number % 3


def shuffled(count: int, seed: int = 0) -> list[int]:
    return np.random.default_rng(seed).permutation(count).tolist()


def chain(numbers: list[int]) -> Links:
    return [(node(a), node(b), 0.5) for a, b in itertools.pairwise(numbers)]


def star(center: int, numbers: list[int]) -> Links:
    return [(node(n), node(center), 0.5) for n in numbers if n != center]


GRAPHS: dict[str, Links] = {
    "none": [],
    "a pair": [(node(7), node(3), 1.0)],
    "a chain in order": chain(list(range(100))),
    "a chain backwards": chain(list(range(99, -1, -1))),
    "a chain in any order": chain(shuffled(100)),
    "up and down": chain([n // 2 if n % 2 else 99 - n // 2 for n in range(100)]),
    "a star around the smallest": star(0, list(range(60))),
    "a star around the largest": star(99, list(range(60))),
    "stars around stars": [link for c in range(8) for link in star(90 + c, list(range(10 * c, 10 * c + 11)))],
    "cliques": [(node(10 * c + i), node(10 * c + j), 0.5) for c in range(8) for i in range(10) for j in range(i)],
    "pairs": [(node(2 * n + 1), node(2 * n), 0.9) for n in range(60)],
}


@pytest.mark.parametrize("name", GRAPHS)
@pytest.mark.parametrize(("files", "fit"), [(1, 1000), (3, 60), (5, 20)])
def test_groups_are_those_of_one_worker_and_of_the_book(tmp_path: Path, name: str, files: int, fit: int) -> None:
    links = GRAPHS[name]
    labels, report, _ = by_rounds(tmp_path / "rounds", links, 1000, files, fit)
    assert (labels, report) == by_one_worker(tmp_path / "one", links, 1000)
    assert labels == by_the_book(links)


LEVELS = st.sampled_from([0.5, 0.7, 0.8, 0.9, 1.0])
LINKS = st.lists(st.tuples(st.integers(0, 25), st.integers(0, 25), LEVELS), max_size=40)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(LINKS, st.integers(2, 12), st.integers(1, 4), st.sampled_from([10, 30, 100]))
def test_groups_over_the_cap_are_cut_as_by_one_worker(
    tmp_path_factory: pytest.TempPathFactory, drawn: Links, cap: int, files: int, fit: int
) -> None:
    links = [(node(a), node(b), closeness) for a, b, closeness in drawn if a != b]
    folder = tmp_path_factory.mktemp("drawn")
    labels, report, _ = by_rounds(folder / "rounds", links, cap, files, fit)
    assert (labels, report) == by_one_worker(folder / "one", links, cap)


def test_a_large_graph_of_chance(tmp_path: Path) -> None:
    """Groups of every size with many levels of closeness, cut at 50."""
    draw = np.random.default_rng(3)
    ends = draw.integers(0, 30_000, (2, 16_000))
    ends = ends[:, ends[0] != ends[1]]
    links = [(node(a), node(b), c) for a, b, c in zip(*ends.tolist(), draw.random(len(ends[0])).tolist(), strict=True)]
    one = by_one_worker(tmp_path / "one", links, 50)
    labels, report, step = by_rounds(tmp_path / "rounds", links, 50, files=6, fit=8000)
    assert (labels, report) == one
    assert report["over_cap"] == 13 and report["over_cap_rows"] > 2000 and report["largest"] > 500
    assert step <= 14


@pytest.mark.parametrize("order", ["in order", "in any order"])
def test_rounds_grow_with_the_logarithm_of_a_chain(tmp_path: Path, order: str) -> None:
    steps = []
    for power in (4, 8, 12):
        numbers = list(range(2**power)) if order == "in order" else shuffled(2**power)
        labels, _, step = by_rounds(tmp_path / str(power), chain(numbers), 10**6, files=6, fit=2**power // 2)
        assert set(labels.values()) == {node(0)}
        steps.append(step)
    # Two steps a round; each doubles what a node has seen of the chain, or more.
    assert steps[0] < steps[1] < steps[2] <= 2 * 12


def test_a_group_that_no_worker_holds_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    by_rounds(tmp_path, GRAPHS["a chain in order"], 1000)
    said = " ".join(capsys.readouterr().err.split())
    assert "t: groups: partition" in said and "rows of one group stay together" in said
