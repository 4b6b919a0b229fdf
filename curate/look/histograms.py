"""Histograms of a report: kept and dropped rows by each score, and the limits that filters set."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl

from curate.look.dataset import Dataset
from curate.look.samples import verdicts

BINS = 40

_SIGNS = {">=": "≥", "<=": "≤"}


def histograms(dataset: Dataset, keep: str, shards: list[int]) -> list[dict[str, Any]]:
    """Counts of kept and dropped rows per bin, for every score; those that a filter uses first, with their limits.
    keep: the folder of the verdicts. shards: those that are looked at."""
    kept = verdicts(dataset.view, shards, keep)["kept"]
    limits = _limits(dataset)
    charts = []
    for column in dataset.scores():
        values = pl.concat([dataset.view.frame(shard, [column])[column].cast(pl.Float64) for shard in shards])
        whole = bool((values.drop_nulls() == values.drop_nulls().round()).all())
        frame = pl.DataFrame({"value": values, "kept": kept}).filter(pl.col("value").is_finite())
        if frame["value"].n_unique() > 1:
            bars = bars_of(frame["value"].to_numpy(), frame["kept"].to_numpy(), limits.get(column, []), whole)
            charts.append({"column": column, **bars})
    return charts


def _limits(dataset: Dataset) -> dict[str, list[tuple[str, float]]]:
    limits: dict[str, list[tuple[str, float]]] = {}
    for _, column, relation, value in dataset.thresholds().iter_rows():
        limits.setdefault(column, []).append((relation, value))
    return limits


def _edges(values: np.ndarray, limits: list[tuple[str, float]], whole: bool) -> np.ndarray:
    """Bins over all but the outermost values and over the limits; whole numbers never share a bin unevenly."""
    low, high = np.quantile(values, [0.002, 0.998])
    for _, limit in limits:
        if values.min() <= limit <= values.max():
            low, high = min(low, limit), max(high, limit)
    if not whole:
        return np.linspace(low, high if high > low else low + 1, BINS + 1)
    low, high = int(np.floor(low)), int(np.ceil(high))
    width = -(-(high - low + 1) // BINS)
    return low - 0.5 + width * np.arange((high - low) // width + 2)


def bars_of(values: np.ndarray, kept: np.ndarray, limits: list[tuple[str, float]], whole: bool) -> dict[str, Any]:
    """Heights of kept and dropped rows in each bin, in percent of the highest bar, and where limits stand."""
    edges = _edges(values, limits, whole)
    first, last = edges[0], edges[-1]
    inside, _ = np.histogram(np.clip(values[kept], first, last), edges)
    outside, _ = np.histogram(np.clip(values[~kept], first, last), edges)
    top = max(int((inside + outside).max()), 1)
    bars = [{"kept": 100 * k / top, "dropped": 100 * d / top} for k, d in zip(inside, outside, strict=True)]
    marks = []
    for relation, limit in limits:
        # Between whole numbers: what is kept stands on one side of the line.
        at = limit + {">": 0.5, ">=": -0.5, "<": -0.5, "<=": 0.5, "=": 0}[relation] if whole else limit
        if first <= at <= last:
            label = f"{_SIGNS.get(relation, relation)} {limit:g}"
            marks.append({"at": 100 * (at - first) / (last - first), "label": label})
    shift = 0.5 if whole else 0
    ends = {"low": f"{first + shift:.4g}", "high": f"{last - shift:.4g}"}
    return {"bars": bars, "marks": marks, **ends, "rows": len(values)}
