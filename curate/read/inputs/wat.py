"""Common Crawl's WAT files: the image links of each page with their texts, a row for each pair."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import orjson
import pyarrow as pa

from curate.messages.remarks import Remarks
from curate.read import crawl_rows
from curate.read.crawl_links import IMAGE_PATH, LinkRules, base_of
from curate.read.crawl_rows import Page
from curate.read.inputs import Scan
from curate.read.warc_records import Record, check_packages, records

EXTENSIONS = (".wat.gz", ".wat")

#: Several tasks would unpack the same bytes.
SEEKABLE = False

DECLARED = True

#: `scan` and `read` take the rules by which links become rows.
HAS_LINKS = True

NO_PAGE = "record(s) with image links whose JSON is not that of a page, left out"
NOT_UTF8 = "record(s) with bytes that are no UTF-8, replaced"


def schema(file: str) -> pa.Schema:
    """
    Raises:
        CurateError: for packages that are not installed.
    """
    check_packages(file)
    return crawl_rows.SCHEMA


def count(file: str, links: LinkRules = "laion") -> int:
    return scan(file, links).rows


def scan(file: str, links: LinkRules = "laion") -> Scan:
    """The pairs of a file, with what was dropped and why."""
    return crawl_rows.scan(lambda remarks: _pages(file, remarks), links)


def read(file: str, start: int = 0, batch_rows: int = 10_000, links: LinkRules = "laion") -> Iterator[pa.RecordBatch]:
    return crawl_rows.batches(_pages(file, Remarks()), links, start, batch_rows)


def _pages(file: str, remarks: Remarks) -> Iterator[Page]:
    for record in records(file, "metadata", remarks):
        if IMAGE_PATH.encode() in record.body or rb"IMG@\/src" in record.body:
            yield from _page(record, remarks)


def _page(record: Record, remarks: Remarks) -> Iterator[Page]:
    """The page of a record, if it tells links of one."""
    try:
        about = _json(record.body, remarks)
        envelope = about["Envelope"]
        html = envelope["Payload-Metadata"]["HTTP-Response-Metadata"]["HTML-Metadata"]
        head, crawled = html.get("Head"), envelope.get("WARC-Header-Metadata") or {}
        links = html.get("Links")
        base = head.get("Base") if isinstance(head, dict) else None
        page = crawled.get("WARC-Target-URI") or record.url
        file = (about.get("Container") or {}).get("Filename")
        time = crawl_rows.time(crawled.get("WARC-Date")) or record.time
    except (ValueError, RecursionError, KeyError, TypeError, AttributeError):
        remarks.add(NO_PAGE, example=record.url)
        return
    yield Page(str(page), time, None if file is None else str(file), links, base_of(str(page), base))


def _json(body: bytes, remarks: Remarks) -> Any:
    """
    Raises:
        ValueError, RecursionError: when it is no JSON.
    """
    try:
        return orjson.loads(body)
    except ValueError:
        pass
    text = body.decode("utf-8", "replace")
    if text.encode() != body:
        remarks.add(NOT_UTF8)
    # Halves of characters, as Java's strings may hold them, are none here.
    whole = json.dumps(json.loads(text, strict=False), ensure_ascii=False).encode("utf-16", "surrogatepass")
    return json.loads(whole.decode("utf-16", "replace"))
