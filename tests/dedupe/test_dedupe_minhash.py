import numpy as np
import polars as pl
import pyarrow as pa
import pytest
from conftest import HERE
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from curate.annotate.links import run_linked
from curate.annotate.partitions import USUAL, Cut
from curate.annotate.tables import folder_for
from curate.catalog import load
from curate.dedupe import minhash
from curate.dedupe.minhash import MinHash
from curate.errors import CurateError
from curate.op import Rows

pytestmark = pytest.mark.slow


def verdicts(view, op, cut=USUAL):
    folder = folder_for(view, op, whole=True)
    run_linked(view, op, folder, HERE, cut)
    table = view.store.scan(folder).collect()
    return {uid: tuple(rest) for uid, *rest in table.select("uid", *op.makes()).rows()}


def rows_of(texts):
    return [{"uid": f"{i:032x}", "text": text} for i, text in enumerate(texts)]


def of(found):
    return [None if uid is None else int(uid, 16) for uid, _ in found.values()]


TEXTS = [
    "A red stop sign!",
    "a red  STOP sign",
    "a photo of a red stop sign in the snow",
    None,
    "",
    "cat",
    "cats",
    "CAT",
    "Steel screw M8 x 100, part no. 4711",
    "Steel screw M8 x 100, part no. 4712",
]


def test_near_captions(make_store):
    found = verdicts(make_store(rows_of(TEXTS), 3), MinHash(digits="same"))
    assert of(found) == [None, 0, None, None, None, None, None, 5, None, 8]
    assert [size for _, size in found.values()] == [2, 2, 1, None, None, 2, 1, 2, 2, 2]


def test_digits(make_store):
    view = make_store(rows_of(["IMG 10", "IMG 11", "img 10"]))
    assert of(verdicts(view, MinHash(digits="same"))) == [None, 0, 0]
    assert of(verdicts(view, MinHash())) == [None, None, 0]


def test_words(make_store):
    view = make_store(rows_of(["red, stop sign", "Red Stop-Sign", "red stop sign old", "!"]))
    # Unigrams and bigrams: 5 of 7 are common.
    assert of(verdicts(view, MinHash(shingles="word", threshold=5 / 7))) == [None, 0, 0, None]
    assert of(verdicts(view, MinHash(shingles="word", threshold=0.72))) == [None, 0, None, None]
    assert of(verdicts(view, MinHash(shingles="word", k=1, threshold=0.75))) == [None, 0, 0, None]


def test_a_group_over_the_cap_is_cut_where_it_is_weakest(make_store):
    chain = ["abcdefghijklmnop", "abcdefghijklmnopq", "abcdefghijklmnopqr", "abcdefghijklmnopqrXY"]
    found = verdicts(make_store(rows_of(chain)), MinHash(threshold=0.7))
    assert of(found) == [None, 0, 0, 0]
    found = verdicts(make_store(rows_of(chain)), MinHash(threshold=0.7, cap=3))
    assert of(found) == [None, 0, 0, None]


def test_many_distinct_captions_of_one_key_are_compared_in_runs(monkeypatch):
    op = MinHash(threshold=0.5)
    texts = [f"the same long caption with a tail {a}{b}" for a in "abcd" for b in "wxyz"]
    frame = pl.DataFrame({"key": np.zeros(16, np.uint64), "node": np.arange(16), "text": texts})
    assert len(op.links(frame)[0]) == 15
    monkeypatch.setattr(minhash, "COMPARED", 4)
    a, b, _ = op.links(frame)
    assert len(a) == 12 and {(x // 4, y // 4) for x, y in zip(a, b, strict=True)} == {(i, i) for i in range(4)}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"keep": "biggest"}, "no keep 'biggest'"),
        ({"threshold": 0}, "threshold"),
        ({"shingles": "line"}, "shingles"),
        ({"ngram": 5}, "no option 'ngram'"),
    ],
)
def test_wrong_options(options, message):
    with pytest.raises(CurateError, match=message):
        load({"dedupe.minhash": options})


def test_names_and_columns():
    op = load({"dedupe.minhash": {"keep": "best:score"}})
    assert op.table() == "near_text" and list(op.makes()) == ["near_text_of", "near_text_size"]
    assert op.reads() == ("text", "uid", "score")
    assert MinHash().shape() == (18, 7) and MinHash(recall=None).shape() == (9, 13)


def test_a_caption_without_shingles_has_no_key():
    keys = MinHash(shingles="word").keys(Rows({"text": pa.array(["a", "...", "", None])}))
    assert [key.is_null().to_pylist() for key in keys] == [[False, True, True, True]] * 18


# ---- against a comparison of every row with every other ----

WORDS = st.lists(st.sampled_from(["red", "Red", "stop", "sign", "dog", "7", "8", "été", "犬"]), max_size=6)
TEXT = st.none() | WORDS.map(" ".join)


def expected(texts, threshold):
    """Components of all pairs, by the book, with character shingles of 3."""

    def cut(text):
        low = "".join("0" if c.isdecimal() else c for c in (text or "").lower())
        return {low[i : i + 3] for i in range(max(1, len(low) - 2))} - {""}

    sets = [cut(text) for text in texts]
    root = list(range(len(texts)))
    for i in range(len(texts)):
        for j in range(i):
            if sets[i] and sets[j] and len(sets[i] & sets[j]) / len(sets[i] | sets[j]) >= threshold:
                old, new = root[i], root[j]
                root = [new if r == old else r for r in root]
    found = []
    for i in range(len(texts)):
        members = [j for j in range(len(texts)) if root[j] == root[i] and sets[j]]
        found.append((None if members[0] == i else members[0], len(members)) if sets[i] else (None, None))
    return found


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(TEXT, min_size=2, max_size=14), st.sampled_from([0.3, 0.5, 0.8]), st.data())
def test_same_groups_whatever_the_order_the_shards_and_the_partitions(make_store, texts, threshold, data):
    # One value a band: a pair at the threshold is missed once in 10^10.
    op = MinHash(threshold=threshold, k=3, digits="same", recall=0.9999999999999)
    order = data.draw(st.permutations(range(len(texts))))
    rows = rows_of(texts)
    rows = pl.DataFrame([rows[i] for i in order], schema={"uid": pl.String, "text": pl.String}).to_dicts()
    cut = Cut(rows_per_partition=data.draw(st.sampled_from([100, 10**6])))
    judged = verdicts(make_store(rows, data.draw(st.sampled_from([2, 5, 50]))), op, cut)
    wanted = expected(texts, threshold)
    assert [judged[f"{i:032x}"] for i in range(len(texts))] == [
        (None if of is None else f"{of:032x}", size) for of, size in wanted
    ]
