import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from curate.arrays.ascii_words import AsciiWords, in_two

# Every kind of byte, and enough of few letters that words are repeated.
CHARACTERS = st.sampled_from("aAbB09 .-'\t\n\x00\x1c\x1f\x7f ") | st.sampled_from([chr(code) for code in range(128)])
CAPTIONS = st.lists(CHARACTERS, max_size=40).map("".join)


def alnum(character):
    return character.isascii() and character.isalnum()


def core(word):
    places = [place for place, character in enumerate(word) if alnum(character)]
    return word[places[0] : places[-1] + 1] if places else ""


def counted(text):
    """By the definitions, character by character."""
    words = text.split()
    cores = [core(word) for word in words if core(word)]
    return {
        "words": len(words),
        "visible": sum(map(len, words)),
        "digits": sum(character in "0123456789" for character in text),
        "letters_and_digits": sum(map(alnum, text)),
        "capitalised": sum(one[0].isupper() for one in cores),
        "cores": len(cores),
        "distinct_cores": len({one.lower() for one in cores}),
    }


def agree(texts):
    words = AsciiWords(pl.Series(texts, dtype=pl.String))
    for name in counted(""):
        assert list(getattr(words, name)) == [counted(text)[name] for text in texts], name


@settings(max_examples=400, deadline=None, derandomize=True)
@given(st.lists(CAPTIONS, max_size=8))
def test_counts_are_those_of_the_definitions(texts):
    agree(texts)


def test_long_words_are_told_apart_behind_their_eighth_letter():
    texts = ["strawberry strawberries Strawberry!", "abcdefgh abcdefg", "abcdefgh abcdefghi (abcdefghi)", "", "a" * 70]
    agree(texts)
    assert AsciiWords(pl.Series(texts)).distinct_cores.to_list() == [2, 2, 2, 0, 1]


def test_words_that_meet_at_the_border_of_two_captions():
    agree(["a", "a", "", "a-", "-a", " ", "A"])


def test_a_slice_of_captions():
    texts = pl.Series(["zero", "One two", "three", "FOUR four"])
    assert AsciiWords(texts.slice(1, 2)).words.tolist() == [2, 1]
    assert AsciiWords(texts.slice(3)).distinct_cores.to_list() == [1]


def test_each_text_goes_where_it_belongs():
    texts = pl.Series(["a", "é", None, "b", "ü", ""])

    def marked(mark):
        return lambda some: pl.DataFrame({"text": mark + some})

    both = in_two(texts, marked("ascii "), marked("other "))
    assert both["text"].to_list() == ["ascii a", "other é", None, "ascii b", "other ü", "ascii "]
    assert in_two(texts[[0, 3]], marked("ascii "), marked("other "))["text"].to_list() == ["ascii a", "ascii b"]
    assert in_two(texts[[1]], marked("ascii "), marked("other "))["text"].to_list() == ["other é"]
