"""Holds a store, and the books of the server, against what was planted."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import polars as pl

import curate
from curate.demo.faults.kinds import KINDS
from curate.demo.faults.sites import RESET, SORTS, UNBOUND
from curate.demo.faults.web import Web
from curate.messages.terminal import Terminal

#: Redirects of a robots.txt that may be followed (RFC 9309 2.3.1.2).
ROBOTS_REDIRECTS = 5
#: Differences of one sort that are listed.
LISTED = 20


@dataclass
class Checked:
    """table: kind, expected, got, rows, ok. faults: a line for each thing that is not as it has to be. notes: numbers
    that are worth a look."""

    table: pl.DataFrame
    faults: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def check(folder: Path, store: str, books: Mapping[str, Any] | None, attempts: int = 1) -> Checked:
    """
    folder: of the web. store: what was downloaded of it. books: of the server, None where it is gone. attempts: how
    often the run was begun: one that was killed may ask again for what it had not stored.
    """
    rows = _joined(pl.read_parquet(folder / "truth.parquet"), store)
    checked = Checked(_table(rows))
    for line in checked.table.filter(~pl.col("ok")).iter_rows(named=True):
        example = rows.filter((pl.col("kind") == line["kind"]) & (pl.col("got") == line["got"]))[0]
        why = f"{example['url'][0]}: {example['error_message'][0]}"
        checked.faults.append(f"{line['kind']}: {line['got']} in {line['rows']} rows, not {line['expected']} ({why})")
    other = rows.filter(pl.col("got").eq("success") & pl.col("sha256").ne_missing(pl.col("sha256_got")))
    checked.faults += _listed(f"{url}: another row's picture" for url in other["url"])
    if books is None:
        checked.notes.append("the server is gone: nothing is said of requests")
    else:
        _check_requests(Web.load(folder), rows, books, attempts, checked)
    return checked


def _joined(truth: pl.DataFrame, store: str) -> pl.DataFrame:
    """A line for each row of the web, in its order.

    Raises:
        CurateError: when nothing was downloaded there.
    """
    table = curate.open(store).table("text", "status", "sha256", "error_message", "attempts").collect()
    if not table["text"].equals(truth["text"]):
        raise SystemExit(f"error: {store} holds other rows than the web ({len(table)} of {len(truth)})")
    return truth.with_columns(
        table.select("error_message", "attempts", got=pl.col("status").fill_null("no status"), sha256_got="sha256")
    )


def _table(rows: pl.DataFrame) -> pl.DataFrame:
    return (
        rows.group_by("kind", "status", "got", maintain_order=True)
        .len("rows")
        .rename({"status": "expected"})
        .with_columns(ok=pl.col("expected") == pl.col("got"))
        .sort("ok", "expected", "kind")
    )


def _check_requests(web: Web, rows: pl.DataFrame, books: Mapping[str, Any], attempts: int, checked: Checked) -> None:
    forbidden = {site.host for site in web.sites if SORTS[site.sort].forbids}
    below = [place for place in books["requests"] if place.partition("/")[0] in forbidden]
    # A sound robots.txt of one of them is read for the one that redirects there.
    below = [place for place in below if not place.endswith("/moved/robots.txt")]
    checked.faults += [
        *_listed(_too_often(web, rows, books, attempts)),
        *_listed(_wrong_attempts(rows, books) if attempts == 1 else ()),
        *_listed(_robots_too_often(web, books, attempts)),
        *_listed(f"{place}: asked for, which is forbidden" for place in below),
        *_listed(f"{place}: asked for, which must not be" for place in books["stray"]),
        *_listed(_too_many_at_once(web, books)),
        *_listed(_in_pauses(web, books, attempts)),
        *_listed(_too_fast(web, books)),
    ]
    checked.notes += _notes(books)


def _too_often(web: Web, rows: pl.DataFrame, books: Mapping[str, Any], attempts: int) -> Iterator[str]:
    """URLs that were asked for again though they had been answered, or more often than retries allow."""
    retries = web.download["retries"]
    for host, path, kind in rows.select("host", "path", "kind").iter_rows():
        asked, about = books["requests"].get(host + path, 0), KINDS[kind]
        # A client that was too busy to take the answer in time may ask again, as for any other timeout.
        lost = books["abandoned"].get(host + path, 0)
        most = min(about.most_asked(retries) + lost, about.asked * (1 + retries)) * attempts
        if asked > most:
            yield f"{host}{path}: asked for {asked} times, at most {most} allowed"


def _wrong_attempts(rows: pl.DataFrame, books: Mapping[str, Any]) -> Iterator[str]:
    """Rows whose `attempts` is not what the server saw."""
    for host, path, kind, attempts in rows.select("host", "path", "kind", "attempts").iter_rows():
        asked = books["requests"].get(host + path, 0)
        if KINDS[kind].asked == 1 and KINDS[kind].site not in (UNBOUND, RESET) and attempts != asked:
            yield f"{host}{path}: attempts is {attempts}, and the server was asked {asked} times"


def _robots_too_often(web: Web, books: Mapping[str, Any], attempts: int) -> Iterator[str]:
    retries = web.download["retries"]
    read_by_others = {web.of_sort("robots_star")[0].host} if web.of_sort("robots_moved_away") else set()
    for site in web.sites:
        asked = books["robots"].get(site.host, 0)
        fails = site.sort in ("robots_500", "robots_429", "robots_silent", "mute")
        once = 1 + retries if fails else ROBOTS_REDIRECTS + 1 if site.sort == "robots_loop" else 1
        most = once * attempts + (0 if fails else books["abandoned"].get(f"{site.host}/robots.txt", 0))
        if asked > most and site.host not in read_by_others:
            yield f"{site.host}/robots.txt: asked for {asked} times, at most {most} allowed"


def _too_many_at_once(web: Web, books: Mapping[str, Any]) -> Iterator[str]:
    allowed = web.download["per_host"]
    for sort in ("host", "address"):
        for name, most in books[f"most_at_{sort}"].items():
            if most > allowed:
                yield f"{sort} {name}: {most} requests at once, {allowed} allowed"


def _in_pauses(web: Web, books: Mapping[str, Any], attempts: int) -> Iterator[str]:
    # A run that begins anew does not know of pauses that an earlier one was asked for.
    excused = web.download["per_host"] * (attempts - 1)
    for host, count in books["in_pause"].items():
        if count > excused:
            seconds = books["latest_in_pause"].get(host, 0.0)
            yield f"{host}: {count} requests during its pause, the last one {seconds:.2f} s after it was asked for"


def _too_fast(web: Web, books: Mapping[str, Any]) -> Iterator[str]:
    limit = web.download.get("per_second")
    slow = {site.host for site in web.of_sort("robots_delay")}
    for host, count in books["most_in_a_second"].items():
        # Turns are spaced; a request may come later than its turn and so nearer to the next one.
        if host in slow and count > 3:
            yield f"{host}: {count} requests in a second, with a Crawl-delay of 0.5"
        if limit and count > 2 * limit:
            yield f"{host}: {count} requests in a second, {limit:g} allowed"


def _listed(each: Iterable[str]) -> list[str]:
    lines = list(each)
    more = [f"... and {len(lines) - LISTED} more of these"] if len(lines) > LISTED else []
    return lines[:LISTED] + more


def _notes(books: Mapping[str, Any]) -> list[str]:
    total, sent = sum(books["requests"].values()), sum(books["bytes_sent"].values())
    at_once = max(books["most_at_host"].values(), default=0), max(books["most_at_address"].values(), default=0)
    return [
        f"{total:,} requests and {sum(books['robots'].values()):,} for robots.txt, {sent / 1e6:,.0f} MB sent",
        f"at once: {at_once[0]} at a host, {at_once[1]} at an address; "
        f"in a second: {max(books['most_in_a_second'].values(), default=0)} at a host",
        f"{sum(books['lookups'].values()):,} lookups of {len(books['lookups']):,} names, "
        f"{max(books['lookups'].values(), default=0)} of one at most",
        f"the server stood still for {books['stood_still']:.2f} s at most",
        f"{sum(books['pauses'].values())} pauses asked for; {sum(books['in_pause'].values())} requests during one",
    ]


def print_checked(checked: Checked, out: Terminal) -> None:
    """The table of kinds, what is wrong, and the numbers."""
    lines = [("kind", "expected", "got", "rows", "ok", "what it is")]
    for line in checked.table.iter_rows(named=True):
        about = KINDS[line["kind"]].about
        rows = f"{line['rows']:,}"
        lines.append((line["kind"], line["expected"], line["got"], rows, "yes" if line["ok"] else "NO", about))
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for cells in lines:
        out.say("  ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True)).rstrip())
    right = int(checked.table.filter("ok")["rows"].sum())
    total = int(checked.table["rows"].sum())
    for note in (*checked.notes, f"{right:,} of {total:,} rows as expected"):
        out.say(note)
    for fault in checked.faults:
        out.say(f"not as it has to be: {fault}")
