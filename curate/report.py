"""The report of a run: one HTML page with the funnel, histograms, and images kept and dropped with the reason."""

from __future__ import annotations

import base64
import io
from importlib import resources
from typing import Any

import jinja2
import numpy as np
import polars as pl
from PIL import Image

from curate import __version__
from curate.dataset import Dataset
from curate.images import ImageReader, decode
from curate.store import Folder

BINS = 40
THUMBNAIL_PX = 120
KEPT_IMAGES = 24
IMAGES_PER_REASON = 6
REASONS = 12
#: Shards that samples are drawn from, spread over the store: a page must not read all of 10^5 shards.
SHARDS_LOOKED_AT = 20


def write_report(root: str, to: str | None = None) -> str:
    """Write the page; returns where it lies.

    Raises:
        CurateError: when the store was not filtered yet.
    """
    dataset = Dataset(root)
    page = _environment().get_template("report.html").render(**_facts(dataset))
    target = to or f"{dataset.store.url.rstrip('/')}/report.html"
    folder, _, name = target.rpartition("/")
    Folder(folder or ".").write_bytes(name, page.encode())
    return target


def _environment() -> jinja2.Environment:
    template = resources.files("curate").joinpath("report.html.jinja").read_text()
    return jinja2.Environment(loader=jinja2.DictLoader({"report.html": template}), autoescape=True, trim_blocks=True)


def _facts(dataset: Dataset) -> dict[str, Any]:
    manifest = dataset.store.manifest()
    steps = dataset.funnel()
    runs = list(manifest["runs"].items())
    name, run = runs[-1] if runs else ("", {})
    ledger = dataset._keep()
    return {
        "version": __version__,
        "root": dataset.store.url,
        "pipeline": name,
        "rows": dataset.rows,
        "funnel": steps.to_dicts(),
        "written": run.get("written") or {},
        "seconds": run.get("seconds") or {},
        "tables": [{"folder": f, **manifest["tables"][f]} for f in manifest["current"].values()],
        "histograms": _histograms(dataset, ledger),
        "samples": _samples(dataset, ledger) if dataset._view.images else [],
    }


def _spread(dataset: Dataset) -> list[int]:
    shards = sorted(dataset.store.shard_rows())
    picked = np.linspace(0, len(shards) - 1, min(SHARDS_LOOKED_AT, len(shards))).round().astype(int)
    return [shards[i] for i in dict.fromkeys(picked.tolist())]


def _histograms(dataset: Dataset, ledger: str) -> list[dict[str, Any]]:
    """Counts of kept and dropped rows per bin, for every numeric column of an op's table."""
    charts = []
    tables = dataset.store.manifest()["tables"]
    shards = _spread(dataset)
    for column, folder in dataset.columns().items():
        entry = tables.get(folder, {})
        if entry.get("kind") == "keep" or (folder == "records") or column in ("offset", "size", "tar"):
            continue
        first = dataset.store.read_part(folder, shards[0], [column])[column]
        if not (str(first.type).startswith(("float", "double", "int", "uint"))):
            continue
        parts = [
            pl.DataFrame(
                {
                    "v": pl.Series(dataset.store.read_part(folder, s, [column])[column]).cast(pl.Float64),
                    "kept": pl.Series(dataset.store.read_part(ledger, s, ["kept"])["kept"]),
                }
            )
            for s in shards
        ]
        frame = pl.concat(parts).filter(pl.col("v").is_finite())
        if frame["v"].n_unique() > 1:
            charts.append({"column": column, **_bars(frame)})
    return charts


def _bars(frame: pl.DataFrame) -> dict[str, Any]:
    values = frame["v"].to_numpy()
    low, high = np.quantile(values, [0.002, 0.998])
    edges = np.linspace(low, high if high > low else low + 1, BINS + 1)
    clipped = np.clip(values, edges[0], edges[-1])
    kept = frame["kept"].to_numpy()
    inside, _ = np.histogram(clipped[kept], edges)
    outside, _ = np.histogram(clipped[~kept], edges)
    top = max(int((inside + outside).max()), 1)
    bars = [{"kept": 100 * k / top, "dropped": 100 * d / top} for k, d in zip(inside, outside, strict=True)]
    return {"bars": bars, "low": f"{edges[0]:.4g}", "high": f"{edges[-1]:.4g}", "rows": len(values)}


def _samples(dataset: Dataset, ledger: str) -> list[dict[str, Any]]:
    """Some rows with an image, kept ones first, then by step and reason, most frequent first."""
    assert dataset._view.images is not None
    groups: dict[tuple[str, str], list[dict[str, str]]] = {}
    for shard in _spread(dataset):
        text = dataset.store.read_part("records", shard, ["text"])["text"].to_pylist()
        verdicts = dataset.store.read_part(ledger, shard, ["kept", "dropped_by", "reason"]).to_pylist()
        reader = ImageReader(dataset.store, dataset._view.images, shard)
        for row, verdict in enumerate(verdicts):
            key = ("kept", "") if verdict["kept"] else (verdict["dropped_by"], verdict["reason"])
            room = KEPT_IMAGES if verdict["kept"] else IMAGES_PER_REASON
            if len(groups.get(key, [])) < room and (picture := _thumbnail(reader, row)):
                groups.setdefault(key, []).append({"image": picture, "text": (text[row] or "")[:160]})
        reader.close()
    order = sorted(groups, key=lambda key: (key[0] != "kept", key))
    return [{"step": s, "reason": r, "rows": groups[s, r]} for s, r in order[: REASONS + 1]]


def _thumbnail(reader: ImageReader, row: int) -> str | None:
    data = reader.bytes(row)
    if data is None:
        return None
    try:
        image = decode(data)
    except Exception:  # noqa: BLE001 - a damaged image is not shown
        return None
    image.thumbnail((THUMBNAIL_PX, THUMBNAIL_PX), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=80)
    return base64.b64encode(buffer.getvalue()).decode()


