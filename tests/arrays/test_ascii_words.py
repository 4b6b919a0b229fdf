import polars as pl
import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from curate.arrays import ascii_words
from curate.arrays.ascii_words import by_bytes, distinct, in_two, with_bytes

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


def agree(texts, kind=None):
    texts = texts if isinstance(texts, pa.Array) else pa.array(texts, kind or pa.large_string())
    names = [name for name in counted("") if name != "distinct_cores"]
    columns = by_bytes(texts, *names, "codes", "lower", "characters", "beyond")
    columns["distinct_cores"] = distinct(columns.pop("codes"), columns["cores"])
    for name in counted(""):
        assert list(columns[name]) == [counted(text)[name] for text in texts.to_pylist()], name
    assert with_bytes(texts, columns["lower"]).to_list() == [text.lower() for text in texts.to_pylist()]
    assert columns["characters"].tolist() == list(map(len, texts.to_pylist()))
    assert not columns["beyond"].any()


@settings(max_examples=400, deadline=None, derandomize=True)
@given(st.lists(CAPTIONS, max_size=8), st.sampled_from([pa.string(), pa.large_string()]))
def test_counts_are_those_of_the_definitions(texts, kind):
    agree(texts, kind)


@settings(max_examples=200, deadline=None, derandomize=True)
@given(st.lists(CAPTIONS, max_size=12), st.integers(1, 60))
def test_counts_do_not_depend_on_what_is_looked_at_together(texts, together):
    usual = ascii_words.TOGETHER
    try:
        ascii_words.TOGETHER = together
        agree(texts)
    finally:
        ascii_words.TOGETHER = usual


def test_long_words_are_told_apart_behind_their_eighth_letter():
    texts = ["strawberry strawberries Strawberry!", "abcdefgh abcdefg", "abcdefgh abcdefghi (abcdefghi)", "", "a" * 70]
    agree(texts)
    columns = by_bytes(pa.array(texts), "codes", "cores")
    assert distinct(columns["codes"], columns["cores"]).to_list() == [2, 2, 2, 0, 1]


def test_words_that_meet_at_the_border_of_two_captions():
    agree(["a", "a", "", "a-", "-a", " ", "A"])


def test_signs_between_letters_belong_to_their_word():
    agree(["a--b c-d- -e", "a---", "---a", "-- --", "a -- b", "a--\tb"])
    columns = by_bytes(pa.array(["rock'n'roll rock-'n'-roll --rock--"]), "codes", "cores")
    assert distinct(columns["codes"], columns["cores"]).to_list() == [3]


def test_a_slice_of_captions():
    texts = pa.array(["zero", "One two", "three", "FOUR four"])
    agree(texts.slice(1, 2))
    assert by_bytes(texts.slice(1, 2), "words")["words"].tolist() == [2, 1]
    agree(texts.slice(3))


def marked(mark):
    return lambda texts: {"text": mark + pl.Series(texts, dtype=pl.String)}


def test_each_text_goes_where_it_belongs():
    texts = ["a", "é", None, "b", "ü", ""]
    expected = ["ascii a", "other é", None, "ascii b", "other ü", "ascii "]
    for column in (
        pa.array(texts),
        pa.array(texts, pa.large_string()),
        pa.array(["é", *texts, "é"]).slice(1, 6),
        pa.array(texts).dictionary_encode(),
        pl.Series(texts).to_arrow(),
    ):
        assert in_two(column, marked("ascii "), marked("other "))["text"].to_list() == expected
    assert in_two(pa.array(["a", "b"]), marked("ascii "), marked("other "))["text"].to_list() == ["ascii a", "ascii b"]
    assert in_two(pa.array(["é"]), marked("ascii "), marked("other "))["text"].to_list() == ["other é"]
    assert in_two(pa.array([], pa.string()), marked("ascii "), marked("other "))["text"].to_list() == []


def test_a_null_may_have_bytes():
    texts = pa.Array.from_buffers(
        pa.string(),
        3,
        [
            pa.py_buffer(b"\x05"),
            pa.py_buffer(bytes([0, 0, 0, 0, 1, 0, 0, 0, 3, 0, 0, 0, 4, 0, 0, 0])),
            pa.py_buffer(b"axxb"),
        ],
    )
    assert texts.to_pylist() == ["a", None, "b"]
    assert in_two(texts, marked("ascii "), marked("other "))["text"].to_list() == ["ascii a", None, "ascii b"]
