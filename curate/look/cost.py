"""What a store has cost: hours of workers, processors and GPUs by table, dollars at a price, and wall clock by step."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import reduce

from rich.markup import escape
from rich.table import Table

from curate.annotate.speed import shown
from curate.errors import CurateError, named
from curate.messages.terminal import out
from curate.store.cost import Cost
from curate.store.manifest import Manifest
from curate.store.store import Store

#: The price of an hour of processor time; every other name is that of a GPU.
CPU = "cpu"

SECONDS_PER_HOUR = 3600

ABOUT = (
    "These are the ops that look at single rows, all runs together. rows: a row counts for each op. rows/s: of one "
    "worker at its shards. alone: the part of that time inside the op itself. CPU hours: processor time of the "
    "workers' processes. GPU hours: as long as workers held one, busy or not. What failed attempts, "
    "killed runs and the driver took is in none of them."
)


@dataclass(frozen=True)
class Prices:
    """Dollars an hour by name: `cpu` is an hour of processor time, other names are words of a GPU's name."""

    dollars: Mapping[str, float]

    @classmethod
    def of(cls, texts: Sequence[str]) -> Prices:
        """From what stands behind `--price`: `h100=2.5`, `cpu=0.04`.

        Raises:
            CurateError: for what is no such text, and a name that stands twice.
        """
        dollars: dict[str, float] = {}
        for text in texts:
            name, _, number = text.partition("=")
            name = name.strip().lower()
            try:
                price = float(number)
            except ValueError:
                price = math.nan
            if not _words(name) or not 0 <= price < math.inf:
                raise CurateError(f"--price {text}: write it as name=dollars an hour, e.g. h100=2.5, or cpu=0.04")
            if name in dollars:
                raise CurateError(f"--price {name} stands twice, with {dollars[name]:g} and {price:g}: choose one")
            dollars[name] = price
        return cls(dollars)

    def check(self, devices: Sequence[str]) -> None:
        """
        Raises:
            CurateError: for a name that is none of the GPUs' there were, and for two names of the same one.
        """
        for name in self.dollars:
            if name != CPU and not any(_is_called(device, name) for device in devices):
                gpus = named(name, devices) if devices else ", and no step ran on a GPU; only cpu has a price here"
                raise CurateError(f"--price {name}: no step ran on a GPU of that name{gpus}")
        for device in devices:
            if len(names := self._names(device)) > 1:
                raise CurateError(f"--price {' and '.join(names)} both mean {device}: choose one")

    def of_device(self, device: str) -> float | None:
        """Dollars an hour of a GPU by its full name; None where no price is said."""
        names = self._names(device)
        return self.dollars[names[0]] if names else None

    def of_cost(self, cost: Cost) -> float:
        """Dollars of the hours that have a price."""
        dollars = cost.cpu_seconds * self.dollars.get(CPU, 0.0)
        dollars += sum(seconds * (self.of_device(name) or 0.0) for name, seconds in cost.gpu_seconds.items())
        return dollars / SECONDS_PER_HOUR

    def lacking(self, devices: Sequence[str]) -> list[str]:
        """What has no price: its hours are in no dollars."""
        return (
            []
            if not self.dollars
            else [d for d in devices if self.of_device(d) is None] + ([] if CPU in self.dollars else [CPU])
        )

    def _names(self, device: str) -> list[str]:
        return [name for name in self.dollars if name != CPU and _is_called(device, name)]


def costs_of(manifest: Manifest) -> dict[str, Cost]:
    """What each table cost that ops on single rows filled, by its name; one that another has taken the name of, by its
    folder; and what steps did for a table before they were stopped."""
    costs = {
        entry.name if manifest.current.get(entry.name) == folder else folder: entry.cost
        for folder in manifest.tables
        if (entry := manifest.op_table(folder)) and entry.cost != Cost()
    }
    return costs | {f"{folder} (not finished)": cost for folder, cost in manifest.unfinished.items()}


def print_store_cost(root: str, price: Sequence[str] = (), step: str = "") -> None:
    """What a store cost, as far as it is known: by table and in all, then the wall clock of steps.

    price: dollars an hour, as `h100=2.5` or `cpu=0.04`; without any no dollars are shown.

    Raises:
        CurateError: for a price that cannot be read, or of a GPU that no step ran on; for a `step` of the funnel.
    """
    if step:
        raise CurateError(f"--step {step} is for the funnel, which --cost does not show: leave one of the two out")
    prices, manifest = Prices.of(price), Store(root).manifest()
    costs = costs_of(manifest)
    devices = sorted(set().union(*(cost.gpu_seconds for cost in costs.values())))
    prices.check(devices)
    if costs:
        out.print(_table(costs, devices, prices))
        out.print(ABOUT, style="dim", highlight=False)
    else:
        out.say("no op that looks at single rows has computed anything here, or an earlier version of curate did it")
    for name in prices.lacking(devices) if costs else ():
        out.say(f"no price for {name}: its hours are in no dollars")
    if older := _before_costs(manifest):
        out.say(f"computed before costs were kept, seconds only: {', '.join(older)}")
    if wall := _walls(manifest):
        out.print(wall)


def _table(costs: Mapping[str, Cost], devices: Sequence[str], prices: Prices) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("step", overflow="fold")
    gpus = [f"GPU hours: {escape(device)}" for device in devices]
    dollars = ["dollars"] if prices.dollars else []
    for heading in ("rows", "rows/s", "alone", "worker hours", "CPU hours", *gpus, *dollars, "MB"):
        table.add_column(heading, justify="right")
    total = reduce(Cost.__add__, costs.values(), Cost())
    for name, cost in [*costs.items(), ("in all", total)]:
        rate = cost.rows / cost.worker_seconds if cost.worker_seconds else 0.0
        hours = [cost.worker_seconds + cost.setup_seconds, cost.cpu_seconds]
        hours += [cost.gpu_seconds.get(device, 0.0) for device in devices]
        price = [_amount(prices.of_cost(cost))] if dollars else []
        cells = [escape(name), f"{cost.rows:,}", shown(rate), f"{cost.model_share:.2f}"]
        cells += [*(_amount(seconds / SECONDS_PER_HOUR) for seconds in hours), *price, f"{cost.bytes / 1e6:,.1f}"]
        table.add_row(*cells, style="bold" if cost is total else "")
    return table


def _before_costs(manifest: Manifest) -> dict[str, float]:
    """Tables of ops on single rows that have no cost, with the seconds of their ops."""
    tables = {name: manifest.op_table(folder) for name, folder in manifest.current.items()}
    return {
        name: entry.seconds
        for name, entry in tables.items()
        if entry and entry.complete is not None and entry.seconds and entry.cost == Cost()
    }


def _walls(manifest: Manifest) -> Table | None:
    """Wall clock of ops that look at all rows, and of the steps of each pipeline's last run."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("wall clock of", overflow="fold")
    table.add_column("step", overflow="fold")
    table.add_column("seconds", justify="right")
    for name, folder in manifest.current.items():
        if (entry := manifest.op_table(folder)) and entry.pool and entry.seconds:
            table.add_row("an op on all rows", escape(name), f"{entry.seconds:,.1f}")
    for pipeline, run in manifest.runs.items():
        for number, (step, seconds) in enumerate([*run.seconds.items(), ("in all", sum(run.seconds.values()))]):
            table.add_row("" if number else f"the last run of {escape(pipeline)}", escape(step), f"{seconds:,.1f}")
    return table if table.row_count else None


def _amount(number: float) -> str:
    """Hours or dollars: to a hundredth, small ones to two digits."""
    return f"{number:,.2f}" if number >= 1 else f"{number:.2g}"


def _words(name: str) -> set[str]:
    return set(re.findall(r"[a-z0-9]+", name.lower()))


def _is_called(device: str, name: str) -> bool:
    """Whether all words of a short name are words of the device's: `a10` is no part of `NVIDIA A100`."""
    return _words(name) <= _words(device)
