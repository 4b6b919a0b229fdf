import os
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import xxhash
from hypothesis import given, settings
from hypothesis import strategies as st

from curate.alike import row_key
from curate.alike.row_key import comparable, row_keys, sorted_by_key, text_keys


def test_text_in_nfc_with_blanks_collapsed():
    texts = pl.Series(["  a\t b\n", "a b", "A b", "e\u0301", "\u00e9", "", " \x1c\u3000", None])
    assert text_keys(texts).to_list() == ["a b", "a b", "A b", "é", "é", None, None, None]


def by_every_rule(texts):
    """Each caption normalised, whether it needs that or not."""
    plain = texts.str.normalize("NFC").str.replace_all(r"[\s\x1c-\x1f]+", " ").str.strip_chars(" ")
    return [value or None for value in plain.to_list()]


def test_a_caption_that_needs_nothing_is_its_own_key():
    edges = [" a", "a ", "a  b", "a b", "a", "~ !", "a\x7fb", "a\tb", "a\u00a0b", "e\u0301 a", "\u212b", " ", "", None]
    texts = pl.Series(edges)
    assert text_keys(texts).to_list() == by_every_rule(texts)
    assert texts.to_list() == edges, "the captions themselves stay as they are"
    plain = pl.Series(["a b", None, ""])
    assert text_keys(plain).to_list() == ["a b", None, None]


@pytest.mark.skipif("CURATE_TEST_POOL" not in os.environ, reason="CURATE_TEST_POOL is not set")
def test_real_captions_have_the_same_keys():
    texts = pl.read_parquet(Path(os.environ["CURATE_TEST_POOL"]) / "pool.parquet")["caption"]
    texts = pl.concat([texts, texts + " ", "\n" + texts, texts.str.replace(" ", "  ")])
    assert text_keys(texts).to_list() == by_every_rule(texts)


@pytest.mark.parametrize(
    ("column", "values", "expected"),
    [
        ("url", pl.Series(["http://A/x", "https://a/x#f", "", None]), ["//a/x", "//a/x", None, None]),
        ("sha256", pl.Series(["ab", "AB", "", None]), ["ab", "AB", None, None]),
        ("n", pl.Series([1, 2, None], dtype=pl.UInt64), ["1", "2", None]),
        ("f", pl.Series([0.0, -0.0, np.nan, None]), ["0.0", "0.0", None, None]),
        ("b", pl.Series([b"\x00\xff", b"", None]), ["00ff", None, None]),
    ],
)
def test_comparable(column, values, expected):
    assert comparable(values, column).to_list() == expected


def test_key_is_xxh3_128_of_the_value():
    keys = row_keys([pl.Series(["é", None])]).to_pylist()
    assert keys == [xxhash.xxh3_128_digest("é".encode()), None]


def test_keys_of_rows_that_all_have_a_value():
    keys = row_keys([pl.Series(["é", "a b"])])
    assert keys.to_pylist() == [xxhash.xxh3_128_digest("é".encode()), xxhash.xxh3_128_digest(b"a b")]


def test_key_of_several_columns():
    left, right = pl.Series(["ab", "a", "ab", None, "ab"]), pl.Series(["c", "bc", "c", "c", None])
    keys = row_keys([left, right]).to_pylist()
    assert keys[0] == keys[2] and keys[0] != keys[1] and keys[3] is keys[4] is None
    assert all(len(key) == 16 for key in keys[:3])


def test_no_rows():
    assert row_keys([pl.Series([], dtype=pl.String)]).to_pylist() == []
    assert row_keys([comparable(pl.Series([], dtype=pl.String), "url")] * 2).to_pylist() == []


@settings(max_examples=300, deadline=None, derandomize=True)
@given(
    st.lists(st.text(st.sampled_from("ab~! \t\n\x00\x1c\x7f\u00a0é\u0301\u3000"), max_size=6) | st.none(), max_size=8)
)
def test_captions_have_the_keys_of_every_rule(captions):
    texts = pl.Series(captions, dtype=pl.String)
    assert text_keys(texts).to_list() == by_every_rule(texts)
    assert text_keys(pl.concat([pl.Series([" "]), texts])[1:]).to_list() == by_every_rule(texts)


def test_keys_do_not_depend_on_what_is_hashed_at_a_time(monkeypatch):
    texts = ["a", None, "b", "", "é", None, "a" * 300]
    expected = [None if text is None else xxhash.xxh3_128_digest(text.encode()) for text in texts]
    for size in (1, 2, 3, 1_000):
        monkeypatch.setattr(row_key, "_AT_A_TIME", size)
        assert row_keys([pl.Series(texts)]).to_pylist() == expected


KEYS = st.sampled_from([bytes(16), bytes(15) + b"\x01", b"\x7f" * 16, b"\x80" + bytes(15), b"\xff" * 16])


@settings(max_examples=200, deadline=None, derandomize=True)
@given(st.lists(st.tuples(KEYS, st.integers(-2, 2) | st.none(), st.integers(0, 9)), max_size=12))
def test_rows_are_sorted_as_bytes_are(rows):
    names = {"key": pl.Binary, "rank": pl.Int64, "row": pl.Int32}
    frame = pl.DataFrame(rows, schema=names, orient="row")

    def order(row):
        key, rank, number = row
        return key, rank is None, -(rank or 0), number

    assert sorted_by_key(frame, ["rank", "row"], descending=["rank"]).rows() == sorted(rows, key=order)
    assert sorted_by_key(frame, ["rank", "row"]).columns == [*names]


@pytest.mark.parametrize("keys", [[3, 1, 2], ["b", "a", "c"], [b"b", b"a", b"c"], [None, b"a" * 16, b"b" * 16]])
def test_rows_are_sorted_by_any_key(keys):
    frame = pl.DataFrame({"key": keys, "row": [0, 1, 2]})
    ordered = sorted_by_key(frame, ["row"])["key"].to_list()
    assert ordered == sorted(keys, key=lambda key: (key is None, key))
