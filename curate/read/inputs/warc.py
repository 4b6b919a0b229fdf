"""WARC files, Common Crawl's and others: the images of each HTML page with their texts, as its WAT has them."""

from __future__ import annotations

import posixpath
from collections.abc import Iterator

import pyarrow as pa

from curate.messages.remarks import Remarks
from curate.read import crawl_rows
from curate.read.crawl_links import LinkRules, base_of
from curate.read.crawl_rows import Page
from curate.read.inputs import Scan
from curate.read.page_links import links as links_of
from curate.read.page_links import may_have_images, page_text
from curate.read.warc_answer import answer_of
from curate.read.warc_records import HTML_PACKAGES, Record, check_packages, records

EXTENSIONS = (".warc.gz", ".warc")

#: Several tasks would unpack the same bytes.
SEEKABLE = False

DECLARED = True

#: `scan` and `read` take the rules by which links become rows.
HAS_LINKS = True

NO_PAGE = "response(s) that are no HTML page (other types, other statuses than 200), left out"
NOT_READ = "HTML page(s) that the parser cannot read, left out"
NOT_ENCODED = "HTML page(s) with bytes that do not fit their encoding, replaced"

_HTML = ("text/html", "application/xhtml+xml")


def schema(file: str) -> pa.Schema:
    """
    Raises:
        CurateError: for packages that are not installed.
    """
    check_packages(file, HTML_PACKAGES)
    return crawl_rows.SCHEMA


def count(file: str, links: LinkRules = "laion") -> int:
    return scan(file, links).rows


def scan(file: str, links: LinkRules = "laion") -> Scan:
    """The pairs of a file, with what was dropped and why."""
    return crawl_rows.scan(lambda remarks: _pages(file, remarks), links)


def read(file: str, start: int = 0, batch_rows: int = 10_000, links: LinkRules = "laion") -> Iterator[pa.RecordBatch]:
    return crawl_rows.batches(_pages(file, Remarks()), links, start, batch_rows)


def _pages(file: str, remarks: Remarks) -> Iterator[Page]:
    name = posixpath.basename(file)
    for record in records(file, "response", remarks):
        yield from _page(record, name, remarks)


def _page(record: Record, name: str, remarks: Remarks) -> Iterator[Page]:
    answer = answer_of(record.body)
    if answer is None or answer.status != 200 or answer.content_type not in _HTML:
        remarks.add(NO_PAGE, example=record.url)
        return
    if not may_have_images(answer.body, answer.charset):
        return
    try:
        text = page_text(answer.body, answer.charset)
        links, base = links_of(text)
    except BaseException as error:
        # The parser's own panic is no Exception.
        if not isinstance(error, Exception) and type(error).__name__ != "PanicException":
            raise
        remarks.add(NOT_READ, example=record.url)
        return
    if "\ufffd" in text and "\ufffd".encode() not in answer.body:
        remarks.add(NOT_ENCODED, example=record.url)
    yield Page(record.url, record.time, name, links, base_of(record.url, base))
