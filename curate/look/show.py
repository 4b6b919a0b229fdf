"""What the command line prints: the funnel, a store's tables and failures."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rich.markup import escape
from rich.table import Table

from curate.errors import CurateError
from curate.look.op_report import sentence, tables
from curate.look.results import Funnel, WriteResult
from curate.messages.counted import counted
from curate.messages.remarks import Remarks
from curate.messages.terminal import out
from curate.store.manifest import Input, Keep
from curate.store.manifest import Table as OpTable

if TYPE_CHECKING:
    from curate.look.probe import Forecast

#: Groups whose threshold is shown; the manifest has more.
GROUPS = 8

#: Reasons shown per step; the report and `Dataset.funnel` have all.
REASONS = 12


def print_funnel(steps: Funnel, written: WriteResult | None = None, rows: int = 0) -> None:
    """How many rows came in, how many each step dropped and why, what was written, and that the sum is exact.

    rows: that came in, where no step dropped any.
    """
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("step")
    table.add_column("rows", justify="right")
    table.add_column("why", overflow="fold")
    total = steps[0]["entered"] if steps else rows
    table.add_row("in", f"{total:,}", "")
    dropped = 0
    for step in steps:
        lost = step["entered"] - step["kept"]
        dropped += lost
        table.add_row(escape(step["step"]), f"-{lost:,}" if lost else "0", "")
        reasons = list(step["dropped"].items())
        for reason, count in reasons[:REASONS]:
            table.add_row("", f"[dim]{count:,}[/]", f"[dim]{escape(reason)}[/]")
        if reasons[REASONS:]:
            rest = sum(count for _, count in reasons[REASONS:])
            table.add_row("", f"[dim]{rest:,}[/]", f"[dim]{len(reasons) - REASONS} other reasons[/]")
    kept = steps[-1]["kept"] if steps else rows
    table.add_row("[bold]kept[/]", f"[bold]{kept:,}[/]", f"{kept / total:.1%}" if total else "")
    copies = steps[-1].get("copies") if steps else None
    if copies is not None:
        table.add_row("copies", f"{copies:,}", "how often the kept rows are taken, all together")
    out.print(table)
    check = "exact" if kept + dropped == total else "NOT EXACT, please report this"
    out.print(f"{kept:,} kept + {dropped:,} dropped = {total:,} in: {check}")
    if written:
        without = sum(written.without_image.values())
        rows_of = "" if written.rows is None else f" of {counted(written.rows, 'row')}"
        samples, shards = counted(written.samples, "sample"), counted(written.shards, "shard")
        text = f"{samples}{rows_of} in {shards}, {written.bytes / 1e6:,.1f} MB"
        out.print(f"written: {text}{f'; {without:,} kept rows have no image' if without else ''}: {escape(written.to)}")


def print_store(root: str, step: str = "") -> None:
    """Funnel, image statuses, and every table with what made it."""
    from curate.look.dataset import Dataset

    dataset = Dataset(root)
    manifest = dataset.manifest
    shards = counted(len(manifest.shard_rows()), "shard")
    out.print(f"[bold]{escape(root)}[/]: {counted(dataset.rows, 'row')} in {shards}")
    for group in manifest.inputs:
        files = f"{group.format}, {counted(group.files, 'file')}, {counted(group.rows, 'row')}"
        out.print(f"  read from {escape(group.input)} ({files})")
        out.print(f"  {escape(columns_of(group))}", highlight=False)
        _print_remarks("  read", group.remarks)
    try:
        from curate.filter.step import funnel

        folder = dataset.keep_folder(step)
        runs = [run for run in manifest.runs.values() if run.keep == folder]
        written = runs[-1].written if runs and not step else {}
        steps = funnel(manifest, folder)
        print_funnel(steps, WriteResult.of(written, steps) if written else None)
        _print_remarks("write", written.get("remarks"))
    except CurateError as error:
        if step:
            raise
        out.print(f"[dim]{escape(str(error))}[/]")
    title = "tables; the folder of each is name-identity"
    table = Table(box=None, pad_edge=False, header_style="bold", title=title, title_justify="left")
    for heading in ("name", "identity", "made by", "columns"):
        table.add_column(heading, overflow="fold")
    table.add_column("seconds", justify="right")
    for name, folder in manifest.current.items():
        entry = manifest.tables[folder]
        columns = ", ".join(c for c in entry.columns if c not in ("uid", f"{name}_status"))
        seconds = f"{entry.seconds:,.1f}" if not isinstance(entry, Keep) and entry.seconds else ""
        table.add_row(name, folder.removeprefix(f"{name}-"), escape(_maker(name, entry)), escape(columns), seconds)
    out.print(table)
    for name, folder in manifest.current.items():
        if isinstance(entry := manifest.tables[folder], Keep):
            _print_remarks(name, entry.remarks)
        if op_table := manifest.op_table(folder):
            _print_remarks(name, op_table.remarks)
            if op_table.report:
                _print_report(name, op_table.report)


def columns_of(group: Input) -> str:
    """Which columns of an input became ours: `url <- image_url, text <- caption`."""
    return ", ".join(f"{ours} <- {theirs}" for ours, theirs in group.mapping.items())


def _print_remarks(name: str, remarks: dict[str, Any] | None) -> None:
    """What a step changed, left out, cut, guessed or skipped."""
    if lines := Remarks.from_json(remarks or {}).lines():
        out.print(f"[yellow]{escape(name)}: {escape('; '.join(lines))}")


def _print_report(name: str, report: dict[str, Any]) -> None:
    out.print(f"[bold]{escape(name)}[/]: {escape(sentence(report))}")
    for lines in tables(report):
        table = Table(
            box=None, pad_edge=False, header_style="bold", title=f"{name}: {lines.title}", title_justify="left"
        )
        for heading, numeric in zip(lines.headings, lines.numeric, strict=True):
            table.add_column(heading, justify="right" if numeric else "left")
        for row in lines.rows:
            table.add_row(*map(escape, row))
        out.print(table)


def _maker(name: str, entry: OpTable | Keep) -> str:
    if isinstance(entry, Keep):
        top = f", {_threshold(entry.threshold)}" if entry.threshold else ""
        parts = [*entry.filter["where"].values(), *(f"subset {s['name']}" for s in [entry.filter.get("subset")] if s)]
        parts += [f"copies {name}" for name in [entry.filter.get("copies")] if name]
        return f"filter: {' AND '.join(parts)}{top}"
    # A download has thirty options: the manifest has them.
    options = {} if name == "images" else {o: value for o, value in entry.options.items() if value not in ("", None)}
    listed = ", ".join(f"{option}: {value}" for option, value in options.items())
    maker = f"{entry.op} v{entry.version}" + (f" {{{listed}}}" if listed else "")
    return maker + (f", weights {entry.weights}" if entry.weights else "")


def _threshold(threshold: dict[str, Any]) -> str:
    """What `top` was resolved to: one score, or one of each group."""
    if "within" not in threshold:
        return f"threshold {threshold['score']}"
    listed = [f"{'null' if cut['group'] is None else cut['group']} {cut['score']}" for cut in threshold["listed"]]
    more = f", {threshold['groups'] - GROUPS:,} more" if threshold["groups"] > GROUPS else ""
    return f"thresholds within {threshold['within']}: {', '.join(listed[:GROUPS])}{more}"


def print_costs(forecast: Forecast, workers: int) -> None:
    """A line per op of `curate probe`, and the hours that follow."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in ("op", "device", "rows/s", "share", "setup s", "memory MB"):
        table.add_column(heading, justify="left" if heading in ("op", "device") else "right")
    for cost in forecast.costs:
        numbers = f"{cost.rows_per_second:,.0f}", f"{cost.share:.0%}", f"{cost.setup_seconds:.1f}"
        table.add_row(cost.op, cost.device, *numbers, f"{cost.memory_mb:,.0f}")
    out.print(table)
    device = next((cost.device for cost in forecast.costs if cost.device != "cpu"), "a core")
    each = f"{device}, fed by {forecast.cores} cores" if forecast.cores > 1 else device
    out.print(
        f"{forecast.rows:,} rows tried; all of the store in one pass: {forecast.hours / workers:,.2f} hours "
        f"on {workers} workers, each {each}"
    )
