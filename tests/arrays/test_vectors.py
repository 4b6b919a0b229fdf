import itertools

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from curate.alike.vector_pairs import close_pairs, earlier_max, nearest
from curate.arrays.vectors import normalised, read_vectors, unit_rows
from curate.errors import CurateError


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


@pytest.mark.slow
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
        (pa.array([[1.0, 2.0], [1.0]]), None, "'v', row 1: vector_of_1, expected 2 finite numbers in every row"),
        (pa.array([[1.0], None]), None, "'v', row 1: no_vector"),
        (pa.array([[1.0, 2.0]]), 3, "'v' has vectors of 2 numbers, expected 3: another model"),
        (pa.array([[float("nan")]]), None, "'v', row 0: not_finite_vector"),
    ],
)
def test_what_holds_no_embeddings_of_the_model_is_refused(column, dim, message):
    with pytest.raises(CurateError, match=message):
        unit_rows(column, "v", dim)


def test_no_rows():
    assert unit_rows(pa.array([], pa.list_(pa.float16())), "v", 4).shape == (0, 4)


NUMBERS = st.one_of(st.none(), st.floats(width=32), st.floats(-2, 2, width=16))
KINDS = [pa.list_(pa.float32()), pa.large_list(pa.float64())]
ROWS = st.lists(st.one_of(st.none(), st.lists(NUMBERS, max_size=4)), max_size=7)


def word(row, dim):
    """What is said of a row, by its definition."""
    if row is None:
        return "no_vector"
    if len(row) != dim:
        return f"vector_of_{len(row)}" if row else "empty_vector"
    if any(x is None or not np.isfinite(x) for x in row):
        return "not_finite_vector"
    return "ok" if any(row) else "zero_vector"


@settings(max_examples=300, deadline=None, derandomize=True)
@given(
    ROWS, st.integers(1, 4), st.sampled_from([pa.list_(pa.float32()), pa.large_list(pa.float64())]), st.integers(0, 3)
)
def test_bad_vectors_have_a_word_each_and_change_no_other_row(rows, dim, kind, skipped):
    column = pa.chunked_array([pa.array(rows, kind), pa.array(rows, kind)]).slice(skipped)
    rows = [*rows, *rows][skipped:]
    words = [word(row, dim) for row in rows]
    if len(rows) >= 8 and all(w.startswith("vector_of_") for w in words):
        with pytest.raises(CurateError, match="another model"):
            read_vectors(column, "v", dim)
        return
    found = read_vectors(column, "v", dim)
    assert found.status.tolist() == words and found.unit.shape == (len(rows), dim)
    for unit, row, said in zip(found.unit, rows, words, strict=True):
        if said == "ok":
            wide = np.array(row, np.longdouble)
            np.testing.assert_allclose(unit, wide / np.sqrt((wide**2).sum()), atol=1e-6)
        else:
            assert not unit.any()


def test_numbers_whose_squares_leave_the_range_of_their_type():
    column = pa.array([[3e30, 4e30], [3e-30, 4e-30], [3e300, 4e300], [1e-320, 0.0]], pa.list_(pa.float64()))
    found = read_vectors(column, "v", 2)
    assert found.status.tolist() == ["ok"] * 4
    assert np.allclose(found.unit, [[0.6, 0.8], [0.6, 0.8], [0.6, 0.8], [1, 0]])


def test_ordinary_vectors_have_the_bits_that_they_had():
    rows = np.random.default_rng(0).standard_normal((200, 33)).astype(np.float16).astype(np.float32)
    wanted = (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)
    column = pa.array([*rows.tolist(), [0.0] * 33, [float("inf")] * 33], pa.list_(pa.float16()))
    assert np.array_equal(read_vectors(column, "v", 33).unit[:200], wanted)


def test_a_column_of_nulls_alone():
    assert read_vectors(pa.nulls(2), "v", 3).status.tolist() == ["no_vector"] * 2
