import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curate.alike.wide_hamming import agreeing, half_type, keys_for, near_wide, nearest_wide, sampled_keys

pytestmark = pytest.mark.slow


def groups_of(values, rows):
    """Smallest member of each row's group, by links in plain loops."""
    root = list(range(rows))
    for a, b in values:
        old, new = max(root[a], root[b]), min(root[a], root[b])
        root = [new if r == old else r for r in root]
    return root


def planted(rng, rows, radius):
    """Hashes of few different bytes, so that many share a key, and as many that differ from an earlier one in up to
    radius + 4 bits, or in radius bits that are spread over all pieces."""
    words = rng.choice(np.array([0x0F, 0xC5, 0x3A], np.uint8), (rows, 32)).view(np.uint64)
    for i in range(rows // 2, rows):
        words[i] = words[rng.integers(i)]
        spread = np.arange(0, 256, max(1, 256 // max(1, radius)))[:radius]
        chosen = spread if i % 2 else rng.choice(256, rng.integers(radius + 5), replace=False)
        for bit in chosen.tolist():
            words[i, bit // 64] ^= np.uint64(1) << np.uint64(bit % 64)
    return words


def by_keys(words, radius):
    """Links of all keys, as dedupe.perceptual makes them."""
    found = []
    for half in words.view(half_type(radius)).T:
        order = np.argsort(half, kind="stable")
        starts = np.flatnonzero(np.append(True, np.diff(half[order].astype(object)) != 0))
        a, b, bits = near_wide(words[order], np.append(starts, len(order)), radius)
        found.append((order[a], order[b], bits))
    return [np.concatenate(part) for part in zip(*found, strict=True)]


@pytest.mark.parametrize("radius", [0, 1, 3, 4, 7, 8, 15, 16, 30, 31])
def test_every_pair_is_found_at_every_radius(radius):
    words = planted(np.random.default_rng(radius), 500, radius)
    apart = np.bitwise_count(words[:, None] ^ words[None]).sum(-1)
    a, b, bits = by_keys(words, radius)
    assert (apart[a, b] == bits).all() and bits.max() <= radius
    for level in {radius, radius // 2, 0}:
        pairs = np.argwhere(np.triu(apart <= level, 1)).tolist()
        mine = [(i, j) for i, j, far in zip(a.tolist(), b.tolist(), bits.tolist(), strict=True) if far <= level]
        assert groups_of(mine, 500) == groups_of(pairs, 500)


def test_a_forest_is_kept_where_all_are_near_all():
    # 400 hashes within 2 bits of each other are 79,800 pairs: more than the list of links has room for.
    words = np.zeros((400, 4), np.uint64)
    for i in range(1, 257):
        words[i, (i - 1) // 64] = np.uint64(1) << np.uint64((i - 1) % 64)
    words[257:, 0] = np.uint64(3) << np.arange(143, dtype=np.uint64) % np.uint64(63)
    words = np.unique(words, axis=0)
    a, b, bits = near_wide(words, np.array([0, len(words)]), 31)
    assert len(a) == len(words) - 1 and set(groups_of(zip(a.tolist(), b.tolist(), strict=True), len(words))) == {0}
    assert bits.max() == 1


@pytest.mark.parametrize("bits", [8, 16, 24])
def test_sampled_keys_find_as_many_pairs_as_is_reckoned(bits):
    rng = np.random.default_rng(bits)
    for distance in (4, 16, 31):
        keys = keys_for(0.9, distance, bits)
        flips = np.zeros((4000, 256), np.uint8)
        flips[np.arange(4000)[:, None], np.argsort(rng.random((4000, 256)))[:, :distance]] = 1
        words = rng.integers(0, 2**64, (4000, 4), np.uint64, endpoint=False)
        other = words ^ np.packbits(flips, axis=1).view(np.uint64)
        equal = sampled_keys(words, keys, bits) == sampled_keys(other, keys, bits)
        # Of 4,000 pairs five standard deviations.
        assert abs(equal.mean() - agreeing(distance, bits)) < 0.02
        assert abs(equal.any(axis=1).mean() - (1 - (1 - agreeing(distance, bits)) ** keys)) < 0.025
        assert equal.any(axis=1).mean() > 0.9 - 0.025


def test_all_pairs_are_compared_whatever_half_they_share():
    """40 hashes that share one half of a piece only, and differ in two bits of the other half of it."""
    rng = np.random.default_rng(0)
    words = np.repeat(rng.integers(0, 2**64, (1, 4), np.uint64, endpoint=False), 2, axis=0)
    words[1, 0] ^= np.uint64(0b11 << 8)
    far = rng.integers(0, 2**64, (40, 4), np.uint64, endpoint=False)
    far[:, 0] = far[:, 0] >> np.uint64(8) << np.uint64(8) | words[0, 0] & np.uint64(255)
    both = np.concatenate([words, far])
    bounds = np.array([0, len(both)])
    assert [part.tolist() for part in near_wide(both, bounds, 31, all_pairs=True)] == [[0], [1], [2]]
    assert [len(part) for part in near_wide(both, bounds, 31)] == [0, 0, 0]


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(0, 2**256 - 1), min_size=1, max_size=6), st.lists(st.integers(0, 255), max_size=40))
def test_the_nearest_is_the_first_of_the_nearest(values, flips):
    value = values[0]
    for bit in flips:
        value ^= 1 << bit
    words = np.frombuffer(b"".join(v.to_bytes(32, "little") for v in [value, *values]), np.uint64).reshape(-1, 4)
    bits, place = nearest_wide(words[:1], words[1:])
    far = [(value ^ other).bit_count() for other in values]
    assert bits.tolist() == [min(far)] and place.tolist() == [far.index(min(far))]
