import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curate.alike.hamming import covering_masks, masks_needed, near_hashes

pytestmark = pytest.mark.slow


@pytest.mark.parametrize(("radius", "pieces"), [(0, 1), (0, 2), (1, 2), (3, 5), (6, 7), (6, 8), (6, 9), (10, 12)])
def test_masks_cover_every_pair_within_the_radius(radius, pieces):
    masks = covering_masks(radius, pieces)
    assert len(masks) == masks_needed(radius, pieces)
    rng = np.random.default_rng(radius)
    for _ in range(500):
        difference = np.bitwise_or.reduce(np.uint64(1) << rng.choice(64, radius, False).astype(np.uint64), initial=0)
        assert ((masks & np.uint64(difference)) == 0).any()


def test_too_few_pieces_cover_nothing():
    assert not len(covering_masks(3, 3)) or covering_masks(3, 3).tolist() == [0]


def components(count, pairs):
    root = list(range(count))
    for a, b in pairs:
        old, new = root[a], root[b]
        root = [new if r == old else r for r in root]
    return [[i for i in range(count) if root[i] == root[j]] for j in range(count)]


@st.composite
def hashes(draw):
    """Some random hashes, and others a few bits from them."""
    seeds = draw(st.lists(st.integers(0, 2**64 - 1), min_size=1, max_size=4))
    found = []
    for _ in range(draw(st.integers(1, 14))):
        value = draw(st.sampled_from(seeds))
        for bit in draw(st.lists(st.integers(0, 63), max_size=9)):
            value ^= 1 << bit
        found.append(value)
    return found


@settings(max_examples=200, deadline=None)
@given(hashes(), st.integers(0, 16), st.data())
def test_the_forest_has_the_components_of_all_pairs_at_every_radius(values, radius, data):
    cut = data.draw(st.integers(0, len(values)))
    groups = np.unique([0, cut, len(values)])
    a, b, bits = near_hashes(np.array(values, np.uint64), groups, radius)
    assert len(a) < len(values)
    for i, j, distance in zip(a, b, bits, strict=True):
        assert (values[i] ^ values[j]).bit_count() == distance <= radius
    for level in range(radius + 1):
        pairs = [
            (i, j)
            for i in range(len(values))
            for j in range(i)
            if (i < cut) == (j < cut) and (values[i] ^ values[j]).bit_count() <= level
        ]
        mine = [(i, j) for i, j, d in zip(a, b, bits, strict=True) if d <= level]
        assert components(len(values), mine) == components(len(values), pairs)
