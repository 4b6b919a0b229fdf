import hashlib

import numpy as np
import polars as pl
import pyarrow as pa
import pytest
from datasketch import MinHash
from hypothesis import given, settings
from hypothesis import strategies as st

from curate.alike import minhash
from curate.alike.minhash import candidate_probability, optimal_bands, plain, shingles, signatures, similar_sets
from curate.alike.sha1_kernels import sha1_first8

pytestmark = pytest.mark.slow

LEGACY = {"scheme": "legacy"} if hasattr(MinHash(1), "scheme") else {}


def reference(pieces, num_perm=128, seed=1):
    other = MinHash(num_perm=num_perm, seed=seed, **LEGACY)
    other.update_batch([piece.encode() for piece in pieces])
    return other.hashvalues


def chars(text, k):
    return {text[i : i + k] for i in range(max(1, len(text) - k + 1))} if text else set()


def grams(text, k):
    words = text.split(" ") if text else []
    return {" ".join(words[i : i + n]) for n in range(1, k + 1) for i in range(len(words) - n + 1)}


def captions(count, seed=0):
    """Words of many scripts, of 0 to 30 words."""
    rng = np.random.default_rng(seed)
    alphabets = ["abcdefghij", "éüßøñ", "абвгд", "犬猫写真", "🐕👍🏽", "कुत्ता", "0123456789", "-,.!'"]
    made = []
    for _ in range(count):
        words = []
        for _ in range(rng.integers(0, 30)):
            letters = list(alphabets[rng.choice(len(alphabets), p=[0.5, 0.1, 0.1, 0.06, 0.06, 0.06, 0.06, 0.06])])
            words.append("".join(rng.choice(letters, rng.integers(1, 25))))
        made.append(" ".join(words))
    return made


def test_sha1_of_every_length_to_three_blocks():
    data = np.random.default_rng(0).integers(0, 256, 1100).astype(np.uint8)
    for size in [*range(200), 1000]:
        first = hashlib.sha1(data[3 : 3 + size].tobytes()).digest()[:8]
        assert int(sha1_first8(data, 3, size, np.zeros(80, np.uint32))) == int.from_bytes(first, "little")


@pytest.mark.parametrize(("text", "value"), [("hello", 499578026), ("a", 937752454), ("the", 786418875)])
def test_base_hash_of_datasketch(text, value):
    ids, bounds = shingles(pl.Series([text]))
    assert bounds.tolist() == [0, 1] and int(ids[0]) & 0xFFFFFFFF == value


def test_permutations_and_first_values():
    a, c = minhash.permutations(128, 1)
    assert a[:2].tolist() == [775169054918279404, 2109959069025162]
    assert c[:2].tolist() == [1758426461858698312, 965365488286768773]
    values = signatures(*shingles(pl.Series(["a"])))
    assert values.shape == (1, 128) and values.dtype == np.uint32
    assert values[0, :4].tolist() == [297616339, 2290196162, 2013617805, 1974455217]


@pytest.mark.parametrize("k", [1, 4, 5, 9])
def test_signatures_of_characters_are_those_of_datasketch(k):
    texts = captions(800, seed=k)
    values = signatures(*shingles(pl.Series(texts), k))
    for text, mine in zip(texts, values, strict=True):
        if text:
            assert np.array_equal(mine, reference(chars(text, k))), text


@pytest.mark.parametrize("k", [1, 2, 3])
def test_signatures_of_words_are_those_of_datasketch(k):
    texts = captions(500, seed=k)
    values = signatures(*shingles(pl.Series(texts), k, words=True), num_perm=64, seed=7)
    for text, mine in zip(texts, values, strict=True):
        if text:
            assert np.array_equal(mine, reference(grams(text, k), 64, 7)), text


def test_estimate_of_the_published_example():
    values = signatures(*shingles(pl.Series(["red stop sign", "red stop sign old"]), 1, words=True))
    assert (values[0] == values[1]).mean() == 0.7734375


@settings(max_examples=200, deadline=None)
@given(st.lists(st.text(st.characters(codec="utf-8"), max_size=90), max_size=6), st.integers(1, 8))
def test_any_text(texts, k):
    ids, bounds = shingles(pl.Series(texts, dtype=pl.String), k)
    for i, text in enumerate(texts):
        mine = ids[bounds[i] : bounds[i + 1]].tolist()
        digests = {hashlib.sha1(piece.encode()).digest()[:8] for piece in chars(text, k)}
        assert mine == sorted(int.from_bytes(digest, "little") for digest in digests)


def test_slices_chunks_and_nulls():
    texts = pa.array(["zero", "a dog in a park", None, "", "one two three"], pa.large_string())
    ids, bounds = shingles(texts.slice(1, 4))
    alone = shingles(pl.Series(["a dog in a park"]))[0]
    assert ids[: bounds[1]].tolist() == alone.tolist() and bounds[1] == bounds[2] == bounds[3] < bounds[4]
    assert np.diff(shingles(pl.Series([None, ""], dtype=pl.String))[1]).tolist() == [0, 0]


def test_a_text_longer_than_any_block():
    text = "ab" * 5000 + "x" * 400
    assert len(shingles(pl.Series([text]), 300)[0]) == len(chars(text, 300))


@pytest.mark.parametrize(
    ("text", "options", "expected"),
    [
        ("A  Red\tCar, 2019 ", {}, "a red car, 0000"),
        ("Cafe\u0301 ١٢", {}, "caf\u00e9 00"),
        ("A Red-Car: no. 7", {"words": True}, "a red car no 0"),
        ("No. 7", {"digits": False}, "no. 7"),
        ("ÇA İ ẞ", {"words": True}, "ça i\u0307 ß"),
        ("!?", {"words": True}, ""),
        (None, {}, None),
    ],
)
def test_plain(text, options, expected):
    assert plain(pl.Series([text], dtype=pl.String), **options).to_list() == [expected]


# ---- the published table of bands, and the curve ----

TABLE = {
    64: [(14, 4), (8, 8), (5, 11), (4, 15), (3, 21)],
    128: [(25, 5), (14, 9), (9, 13), (8, 16), (5, 25)],
    256: [(42, 6), (25, 10), (17, 15), (13, 19), (9, 28)],
}


@pytest.mark.parametrize("num_perm", TABLE)
def test_optimal_bands(num_perm):
    assert [optimal_bands(num_perm, t) for t in (0.5, 0.7, 0.8, 0.85, 0.9)] == TABLE[num_perm]


@pytest.mark.parametrize(
    ("bands", "rows", "curve"),
    [
        (9, 13, [0.0117, 0.0839, 0.3988, 0.9286]),
        (20, 13, [0.0258, 0.1769, 0.6773, 0.9972]),
        (16, 8, [0.2374, 0.6133, 0.9470, 0.9999]),
        (25, 5, [0.8678, 0.9899, 1.0, 1.0]),
    ],
)
def test_candidate_probability(bands, rows, curve):
    found = candidate_probability(np.array([0.6, 0.7, 0.8, 0.9]), bands, rows)
    assert np.allclose(found, curve, atol=1e-3 if bands == 25 else 6e-5)


def test_recalling_bands():
    bands, rows = minhash.recalling_bands(128, 0.8, 0.95)
    assert candidate_probability(0.8, bands, rows) >= 0.95 > candidate_probability(0.8, 128 // (rows + 1), rows + 1)
    assert minhash.recalling_bands(4, 0.1, 0.99) == (4, 1)


def test_band_keys_agree_where_all_values_of_the_band_do():
    values = np.arange(24, dtype=np.uint32).reshape(2, 12)
    values[1, :4] = values[0, :4]
    values[1, 5:8] = values[0, 5:8]
    keys = minhash.band_keys(values, 3, 4)
    assert (keys[0] == keys[1]).tolist() == [True, False, False]
    with pytest.raises(ValueError, match="4 bands of 4 need 16"):
        minhash.band_keys(values, 4, 4)


# ---- Jaccard ----


@pytest.mark.parametrize(
    ("a", "b", "k", "similarity"),
    [
        ("a red stop sign", "a red stop sign!", 5, 11 / 12),
        ("photo of a red car", "photo of a blue car", 4, 9 / 22),
    ],
)
def test_true_jaccard(a, b, k, similarity):
    sets = shingles(pl.Series([a, b]), k)
    for threshold in (similarity, similarity - 1e-9, 0.01):
        links = similar_sets(*sets, np.array([0, 1]), np.array([0, 2]), threshold)
        assert [part.tolist() for part in links] == [[0], [1], [similarity]]
    assert not len(similar_sets(*sets, np.array([0, 1]), np.array([0, 2]), np.nextafter(similarity, 2))[0])


def labels(count, links):
    root = list(range(count))
    for a, b in links:
        old, new = root[a], root[b]
        root = [new if r == old else r for r in root]
    return [[i for i in range(count) if root[i] == root[j]] for j in range(count)]


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.sets(st.integers(0, 12), min_size=1), min_size=1, max_size=12),
    st.sampled_from([0.1, 0.25, 0.5, 0.6, 0.75, 0.8, 1.0]),
    st.data(),
)
def test_the_forest_has_the_components_of_all_pairs_at_every_threshold(sets, threshold, data):
    ids = np.array([x for s in sets for x in sorted(s)], np.uint64)
    bounds = np.cumsum([0, *map(len, sets)])
    members = np.array(data.draw(st.permutations(range(len(sets)))))
    cut = data.draw(st.integers(0, len(sets)))
    groups = np.unique([0, cut, len(sets)])
    a, b, closeness = similar_sets(ids, bounds, members, groups, threshold)
    assert len(a) < len(sets)
    for level in {threshold, *closeness.tolist()}:
        pairs = [
            (i, j)
            for i in range(len(sets))
            for j in range(i)
            if (i < cut) == (j < cut)
            and len(sets[members[i]] & sets[members[j]]) / len(sets[members[i]] | sets[members[j]]) >= level
        ]
        mine = [(i, j) for i, j, s in zip(a, b, closeness, strict=True) if s >= level]
        assert labels(len(sets), mine) == labels(len(sets), pairs)


def test_values_next_to_a_multiple_of_the_modulus_are_exact():
    from curate.alike import minhash_kernels as kernels

    mersenne = (1 << 61) - 1
    factors = [mersenne - 1, 1, mersenne - 1, 3 * mersenne - 1, 2**64 - 1, 2**64 - 1, 5, 0]
    terms = [0, 0, 1, 0, 0, 1, 7, mersenne]
    ids = np.array([1, 1 << 32 | 2], np.uint64)
    values = np.empty((1, 8), np.uint32)
    a, c = (np.array(numbers, np.uint64) for numbers in (factors, terms))
    kernels.signatures(ids, np.array([0, 2]), a, c, values)
    exact = [
        min(((f * x + t) % 2**64 % mersenne) & 0xFFFFFFFF for x in (1, 2)) for f, t in zip(factors, terms, strict=True)
    ]
    assert values[0].tolist() == exact


def test_sha1_of_messages_of_all_lengths_together():
    texts = ["x" * n for n in [*range(1, 70), 1, 200, 55, 56, 3]]
    ids, bounds = shingles(pl.Series(texts), 1000)
    assert bounds.tolist() == list(range(len(texts) + 1))
    assert ids.tolist() == [int.from_bytes(hashlib.sha1(t.encode()).digest()[:8], "little") for t in texts]
