"""The report of a run: one HTML page with the funnel, histograms, and images kept and dropped with the reason."""

from __future__ import annotations

import base64
import io
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
from PIL import Image

from curate import __version__
from curate.filter.sql import condition
from curate.look.dataset import Dataset
from curate.look.funnel_by import LINES, as_lines, funnel_by, step_names
from curate.look.histograms import histograms
from curate.look.op_report import sentence, shown
from curate.look.op_report import tables as op_tables
from curate.look.samples import filled, verdicts
from curate.look.show import columns_of
from curate.messages.counted import counted
from curate.messages.remarks import Remarks
from curate.pictures.attempt import attempt
from curate.pipeline.weak_scores import in_store
from curate.store.folder import folder_and_name, identity
from curate.store.images import ImageReader
from curate.store.manifest import Keep, Manifest, Run, Table
from curate.store.verify import is_signed, signed

if TYPE_CHECKING:
    import jinja2

#: Twice what is shown, for fine screens.
THUMBNAIL_PX = 288
KEPT_ROWS = 24
ROWS_PER_REASON = 6
TEXTS_PER_REASON = 3
#: Reasons with examples per step; the funnel lists all of them.
REASONS_PER_STEP = 6
CHARACTERS = 200
#: Shards that samples and histograms are drawn from, spread over the store: a page must not read all of 10^5 shards.
SHARDS_LOOKED_AT = 20
SEED = 0


def write_report(root: str, to: str | None = None, by: str | None = None) -> str:
    """Write the page, one file that loads nothing; returns where it lies (default: report.html in the store).

    by: a column whose values have a funnel of their own. A page that is there already, of the same store as it is now,
    stays.

    Raises:
        CurateError: when the store was not filtered yet.
    """
    dataset = Dataset(root)
    target = to or f"{dataset.store.url.rstrip('/')}/report.html"
    folder, name = folder_and_name(target)
    mark = f"<!-- of {_state(dataset, by)} -->"
    if folder.exists(name) and is_signed(earlier := folder.read_bytes(name)) and mark.encode() in earlier:
        return target
    page = _environment().get_template("report.html").render(**_facts(dataset), by=_by(root, by))
    folder.write_bytes(name, signed(f"{page}\n{mark}"))
    return target


def _state(dataset: Dataset, by: str | None) -> str:
    """Identity of all that a page is made from. How long the last run took is no part of it: a run that has nothing to
    do takes another time, and changes nothing."""
    manifest = dataset.manifest.json_tree()
    runs = {name: {**run, "seconds": {}} for name, run in manifest.get("runs", {}).items()}
    makers = [
        *(Path(__file__).with_name(name).read_bytes().hex() for name in ("report.py", "histograms.py")),
        _template(),
    ]
    more = {"by": by} if by else {}
    return identity(
        manifest={**manifest, "runs": runs}, version=__version__, root=dataset.store.url, makers=makers, **more
    )


def _by(root: str, column: str | None) -> dict[str, Any] | None:
    """The funnel by the values of a column."""
    if not column:
        return None
    steps = step_names(Dataset(root))
    lines = as_lines(funnel_by(root, column), steps)
    return {"column": column, "steps": steps, "lines": lines[:LINES], "number": len(lines)}


def _template() -> str:
    return resources.files("curate.look").joinpath("report.html.jinja").read_text(encoding="utf-8")


def _environment() -> jinja2.Environment:
    # Imported here: a page that stays needs no template.
    import jinja2

    loader = jinja2.DictLoader({"report.html": _template()})
    environment = jinja2.Environment(loader=loader, autoescape=True, trim_blocks=True, lstrip_blocks=True)
    environment.filters["count"] = lambda number: f"{number:,}"
    environment.filters["share"] = lambda part, whole: f"{part / whole:.1%}" if whole else ""
    return environment


def _facts(dataset: Dataset) -> dict[str, Any]:
    manifest = dataset.manifest
    keep = dataset.keep_folder()
    runs = [(name, run) for name, run in manifest.runs.items() if run.keep == keep]
    name, run = runs[-1] if runs else ("", Run())
    steps = _steps(dataset)
    return {
        "version": __version__,
        "root": dataset.store.url,
        "pipeline": name,
        "rows": dataset.rows,
        "kept": steps[-1]["left"],
        "copies": manifest.keep(keep).counts.copies,
        "steps": steps,
        "written": run.written,
        "seconds": run.seconds,
        "tables": [_maker(table, manifest.tables[folder]) for table, folder in manifest.current.items()],
        "remarks": _remarks(manifest),
        "histograms": histograms(dataset, keep, _spread(dataset)),
        "groups": _samples(dataset, keep, steps),
        "looked_at": len(_spread(dataset)),
        "shards": len(dataset.manifest.shard_rows()),
    }


def _remarks(manifest: Manifest) -> list[tuple[str, str]]:
    """(step, what it changed, left out, cut, guessed or skipped), in the order of the tables."""
    remarks = [("read", group.remarks) for group in manifest.inputs]
    remarks += [(name, manifest.tables[folder].remarks) for name, folder in manifest.current.items()]
    remarks += [("write", run.written.get("remarks")) for run in list(manifest.runs.values())[-1:]]
    lines = [("read", f"{counted(group.rows, 'row')}, {columns_of(group)}") for group in manifest.inputs]
    lines += [(name, line) for name, kinds in remarks for line in Remarks.from_json(kinds or {}).lines()]
    return lines + in_store(manifest)


def _steps(dataset: Dataset) -> list[dict[str, Any]]:
    """The funnel by step, with the condition that each reason stands for."""
    steps: list[dict[str, Any]] = []
    rules = dataset.rules()
    for row in dataset.funnel().iter_rows(named=True):
        # Rows that were out from the beginning left by no rule.
        rule = rules.get(row["step"], {"where": {}, "top": None})
        if row["reason"] is None:
            steps.append({**row, "reasons": [], "columns": _used(rule)})
            continue
        words = row["reason"].removesuffix(" (no value)")
        condition = rule["where"].get(words, "")
        about = {"condition": condition if condition != words else "", "columns": _used(rule, words)}
        steps[-1]["reasons"].append({"reason": row["reason"], "rows": row["rows"], **about})
    return steps


def _used(rule: dict[str, Any], reason: str = "") -> list[str]:
    """Columns that a filter, or the condition of one of its reasons, looks at."""
    conditions = [rule["where"][reason]] if reason in rule["where"] else [] if reason else rule["where"].values()
    names = [name for sql in conditions for name in condition(sql).columns]
    if rule["top"] and reason not in rule["where"]:
        names.append(rule["top"]["by"])
    return list(dict.fromkeys(names))


def _maker(name: str, entry: Table | Keep) -> dict[str, Any]:
    if isinstance(entry, Keep):
        others = {name: entry.filter[name] for name in ("subset", "copies", "top") if entry.filter.get(name)}
        options = entry.filter["where"] | others
        entry = Table(name=name, op="filter")
    else:
        # Those of a download would fill the page; the manifest has them.
        options = {} if name == "images" else entry.options
        options = {option: value for option, value in options.items() if value not in ("", None)}
    return {
        "name": name,
        "op": entry.op,
        "options": "; ".join(k if k == v else f"{k}: {v}" for k, v in options.items()),
        "weights": entry.weights,
        "seconds": entry.seconds,
        "said": sentence(entry.report),
        "about_rows": op_tables(entry.report),
    }


def _spread(dataset: Dataset) -> list[int]:
    shards = sorted(dataset.manifest.shard_rows())
    picked = np.linspace(0, len(shards) - 1, min(SHARDS_LOOKED_AT, len(shards))).round().astype(int)
    return [shards[i] for i in dict.fromkeys(picked.tolist())]


def _samples(dataset: Dataset, keep: str, steps: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Kept rows, then the rows that each step dropped, by reason, the most frequent first; pictures where stored."""
    rows = verdicts(dataset.view, _spread(dataset), keep)
    rows = rows.sample(fraction=1, shuffle=True, seed=SEED)
    wide = "url" in dataset.view.columns
    scores = set(dataset.scores())
    # Under a kept row stands what the last filter on scores judged it by.
    judged = next((columns for step in reversed(steps) if (columns := [c for c in step["columns"] if c in scores])), [])
    groups = [{"step": "", "reason": "", "rows": steps[-1]["left"], "columns": judged, "room": KEPT_ROWS}]
    for step in steps:
        for reason in step["reasons"][:REASONS_PER_STEP]:
            groups.append({**reason, "step": step["step"], "room": ROWS_PER_REASON})
    order = {step["step"]: number for number, step in enumerate(steps, 1)}
    for group in groups:
        group["number"] = order.get(group["step"], 0)
        matching = pl.col("kept")
        if group["step"]:
            matching = (pl.col("dropped_by") == group["step"]) & (pl.col("reason") == group["reason"])
        picked = rows.filter(matching).head(group["room"])
        names = ["text", *(["url"] if wide else []), *group["columns"]]
        cards = _cards(dataset, filled(dataset.view, picked, list(dict.fromkeys(names))), group)
        group["cards"] = [card for card in cards if card["image"]]
        group["texts"] = [] if group["cards"] else cards[:TEXTS_PER_REASON]
    return [group for group in groups if group["cards"] or group["texts"]]


def _cards(dataset: Dataset, rows: pl.DataFrame, group: dict[str, Any]) -> list[dict[str, Any]]:
    cards = []
    readers: dict[int, ImageReader] = {}
    wide = "url" in rows.columns
    for row in rows.iter_rows(named=True):
        shard = row["shard"]
        if dataset.view.images and shard not in readers:
            readers[shard] = ImageReader(dataset.store, dataset.view.images, shard)
        image = _thumbnail(readers[shard], row["row"]) if readers else None
        cards.append(
            {
                "image": image,
                "text": _cut(row["text"]) or "(no caption)",
                "url": (_cut(row["url"]) or "(no url)") if wide and group["step"] == "download" else "",
                "values": [f"{name} {shown(row[name])}" for name in group["columns"] if _short(row[name])],
            }
        )
    for reader in readers.values():
        reader.close()
    return cards


def _cut(text: str | None) -> str:
    return text[:CHARACTERS] + "…" if text and len(text) > CHARACTERS else text or ""


def _short(value: Any) -> bool:
    if isinstance(value, str):
        return len(value) <= 12
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _thumbnail(reader: ImageReader, row: int) -> dict[str, Any] | None:
    try:
        data = reader.bytes(row)
        if data is None:
            return None
        decoded = attempt(data)[0]
        if decoded is None:
            return None
        image = decoded.image
    except Exception:  # noqa: BLE001 - a damaged image is not shown
        return None
    width, height = image.size
    image.thumbnail((THUMBNAIL_PX, THUMBNAIL_PX), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=80)
    return {"data": base64.b64encode(buffer.getvalue()).decode(), "width": width, "height": height}
