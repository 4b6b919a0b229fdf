import numpy as np
import polars as pl
import pytest
import xxhash

from curate.alike.row_key import comparable, row_keys, text_keys


def test_text_in_nfc_with_blanks_collapsed():
    texts = pl.Series(["  a\t b\n", "a b", "A b", "e\u0301", "\u00e9", "", " \x1c\u3000", None])
    assert text_keys(texts).to_list() == ["a b", "a b", "A b", "é", "é", None, None, None]


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


def test_key_of_several_columns():
    left, right = pl.Series(["ab", "a", "ab", None, "ab"]), pl.Series(["c", "bc", "c", "c", None])
    keys = row_keys([left, right]).to_pylist()
    assert keys[0] == keys[2] and keys[0] != keys[1] and keys[3] is keys[4] is None
    assert all(len(key) == 16 for key in keys[:3])


def test_no_rows():
    assert row_keys([pl.Series([], dtype=pl.String)]).to_pylist() == []
    assert row_keys([comparable(pl.Series([], dtype=pl.String), "url")] * 2).to_pylist() == []
