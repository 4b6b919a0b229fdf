import pytest

from curate.catalog import load

CASES = {"stop sign": 2, "castle\n": 2, "": 0, " \t ": 0, "a\u00a0b": 1, "a\x0bb\x0cc\rd\x00e": 5, "\n\n": 2, "a  b": 2}


@pytest.mark.parametrize(("text", "tokens"), CASES.items())
def test_by_hand(text, tokens):
    assert load("score.fasttext_tokens").apply({"text": [text]})["fasttext_tokens"].to_pylist() == [tokens]
