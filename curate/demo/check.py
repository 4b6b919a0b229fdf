"""Holds what a curation run did with a demo pool against what should have happened, kind by kind."""

from __future__ import annotations

from pathlib import Path

import polars as pl
from rich.console import Console
from rich.table import Table

from curate.demo.kinds import KINDS


def compare(truth: str | Path, ledger: pl.DataFrame) -> pl.DataFrame:
    """One line per kind of row, in the order of KINDS.

    `truth` is the truth.parquet of a demo pool. `ledger` has one line for every row of the pool, in any order: `row`
    (its number in the input, from 0), `url`, `text`, `kept` (bool), `dropped_by` and `reason` (null for kept rows).

    The result has the columns
    - kind, about, expected (kept or dropped), rows, kept, dropped
    - as_expected, kept_wrongly, dropped_wrongly: rows. Of rows that show the same picture exactly one should survive,
      and it does not matter which: a copy kept in place of its original is no mistake.
    - groups, groups_with_one_survivor: for kinds of copies, else null
    - main_step, step_precision: for kinds to be dropped, the step that dropped most of them, and the share (0 to 1) of
      everything that it dropped, of any kind, that was dropped rightly; as_expected / rows is its recall
    - top_reasons: up to three of "step: reason (rows)", most rows first

    Raises ValueError where the ledger does not account for every row of the pool exactly once.
    """
    known = pl.read_parquet(truth).with_row_index("row").with_columns(pl.col("row").cast(pl.Int64))
    rows = _judged(_joined(known, ledger))
    precision = dict(
        rows.filter(~pl.col("kept")).group_by("dropped_by").agg((~pl.col("wrong")).mean()).iter_rows(),
    )
    lines = []
    for kind, about in KINDS.items():
        part = rows.filter(pl.col("kind") == kind)
        if part.is_empty():
            continue
        dropped = part.filter(~pl.col("kept"))
        steps = dropped.group_by("dropped_by").len().sort("len", "dropped_by", descending=[True, False])["dropped_by"]
        step = steps[0] if about.expected == "dropped" and len(steps) else None
        copies = part["group"].drop_nulls().unique().to_list() if about.expected == "dropped" else []
        survivors = rows.filter(pl.col("group").is_in(copies)).group_by("group").agg(pl.col("kept").sum())
        lines.append(
            {
                "kind": kind,
                "about": about.about,
                "expected": about.expected,
                "rows": len(part),
                "kept": len(part) - len(dropped),
                "dropped": len(dropped),
                "as_expected": len(part) - int(part["wrong"].sum()),
                "kept_wrongly": int((part["wrong"] & part["kept"]).sum()),
                "dropped_wrongly": int((part["wrong"] & ~part["kept"]).sum()),
                "groups": len(copies) if copies else None,
                "groups_with_one_survivor": int((survivors["kept"] == 1).sum()) if copies else None,
                "main_step": step,
                "step_precision": precision.get(step) if step is not None else None,
                "top_reasons": _top_reasons(dropped),
            }
        )
    return pl.DataFrame(lines, schema=_SCHEMA)


_SCHEMA: dict[str, pl.DataType | type[pl.DataType]] = {
    **dict.fromkeys(["kind", "about", "expected"], pl.String),
    **dict.fromkeys(["rows", "kept", "dropped", "as_expected", "kept_wrongly", "dropped_wrongly"], pl.Int64),
    **dict.fromkeys(["groups", "groups_with_one_survivor"], pl.Int64),
    "main_step": pl.String,
    "step_precision": pl.Float64,
    "top_reasons": pl.List(pl.String),
}


def _joined(known: pl.DataFrame, ledger: pl.DataFrame) -> pl.DataFrame:
    needed = ["row", "url", "text", "kept", "dropped_by", "reason"]
    missing = [name for name in needed if name not in ledger.columns]
    if missing:
        raise ValueError(f"the ledger lacks {', '.join(missing)}; it needs {', '.join(needed)}")
    ledger = ledger.select(
        pl.col("row").cast(pl.Int64),
        pl.col("kept").cast(pl.Boolean),
        pl.col("url", "text", "dropped_by", "reason").cast(pl.String),
    )
    numbers = ledger["row"].sort()
    if numbers.to_list() != list(range(len(known))):
        lost = sorted(set(range(len(known))) - set(numbers))
        twice = numbers.filter(numbers.is_duplicated()).unique().to_list()
        raise ValueError(
            f"the ledger should hold each of the {len(known)} rows of the pool once; it has {len(ledger)} lines, "
            f"misses rows {lost[:5]} and holds {twice[:5]} more than once"
        )
    both = known.join(ledger, on="row", suffix="_ledger", maintain_order="left")
    same = pl.col("url").eq_missing(pl.col("url_ledger")) & pl.col("text").eq_missing(pl.col("text_ledger"))
    moved = both.filter(~same)
    if not moved.is_empty():
        first = moved.row(0, named=True)
        raise ValueError(
            f"row {first['row']} of the ledger is {first['url_ledger']!r}, {first['text_ledger']!r}; in the pool it is "
            f"{first['url']!r}, {first['text']!r} ({len(moved)} such rows): was it made from another pool?"
        )
    return both


def _judged(rows: pl.DataFrame) -> pl.DataFrame:
    """Adds `wrong`. In a group the first survivor is right, the original before others; any other survivor is wrong."""
    expected = pl.col("kind").replace_strict({kind: about.expected == "kept" for kind, about in KINDS.items()})
    rows = rows.with_columns(wanted=expected.cast(pl.Boolean))
    survivors = pl.col("kept").sum().over("group")
    others_before = pl.struct(~pl.col("kept"), ~pl.col("wanted"), pl.col("row")).rank("ordinal").over("group") > 1
    grouped = pl.when("kept").then(others_before).otherwise(pl.col("wanted") & (survivors == 0))
    alone = pl.col("kept") != pl.col("wanted")
    return rows.with_columns(wrong=pl.when(pl.col("group").is_null()).then(alone).otherwise(grouped))


def _top_reasons(dropped: pl.DataFrame) -> list[str]:
    counted = (
        dropped.group_by("dropped_by", "reason")
        .len()
        .sort("len", "dropped_by", "reason", descending=[True, False, False])
    )
    return [
        f"{step or 'no step named'}: {reason or 'no reason given'} ({count})"
        for step, reason, count in counted.head(3).iter_rows()
    ]


def print_table(result: pl.DataFrame, console: Console) -> None:
    """Prints the result of `compare` for a reader who knows nothing of the project."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    console.print("[bold]What was planted in the pool, and what became of it[/]")
    for name in ("rows", "what they are", "should be", "kept", "dropped", "right"):
        word = name in ("what they are", "should be")
        table.add_column(name, justify="left" if word else "right", no_wrap=True, overflow="ellipsis")
    for line in result.iter_rows(named=True):
        share = line["as_expected"] / line["rows"]
        style = "green" if share >= 0.95 else "yellow" if share >= 0.7 else "red"
        should_be = "one kept" if line["groups"] else line["expected"]
        counts = (f"{line['rows']:,}", f"{line['kept']:,}", f"{line['dropped']:,}")
        table.add_row(counts[0], line["about"], should_be, *counts[1:], f"[{style}]{share:.0%}[/{style}]")
    console.print(table)
    total = {name: int(result[name].sum()) for name in ("rows", "kept", "dropped", "kept_wrongly", "dropped_wrongly")}
    right = total["kept"] - total["kept_wrongly"]
    console.print(
        f"{total['rows']:,} rows went in: {total['kept']:,} kept, {total['dropped']:,} dropped. "
        f"Of the kept, {right / max(1, total['kept']):.1%} should be there; "
        f"of those that should be kept, {right / max(1, right + total['dropped_wrongly']):.1%} are.",
        highlight=False,
    )
    for line in result.filter(pl.col("groups").is_not_null()).iter_rows(named=True):
        console.print(
            f"Pictures with a copy ({line['about']}): exactly one survived of "
            f"{line['groups_with_one_survivor']:,} of {line['groups']:,}.",
            highlight=False,
        )
