import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curate.annotate.step import annotate
from curate.catalog import load
from curate.op import Rows
from tests.conftest import HERE, column


def judged(*pairs, **options):
    captions, words = zip(*pairs, strict=True)
    columns = {"text": pa.array(captions), "ocr_words": pa.array(words, pa.list_(pa.string()))}
    return {
        name: list(values) if isinstance(values, list) else values.to_pylist()
        for name, values in load({"score.cotr": options}).batch(Rows(columns)).items()
    }


def rates(*pairs, **options):
    made = judged(*pairs, **options)
    return list(zip(made["cotr"], made["cotr_fuzzy"], strict=True))


@pytest.mark.parametrize(
    ("caption", "words", "rate"),
    [
        ("A red STOP sign", ["STOP", "sign!", "ahead"], 0.25),
        ("red red car", ["red"], 0.5),
        ("", ["x"], 0),
        ("a red stop sign", ["STOP"], 0),
        ("A red stop sign.", ["sign"], 0),
        ("of a", ["a", "of"], 1),
        ("two words", ["two words"], 1),
        ("A red STOP sign", [], None),
        ("", [], None),
    ],
)
def test_algorithm_1_of_the_paper(caption, words, rate):
    assert judged((caption, words))["cotr_published"] == [rate]


def test_stop_sign():
    assert rates(("A red STOP sign", ["STOP", "sign!", "ahead"])) == [(0.5, 0.5)]


def test_nothing_to_compare():
    assert rates(("A red STOP sign", []), ("", ["stop"]), ("...", ["stop"]), ("", [])) == [(0, 0)] * 4


def test_words_count_once_on_both_sides():
    assert rates(("stop stop go", ["STOP", "stop", "Stop"])) == [(0.5, 0.5)]


def test_short_words_count_as_not_written():
    pair = ("the end of a day", ["of", "a", "the"])
    assert rates(pair) == [(pytest.approx(0.2), pytest.approx(0.2))]
    assert rates(pair, least_letters=1) == [(pytest.approx(0.6), pytest.approx(0.6))]
    assert rates(("figure 10", ["10"])) == [(0, 0)]


def test_a_sign_may_be_a_word():
    assert rates(("\u732b", ["\u732b"]), ("\u732b cat", ["\u732b"])) == [(1, 1), (0.5, 0.5)]


@pytest.mark.parametrize(
    "caption",
    ["고양이 한 마리", "बिल्ली का फोटो", "แมวสีดำ", "صورة قطة", "фото кота", "תמונה של חתול", "பூனை", "పిల్లి", "고양이 TV"],
)
@pytest.mark.parametrize("words", [[], ["2O"], ["TV"]])
def test_scripts_that_the_recogniser_cannot_read_give_null(caption, words):
    made = judged((caption, words))
    assert made == {name: [None] for name in ("cotr_published", "cotr", "cotr_fuzzy")} | {
        "status": ["unreadable_script"]
    }


@pytest.mark.parametrize(
    "caption", ["un café à Paris", "黒い猫の写真", "ネコ", "αβγ", "12 + 3", "...", "", "cat 고양이 photo"]
)
def test_scripts_that_it_reads_give_a_rate(caption):
    assert judged((caption, ["cat"]))["status"] == ["ok"] and rates((caption, ["cat"])) != [(None, None)]


def test_a_recogniser_of_ones_own_reads_any_script():
    assert rates(("고양이 사진", ["고양이"]), any_script=True) == [(0.5, 0.5)]


def test_through_a_store_unread_scripts_have_a_status(make_store):
    rows = [{"text": text, "ocr_words": words} for text, words in [("stop", ["STOP"]), ("고양이", []), ("stop", [])]]
    view = annotate(make_store(rows), [load("score.cotr")], HERE)
    assert column(view, "cotr") == [1, None, 0] and column(view, "cotr_published") == [0, None, None]
    status = view.store.read_part(view.columns["cotr"], 0, ["cotr_status"])["cotr_status"]
    assert status.to_pylist() == ["ok", "unreadable_script", "ok"]


def test_misread_words_count_in_the_fuzzy_rate_alone():
    ((exact, fuzzy),) = rates(("Structure of the mitochondrion", ["Structura", "mitochondrlon"]))
    assert exact == 0 and fuzzy == 0.5


def test_a_word_broken_by_punctuation():
    pair = ("well-being, and/or wealth", ["Well-Being", "AND/OR"])
    assert rates(pair, least_letters=1) == [(pytest.approx(0.8), pytest.approx(0.8))]
    assert rates(pair) == [(pytest.approx(0.6), pytest.approx(0.6))], "`or` has two letters"


def test_every_row_is_judged_by_itself():
    pairs = [("one two", ["one"]), ("고양이", []), ("three", []), ("four five", ["five", "four"])]
    assert rates(*pairs) == [rates(pair)[0] for pair in pairs]


phrases = st.lists(
    st.sampled_from(["a", "A", "red", "Red.", "stop", "st0p", "sign!", "sign", "10", "\u732b"]), max_size=6
)


@settings(max_examples=200, deadline=None, derandomize=True)
@given(phrases, phrases)
def test_rates_by_their_definitions(caption, words):
    made = judged((" ".join(caption), words))
    (published,), (rate,), (fuzzy,) = (made[name] for name in ("cotr_published", "cotr", "cotr_fuzzy"))
    own = set(caption)
    expected = len(own & set(words)) / len(own) if own else 0
    assert published == (pytest.approx(expected) if words else None)
    assert 0 <= rate <= fuzzy <= 1
    if not words or not caption:
        assert rate == fuzzy == 0
