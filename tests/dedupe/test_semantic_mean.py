"""Groups of near rows of which the one nearest their mean stays."""

import numpy as np
import pytest
from conftest import HERE
from vector_rows import by_row, lists, random_vectors, store_of, uid_of

from curate.alike.nearest_mean import nearest_mean
from curate.annotate.partitions import Cut
from curate.annotate.step import annotate
from curate.catalog import load
from curate.dedupe.semantic import Semantic
from curate.errors import CurateError

pytestmark = pytest.mark.slow


def turned(degrees):
    return np.stack([np.cos(np.radians(degrees)), np.sin(np.radians(degrees))], axis=1)


def made(folder, vectors, rows_per_shard=1000, order=None, cut=None, clusters=None, **options):
    number = len(vectors)
    columns = {
        "v": lists(vectors),
        "v_cluster": clusters or [0] * number,
        "v_cluster_cos": np.linspace(0.5, 0.9, number).astype(np.float32),
    }
    op = Semantic(by="v", rule="linked", which="mean", **options)
    view = annotate(store_of(folder, columns, rows_per_shard, order), [op], HERE, cut or Cut())
    return by_row(view, "semantic_v")


def test_the_example(tmp_path):
    table = made(tmp_path / "s", turned([0, 20, 38, 90]), eps=0.1)
    assert table["semantic_v_of"].to_list() == [uid_of(1), None, uid_of(1), None]
    assert table["semantic_v_size"].to_list() == [3, 3, 3, 1]


def test_the_link_is_strict_and_inside_a_cluster(tmp_path):
    table = made(tmp_path / "s", turned([0, 20, 0]), eps=0.06, clusters=[0, 0, 1])
    assert table["semantic_v_of"].to_list() == [None] * 3


def test_of_two_rows_the_smaller_uid_stays_whatever_rounding_says(tmp_path):
    rng = np.random.default_rng(0)
    pairs = random_vectors(100, 32)
    vectors = np.concatenate([pairs, (pairs + 0.01 * rng.standard_normal((100, 32))).astype(np.float16)])
    table = made(tmp_path / "s", vectors, eps=0.02, clusters=[*range(100), *range(100)])
    for i in range(100):
        first, second = sorted((i, 100 + i), key=uid_of)
        assert table["semantic_v_of"][first] is None and table["semantic_v_of"][second] == uid_of(first)


def by_loops(vectors, clusters, eps):
    """uid of the row that stays for each row, by comparing all pairs."""
    unit = vectors.astype(np.float64)
    unit /= np.linalg.norm(unit, axis=1)[:, None]
    group = list(range(len(unit)))
    for i in range(len(unit)):
        for j in range(i):
            if clusters[i] == clusters[j] and 1 - unit[i] @ unit[j] < eps and group[i] != group[j]:
                group = [group[j] if g == group[i] else g for g in group]
    stays = []
    for i in range(len(unit)):
        members = sorted((j for j in range(len(unit)) if group[j] == group[i]), key=uid_of)
        mean = unit[members].sum(axis=0)
        cosines = unit[members] @ mean / np.linalg.norm(mean)
        stays.append(members[int(np.argmax(cosines >= cosines.max() - 1e-6))])
    return [None if s == i else uid_of(s) for i, s in enumerate(stays)]


def test_against_loops_on_500_rows_and_the_same_however_cut(tmp_path):
    vectors, clusters = random_vectors(500, 6), np.random.default_rng(1).integers(0, 4, 500).tolist()
    one = made(tmp_path / "s", vectors, clusters=clusters, eps=0.05)
    assert one["semantic_v_of"].to_list() == by_loops(vectors, clusters, 0.05)
    assert 50 < one["semantic_v_of"].null_count() < 480
    order, cut = np.random.default_rng(0).permutation(500).tolist(), Cut(rows_per_partition=60, shards_per_run=3)
    assert one.equals(made(tmp_path / "t", vectors, 40, order, cut, clusters, eps=0.05))


def test_of_a_group_with_old_rows_one_of_these_stays():
    unit = turned([0, 8, 10, 20]).astype(np.float32)
    group, members = np.zeros(4, np.int64), np.arange(4)
    assert nearest_mean(unit, group, members, np.full(4, 4)).tolist() == [2] * 4
    assert nearest_mean(unit, group, members, np.full(4, 1)).tolist() == [0] * 4


def test_goes_with_linked_only():
    with pytest.raises(CurateError, match="which: mean goes with rule: linked only"):
        load({"dedupe.semantic": {"by": "v", "which": "mean"}})
