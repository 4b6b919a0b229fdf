"""Keys of rows: 16 bytes that are equal where the values are, whatever machine or process made them."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl
import pyarrow as pa
import xxhash

# What Python's str.split() splits at: white space and the four information separators.
_BLANKS = r"[\s\x1c-\x1f]+"

# A caption in which this is not found is its own key: printable ASCII is NFC, and its only blank is the space.
_ODD = r"[^ -~]|  |^ | $"


def text_keys(texts: pl.Series) -> pl.Series:
    """Captions in NFC with each run of blanks as one, none at the ends; an empty one is null. Case is kept.

    >>> text_keys(pl.Series([" a\\n b ", "a b", "", None])).to_list()
    ['a b', 'a b', None, None]
    """
    rows = texts.str.contains(_ODD).fill_null(False).arg_true()
    keys = texts
    if len(rows):
        odd = texts.gather(rows).str.normalize("NFC").str.replace_all(_BLANKS, " ").str.strip_chars(" ")
        keys = texts.clone().scatter(rows, odd)  # scatter writes into its series
    return keys.set(keys == "", None)


def comparable(values: pl.Series, column: str) -> pl.Series:
    """A column's values as strings that are equal where the values count as the same; empty or NaN is null."""
    if column == "text":
        return text_keys(values)
    if column == "url":
        from curate.alike.url_key import url_keys

        values = url_keys(values)
    elif values.dtype == pl.Binary:
        values = values.bin.encode("hex")
    elif values.dtype.is_float():
        values = values.fill_nan(None).set(values == 0, 0.0).cast(pl.String)  # -0.0 is 0.0
    else:
        values = values.cast(pl.String)
    return values.set(values == "", None)


def row_keys(columns: Sequence[pl.Series]) -> pa.Array:
    """128-bit xxh3 over one row's strings; null where any of them is null.

    128 bits: among 10^10 rows, 64-bit keys would collide by chance 2.7 times.
    """
    if len(columns) > 1:
        # The lengths keep ("ab", "c") and ("a", "bc") apart.
        named = pl.DataFrame([column.alias(str(i)) for i, column in enumerate(columns)])
        lengths = pl.concat_str(pl.all().str.len_bytes().cast(pl.String), separator=",")
        joined = named.select(pl.concat_str(lengths, pl.lit(":"), pl.concat_str(pl.all()))).to_series()
    else:
        joined = columns[0]
    joined, digest = joined.cast(pl.Binary), xxhash.xxh3_128_digest
    if joined.null_count():
        return pa.array([None if value is None else digest(value) for value in joined.to_list()], pa.binary())
    return pa.array(list(map(digest, joined.to_list())), pa.binary())
