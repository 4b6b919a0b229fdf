"""Titles of Wikipedia pages by how often they were viewed, from Wikimedia's hourly page-view files.

A line is "domain page_title views bytes": `en Whitby_Abbey 61 0`. Only Wikipedia's own domains count (`en`, and
`en.m`, its mobile site, where asked for), not those of its sister projects (`en.b`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import polars as pl
import pyarrow as pa
import pyarrow.csv as pc

from curate.errors import CurateError
from curate.messages.progress import StepProgress
from curate.metadata.corpus_text import TextFile, blocks

#: Titles gathered before they are added up.
HELD_TITLES = 4_000_000

_NAMES = ("domain", "title", "views", "bytes")


def views(files: Sequence[str], language: str, least: int, mobile: bool) -> pl.DataFrame:
    """`title` ("_" turned to blank) and `views`, added up over the files, in no order.

    least: a line counts only with so many views. Titles with ":", other namespaces for the most part, are left out.
    Raises CurateError for a file that holds no page views, and when no line is of the language.
    """
    domain = language.replace("_", "-")
    domains = [domain, f"{domain}.m"] if mobile else [domain]
    held = [_empty()]
    room = HELD_TITLES
    with StepProgress("page views", len(files), 0) as progress:
        for file in files:
            lines = 0
            for batch in _batches(file):
                lines += batch.height
                kept = batch.filter(pl.col("domain").is_in(domains) & (pl.col("views") >= least))
                held.append(kept.select(pl.col("title").str.replace_all("_", " ", literal=True), "views"))
                if sum(part.height for part in held) > room:
                    held = [_added(held)]
                    room = max(HELD_TITLES, 2 * held[0].height)
            if not lines:
                raise CurateError(f"{file}: no page views in it, expected lines such as 'en Whitby_Abbey 61 0'")
            progress.advance(lines)
    pages = _added(held)
    if files and not pages.height:
        raise CurateError(f"no page of '{domain}' has {least} views in an hour in {files[0]} and {len(files) - 1} more")
    return pages


def _batches(file: str) -> Iterator[pl.DataFrame]:
    """Well-formed lines of pages without ":" in their title; what is not UTF-8 is left out."""
    read = pc.ReadOptions(column_names=_NAMES)
    parse = pc.ParseOptions(delimiter=" ", quote_char=False, invalid_row_handler=lambda row: "skip")
    convert = pc.ConvertOptions(
        column_types=dict.fromkeys(_NAMES, pa.string()), include_columns=_NAMES[:3], strings_can_be_null=False
    )
    try:
        for block in blocks(TextFile(file, "txt")):
            lines = pl.DataFrame(pc.read_csv(pa.BufferReader(block), read, parse, convert))
            whole = ~pl.col("title").str.contains_any([":", "\ufffd"])
            yield lines.with_columns(pl.col("views").cast(pl.Int64, strict=False)).filter(
                whole & pl.col("views").is_not_null()
            )
    except (pa.ArrowInvalid, OSError) as error:
        raise CurateError(f"{file}: not a page-view file: {error}") from None


def _added(parts: Iterable[pl.DataFrame]) -> pl.DataFrame:
    return pl.concat(parts).group_by("title").agg(pl.col("views").sum())


def _empty() -> pl.DataFrame:
    return pl.DataFrame(schema={"title": pl.String, "views": pl.Int64})
