"""Rows of a key that may be alike: equal ones are linked at once, and only one of them is compared with others."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import polars as pl

from curate.op import Links

#: Values sorted within their keys, and where each run that is compared begins, its end last; returns places of two
#: values among them, and how close they are.
Near = Callable[[pl.Series, np.ndarray], Links]


def links_of_keys(keys: pl.Series, values: pl.Series, near: Near, most: int | None = None) -> Links:
    """Links of rows that share a key: 1 between a row and the first of its key with an equal value, and what `near`
    says of the distinct values of each key.

    most: distinct values of a key that are compared with one another; None compares all.
    """
    frame = pl.DataFrame({"key": keys, "place": np.arange(len(keys)), "value": values})
    frame = frame.with_columns(first=pl.col("place").first().over("key", "value"))
    equal = frame.filter(pl.col("place") != pl.col("first"))
    distinct = frame.filter(pl.col("place") == pl.col("first")).filter(pl.col("key").is_duplicated())
    distinct = distinct.sort("key", "value")
    run = distinct["key"].rle_id().to_numpy()
    nth = np.arange(len(distinct)) - np.searchsorted(run, run)
    begins = nth == 0 if most is None else nth % most == 0
    a, b, closeness = near(distinct["value"], np.append(np.flatnonzero(begins), len(distinct)))
    places = distinct["place"].to_numpy()
    return (
        np.concatenate([equal["first"].to_numpy(), places[a]]),
        np.concatenate([equal["place"].to_numpy(), places[b]]),
        np.concatenate([np.ones(len(equal)), closeness]),
    )
