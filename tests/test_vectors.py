import itertools

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from curate.errors import CurateError
from curate.vectors import close_pairs, earlier_max, nearest, normalised, unit_rows


def angles(*degrees):
    turned = np.radians(degrees)
    return np.stack([np.cos(turned), np.sin(turned)], axis=1).astype(np.float32)


@pytest.mark.parametrize(
    ("order", "expected"),
    [("ABC", [0, 0.9703, 0.9703]), ("CAB", [0, 0.8829, 0.9703]), ("BAC", [0, 0.9703, 0.9703])],
)
@pytest.mark.parametrize("tile", [1, 2, 1024])
def test_the_published_orders(order, expected, tile):
    unit = angles(*[{"A": 0, "B": 14, "C": 28}[name] for name in order])
    assert np.allclose(earlier_max(unit, tile)[0], expected, atol=5e-5)


VECTORS = hnp.arrays(np.int8, st.tuples(st.integers(1, 12), st.just(3)), elements=st.integers(-3, 3))


@settings(max_examples=150, deadline=None)
@given(VECTORS, st.sampled_from([1, 2, 5, 100]), st.sampled_from([0.5, 0.9, 0.99]))
def test_tiles_change_nothing(raw, tile, over):
    unit = normalised(raw.astype(np.float32), "v")
    cos = unit @ unit.T
    most, place = earlier_max(unit, tile)
    for j in range(len(unit)):
        if j:
            assert most[j] == pytest.approx(cos[:j, j].max(), abs=1e-6)
            assert cos[place[j], j] == pytest.approx(most[j], abs=1e-6) and place[j] < j
    assert (most[0], place[0]) == (0, -1)
    wanted = [(i, j) for i, j in itertools.combinations(range(len(unit)), 2) if cos[i, j] > over]
    if all(abs(cos[i, j] - over) > 1e-5 for i, j in itertools.combinations(range(len(unit)), 2)):
        assert groups(len(unit), zip(*close_pairs(unit, over, tile), strict=True)) == groups(len(unit), wanted)
    most, place = nearest(unit, unit[::-1].copy(), tile)
    assert np.allclose(most, cos.max(axis=1), atol=1e-6)


def groups(count, pairs):
    root = list(range(count))
    for a, b in pairs:
        old, new = root[a], root[b]
        root = [new if r == old else r for r in root]
    return [[i for i in range(count) if root[i] == root[j]] for j in range(count)]


@pytest.mark.parametrize("kind", [pa.list_(pa.float16()), pa.large_list(pa.float32()), pa.list_(pa.float32(), 2)])
def test_unit_rows(kind):
    column = pa.array([[3.0, 4.0], [0.0, 0.0], [-2.0, 0.0]], pa.list_(pa.float32())).cast(kind)
    assert np.allclose(unit_rows(column, "v", 2), [[0.6, 0.8], [0, 0], [-1, 0]])
    assert np.allclose(unit_rows(column.slice(2), "v"), [[-1, 0]])


@pytest.mark.parametrize(
    ("column", "dim", "message"),
    [
        (pa.array([1, 2]), None, "'v' is int64, expected embeddings"),
        (pa.array([["a"]]), None, "expected embeddings"),
        (pa.array([[1.0], [1.0, 2.0]]), None, "several lengths"),
        (pa.array([[1.0], None]), None, "null in it"),
        (pa.array([[1.0, 2.0]]), 3, "'v' has vectors of 2 numbers, expected 3: another model"),
        (pa.array([[float("nan")]]), None, "not finite"),
    ],
)
def test_what_holds_no_embeddings_of_the_model_is_refused(column, dim, message):
    with pytest.raises(CurateError, match=message):
        unit_rows(column, "v", dim)


def test_no_rows():
    assert unit_rows(pa.array([], pa.list_(pa.float16())), "v", 4).shape == (0, 4)
