import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curate.alike.forest import components, spanning_forest

pytestmark = pytest.mark.slow


def arrays(links):
    a, b, closeness = zip(*links, strict=True) if links else ((), (), ())
    return np.array(a, np.int64), np.array(b, np.int64), np.array(closeness, np.float64)


def groups(links, cap):
    """By node, its label and the size of its component."""
    nodes, labels, whole = (values.tolist() for values in components(*arrays(links), cap))
    assert set(whole) <= set(nodes)
    return {node: (label, whole.count(one)) for node, label, one in zip(nodes, labels, whole, strict=True)}


def test_no_links():
    assert groups([], 10) == {}


def test_chaining_makes_one_group():
    # cos .65 and .61 over a threshold of .6; the third pair, .40, has no link.
    assert groups([(1, 2, 0.65), (2, 3, 0.61)], 10) == {1: (1, 3), 2: (1, 3), 3: (1, 3)}


def test_over_the_cap_the_weakest_links_go():
    chain = [(1, 2, 0.9), (2, 3, 0.8), (3, 4, 0.95)]
    assert groups(chain, 3) == {1: (1, 4), 2: (1, 4), 3: (3, 4), 4: (3, 4)}
    assert {label for label, _ in groups(chain, 4).values()} == {1}


def test_links_of_equal_closeness_go_together():
    assert groups([(1, 2, 0.8), (2, 3, 0.8), (3, 4, 0.9)], 3) == {1: (1, 4), 2: (2, 4), 3: (3, 4), 4: (3, 4)}


def test_rows_that_are_the_same_are_never_parted():
    same = [(i, i + 1, 1.0) for i in range(5)]
    assert {label for label, _ in groups([*same, (5, 9, 0.9)], 3).values()} == {0, 9}


def linked(links, at_least):
    """Node sets joined by links of some closeness or more, by the book."""
    nodes = {n for a, b, _ in links for n in (a, b)}
    found = {n: {n} for n in nodes}
    for a, b, closeness in links:
        if closeness >= at_least and found[a] is not found[b]:
            found[a] |= found[b]
            for n in found[b]:
                found[n] = found[a]
    return found


def cut(links, cap):
    """Of each node the largest group of any level that has at most `cap` nodes, or is all the same."""
    levels = sorted({c for *_, c in links}, reverse=True)
    best = {n: {n} for a, b, _ in links for n in (a, b)}
    for level in levels:
        for node, group in linked(links, level).items():
            if level >= 1 or len(group) <= cap:
                best[node] = group
    return {node: min(group) for node, group in best.items()}


LINKS = st.lists(
    st.tuples(st.integers(0, 9), st.integers(10, 19) | st.integers(0, 9), st.sampled_from([0.5, 0.7, 0.8, 0.9, 1.0])),
    max_size=30,
)


@settings(max_examples=300, deadline=None)
@given(LINKS, st.integers(2, 12), st.randoms(use_true_random=False))
def test_against_the_book_in_any_order_and_from_forests_of_parts(links, cap, random):
    links = [link for link in links if link[0] != link[1]]
    expected = cut(links, cap)
    assert {node: label for node, (label, _) in groups(links, cap).items()} == expected
    mixed = [(b, a, c) if random.random() < 0.5 else (a, b, c) for a, b, c in links]
    random.shuffle(mixed)
    half = random.randint(0, len(mixed))
    parts = []
    for part in (mixed[:half], mixed[half:]):
        kept = spanning_forest(*arrays(part))
        assert kept.sum() <= max(0, len({n for a, b, _ in part for n in (a, b)}) - 1)
        parts += [link for link, keep in zip(part, kept, strict=True) if keep]
    assert groups(parts, cap) == groups(links, cap)


def test_a_component_of_a_million_is_cut_to_the_cap():
    rows, cap = 2**20, 10_000
    order = np.random.default_rng(0).permutation(rows - 1)
    # A chain: link i joins i and i + 1, and is the weaker the more often 2 divides i + 1: all rows in pairs, fours ...
    often = np.log2((order + 1) & -(order + 1))
    nodes, labels, whole = components(order, order + 1, 0.9 - often / 100, cap)
    assert np.array_equal(nodes, np.arange(rows)) and len(set(whole.tolist())) == 1
    assert np.array_equal(labels, np.arange(rows) // 8192 * 8192)
