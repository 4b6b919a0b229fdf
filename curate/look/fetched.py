"""How a download went, by host or by status: `curate show STORE --by host`."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl
from rich.markup import escape
from rich.table import Table

from curate.cluster.many_shards import each_run, shard_runs
from curate.download.fetch_facts import beside
from curate.download.so_far import SoFar, noted
from curate.errors import CurateError, unknown
from curate.look.dataset import Dataset
from curate.messages.counted import counted
from curate.messages.terminal import out
from curate.store.image_columns import FETCHES
from curate.store.view import View

BY = ("host", "status")
#: Lines that are printed; hosts and statuses with most rows first.
LINES = 40

#: Counts of no row.
_NONE = pl.DataFrame(
    schema={
        **dict.fromkeys(("host", "status"), pl.String),
        **dict.fromkeys(("rows", "images", "attempts"), pl.Int64),
        "seconds": pl.Float64,
        "bytes": pl.Int64,
        "failures": pl.String,
    }
)

#: Rows that no download asked for, or could have: they were out before.
_OUT = ("skipped",)


def fetched(root: str, by: str) -> pl.DataFrame:
    """A line for each host or status, the one with most rows first.

    While a download runs, and when it was stopped, of the shards that are finished.

    Columns: `host` or `status`; rows; images (rows with one); failures (`by` host: the commonest status that is not
    success, with its rows; `by` status: an example of the message); attempts, how often URLs were asked for; seconds on
    the network; bytes of bodies as they came. Of a store that an earlier version downloaded attempts and seconds are
    null.

    Raises:
        CurateError: when nothing was downloaded, or for another word than host and status.
    """
    return _looked(root, by).lines


@dataclass(frozen=True)
class _Looked:
    """lines: as `fetched` has them. shards, finished: their numbers. so_far: of a download that has not ended."""

    lines: pl.DataFrame
    shards: int
    finished: int
    so_far: SoFar | None


def _looked(root: str, by: str) -> _Looked:
    if by not in BY:
        raise unknown("way to show a download", by, BY)
    dataset = Dataset(root)
    images, so_far = _folder(dataset)
    rows, done = dataset.store.shard_rows(), dataset.store.parts(images)
    finished = {shard: rows[shard] for shard in rows if shard in done}
    facts = beside(images, FETCHES)
    if not (so_far or FETCHES in dataset.manifest.current) or not finished.keys() <= dataset.store.parts(facts):
        facts = ""  # of an earlier version, that did not keep them
    job = _Counts(dataset.view, images, facts, by, shard_runs(finished))
    counts = _added(list(each_run("show", job.count, job.runs, finished, None)) or [_NONE.select(_columns(by))], by)
    lines = _by_host(counts) if by == "host" else counts.sort(["rows", "status"], descending=[True, False])
    return _Looked(lines, len(rows), len(finished), so_far)


def _folder(dataset: Dataset) -> tuple[str, SoFar | None]:
    """The folder of the images: of the download that runs, or else of the one that ended last."""
    store = dataset.store
    folders = sorted(name for name in store.names() if name.startswith("images-"))
    running = [(so_far.noted, name, so_far) for name in folders if (so_far := noted(store, name))]
    if running:
        _, name, so_far = max(running, key=lambda one: one[:2])
        return name, so_far
    if "images" not in dataset.manifest.current:
        raise CurateError(f"{store.url}: nothing was downloaded here: there is nothing to show by host or status")
    return dataset.manifest.current["images"], None


def print_fetched(root: str, by: str) -> None:
    looked = _looked(root, by)
    lines = looked.lines
    if looked.finished or not looked.so_far:
        out.print(_table(lines, by))
        total = counted(int(lines["rows"].sum()), "row")
        more = f", the first {LINES} are shown" if lines.height > LINES else ""
        out.print(f"{counted(lines.height, by) if by == 'host' else f'{lines.height} statuses'} of {total}{more}")
    if looked.finished < looked.shards:
        out.say(f"{looked.finished:,} of {counted(looked.shards, 'shard')} finished: only their rows are in the table")
    for line in looked.so_far.lines(time.time()) if looked.so_far else ():
        out.say(line)


def _table(lines: pl.DataFrame, by: str) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column(by, overflow="fold")
    for heading in ("rows", "images", "attempts", "s an attempt", "MB"):
        table.add_column(heading, justify="right")
    table.add_column("commonest failure" if by == "host" else "for example", overflow="fold")
    for line in lines.head(LINES).iter_rows(named=True):
        table.add_row(*map(escape, _cells(line, by)))
    return table


def _cells(line: dict[str, Any], by: str) -> list[str]:
    attempts, seconds = line["attempts"], line["seconds"]
    each = f"{seconds / attempts:,.2f}" if attempts else ""
    images = f"{line['images']:,} ({line['images'] / line['rows']:.0%})" if by == "host" else f"{line['images']:,}"
    numbers = [f"{line['rows']:,}", images, "" if attempts is None else f"{attempts:,}", each]
    return [line[by] or "(no host)", *numbers, f"{line['bytes'] / 1e6:,.1f}", line["failures"] or ""]


@dataclass(frozen=True)
class _Counts:
    """The job: counts of a run of shards, by status, or by host and status.

    images, facts: folders of the images and of how they were fetched, which an earlier version did not keep.
    """

    view: View
    images: str
    facts: str
    by: str
    runs: Sequence[range]

    def count(self, run: int) -> pl.DataFrame:
        return _added([self._of_shard(shard) for shard in self.runs[run]], self.by)

    def _of_shard(self, shard: int) -> pl.DataFrame:
        store = self.view.store
        part = store.read_part(self.images, shard, ["status", "error_message", "original_bytes"])
        frame = pl.DataFrame(part)
        if self.facts:
            facts = store.read_part(self.facts, shard, ["attempts", "fetch_seconds"])
            frame = frame.hstack(pl.DataFrame(facts))
        else:
            frame = frame.with_columns(attempts=pl.lit(None, pl.Int64), fetch_seconds=pl.lit(None, pl.Float64))
        if self.by == "host":
            frame = frame.with_columns(host=_host(pl.Series(self.view.read(shard, ["url"])["url"])))
        return _summed(
            frame.filter(~pl.col("status").is_in(_OUT)).select(
                *(("host",) if self.by == "host" else ()),
                "status",
                rows=pl.lit(1, pl.Int64),
                images=(pl.col("status") == "success").cast(pl.Int64),
                attempts=pl.col("attempts").cast(pl.Int64),
                seconds=pl.col("fetch_seconds").cast(pl.Float64),
                bytes=pl.col("original_bytes").fill_null(0),
                failures=pl.col("error_message"),
            ),
            self.by,
        )


def _host(urls: pl.Series) -> pl.Series:
    """What stands between the slashes: near enough to count by."""
    hosts: pl.Series = urls.cast(pl.String).str.extract(r"(?i)^\s*https?:/*(?:[^/?#@]*@)?([^/?#:]+)")
    return hosts.str.to_lowercase()


def _columns(by: str) -> list[str]:
    return [name for name in _NONE.columns if name != "host" or by == "host"]


def _added(frames: Sequence[pl.DataFrame], by: str) -> pl.DataFrame:
    return _summed(pl.concat(frames), by)


def _summed(frame: pl.DataFrame, by: str) -> pl.DataFrame:
    known = pl.col("attempts").is_not_null().any()
    return frame.group_by(["host", "status"] if by == "host" else ["status"], maintain_order=True).agg(
        pl.col("rows", "images", "bytes").sum(),
        *(pl.when(known).then(pl.col(name).sum()).alias(name) for name in ("attempts", "seconds")),
        pl.col("failures").drop_nulls().first(),
    )


def _by_host(counts: pl.DataFrame) -> pl.DataFrame:
    """Counts by host and status, as those of hosts."""
    failing = counts.filter(pl.col("status") != "success").sort(["rows", "status"], descending=[True, False])
    worst = failing.group_by("host", maintain_order=True).first()
    named = worst.select("host", failures=pl.format("{} {}", "rows", "status"))
    known = pl.col("attempts").is_not_null().any()
    whole = counts.group_by("host").agg(
        pl.col("rows", "images", "bytes").sum(),
        *(pl.when(known).then(pl.col(name).sum()).alias(name) for name in ("attempts", "seconds")),
    )
    joined = whole.join(named, on="host", how="left", nulls_equal=True)
    return joined.sort(["rows", "host"], descending=[True, False])
