import pyarrow as pa
import pytest

from curate.op import Rows, load


def rates(*pairs):
    captions, words = zip(*pairs, strict=True)
    columns = {"text": pa.array(captions), "ocr_words": pa.array(words, pa.list_(pa.string()))}
    found = load("score.cotr").batch(Rows(columns))
    return list(zip(found["cotr"], found["cotr_fuzzy"], strict=True))


def test_stop_sign():
    assert rates(("A red STOP sign", ["STOP", "sign!", "ahead"])) == [(0.5, 0.5)]


def test_nothing_to_compare():
    assert rates(("A red STOP sign", []), ("", ["stop"]), ("...", ["stop"]), ("", [])) == [(0, 0)] * 4


def test_words_count_once_on_both_sides():
    assert rates(("stop stop go", ["STOP", "stop", "Stop"])) == [(0.5, 0.5)]


def test_misread_words_count_in_the_fuzzy_rate_alone():
    ((exact, fuzzy),) = rates(("Structure of the mitochondrion", ["Structura", "mitochondrlon"]))
    assert exact == 0 and fuzzy == 0.5


def test_a_word_broken_by_punctuation():
    assert rates(("well-being, and/or wealth", ["Well-Being", "AND/OR"])) == [(pytest.approx(0.8), pytest.approx(0.8))]


def test_every_row_is_judged_by_itself():
    pairs = [("a b", ["a"]), ("c", []), ("d e", ["e", "d"])]
    assert rates(*pairs) == [rates(pair)[0] for pair in pairs]
