"""Rows of a crawl: a page's pairs as batches, the same whether its links come from a WAT file or from its HTML."""

from __future__ import annotations

import datetime
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any

import pyarrow as pa

from curate.messages.remarks import Remarks
from curate.read.crawl_links import LinkRules, Pairs
from curate.read.inputs import Scan

#: page_url, cc_filename: as cc2dataset names them. crawl_time: when the page was fetched. kind, license: as `Pair` has
#: them.
SCHEMA = pa.schema(
    [
        ("url", pa.large_string()),
        ("text", pa.large_string()),
        ("kind", pa.large_string()),
        ("page_url", pa.large_string()),
        ("crawl_time", pa.timestamp("ms", "UTC")),
        ("cc_filename", pa.large_string()),
        ("license", pa.large_string()),
    ]
)


@dataclass(frozen=True, slots=True)
class Page:
    """links: as a WAT file has them. base: what their urls are relative to."""

    url: str
    time: datetime.datetime | None
    file: str | None
    links: Any
    base: str


def rows(pages: Iterator[Page], rules: LinkRules, remarks: Remarks) -> Iterator[tuple[Any, ...]]:
    """Values of SCHEMA for each pair, in the order of the file."""
    pairs = Pairs(rules, remarks)
    for page in pages:
        for pair in pairs.of(page.links, page.base):
            yield pair.url, pair.text, pair.kind, page.url, page.time, page.file, pair.license


def scan(pages: Callable[[Remarks], Iterator[Page]], rules: LinkRules) -> Scan:
    remarks = Remarks()
    number = sum(1 for _ in rows(pages(remarks), rules, remarks))
    return Scan(number, SCHEMA, remarks)


def batches(pages: Iterator[Page], rules: LinkRules, start: int, batch_rows: int) -> Iterator[pa.RecordBatch]:
    values = islice(rows(pages, rules, Remarks()), start, None)
    while chunk := list(islice(values, batch_rows)):
        columns = zip(*chunk, strict=True)
        yield pa.record_batch([pa.array(c, f.type) for c, f in zip(columns, SCHEMA, strict=True)], schema=SCHEMA)


def time(text: Any) -> datetime.datetime | None:
    """A WARC's date; None for what is none.

    >>> time("2024-02-20T20:01:02Z").isoformat()
    '2024-02-20T20:01:02+00:00'
    """
    try:
        parsed = datetime.datetime.fromisoformat(str(text).replace("Z", "+00:00"))
    except ValueError:
        return None
    return parsed if parsed.tzinfo else parsed.replace(tzinfo=datetime.timezone.utc)
