"""Lists of urls, domains, hashes or uids in files: one a line (.txt), or a column with a usual name (.csv, .parquet).

These are the forms of the opt-out lists that Spawning and Have I Been Trained hand out: urls and domains, one a line or
in a column; and of lists of file hashes.
"""

from __future__ import annotations

import lzma
import re
import zlib
from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import Any

import fsspec
import polars as pl
import pyarrow as pa

from curate.errors import CurateError
from curate.messages.causes import explained

#: Names of columns, in lower case, by what they hold.
COLUMNS = {
    "url": ("url", "urls", "image_url", "imageurl", "img_url"),
    "host": ("domain", "domains", "host", "hosts", "hostname"),
    "sha256": ("sha256",),
    "md5": ("md5",),
    "uid": ("uid", "uids"),
}

#: Bytes of a text file, and rows of a table, that are looked at together: the memory of a list of any length.
BLOCK_BYTES, ROWS = 8 << 20, 200_000

#: Errors of files that are not there, cut, or not what their ending says.
_UNREADABLE = (OSError, EOFError, ValueError, ImportError, zlib.error, lzma.LZMAError, pa.ArrowException)

_HEX = re.compile(r"[0-9a-fA-F]+\Z")


def kind_of(line: str) -> str:
    """What a line of a list without columns names.

    >>> [kind_of(line) for line in ("https://a.b/c", "a.b/c.jpg", "a.b", "0" * 64, "0" * 32)]
    ['url', 'url', 'host', 'sha256', 'md5']
    """
    if len(line) in (32, 64) and _HEX.match(line):
        return "sha256" if len(line) == 64 else "md5"
    return "url" if "/" in line else "host"


def read_list(file: str, kind: str = "") -> Iterator[tuple[str, pl.Series]]:
    """(kind, texts) of a list, batch after batch; empty lines and those that begin with # are passed over.

    kind: what every line names; without it a line says it itself, and of a table each column with a usual name counts.

    Raises:
        CurateError: for a file that cannot be read, or a table without such a column.
    """
    try:
        yield from _read(file, kind)
    except _UNREADABLE as error:
        raise CurateError(f"the list '{file}' cannot be read: {explained(error) or error}") from error
    except Exception as error:
        # zstandard's class can be named only where the package is installed.
        if type(error).__name__ != "ZstdError":
            raise
        raise CurateError(f"the list '{file}' cannot be read: {error}") from error


def _read(file: str, kind: str) -> Iterator[tuple[str, pl.Series]]:
    ending = PurePosixPath(re.sub(r"\.(gz|bz2|xz|zst)\Z", "", file)).suffix.lower()
    if ending == ".parquet":
        batches: Iterator[Any] = _parquet(file, kind)
    elif ending in (".csv", ".tsv"):
        batches = _csv(file, kind, "\t" if ending == ".tsv" else ",")
    else:
        batches = _lines(file, kind)
    for which, lines in batches:
        texts = lines.drop_nulls().str.strip_chars()
        named = texts.filter((texts != "") & ~texts.str.starts_with("#"))
        if len(named):
            yield which, named


def _lines(file: str, kind: str) -> Iterator[tuple[str, pl.Series]]:
    with fsspec.open(file, "rb", compression="infer") as handle:
        while lines := handle.readlines(BLOCK_BYTES):
            texts = [line.decode("utf-8", "replace").strip("\ufeff\r\n") for line in lines]
            if kind:
                yield kind, pl.Series(texts, dtype=pl.String)
                continue
            several: dict[str, list[str]] = {}
            for text in map(str.strip, texts):
                several.setdefault(kind_of(text), []).append(text)
            for which, some in several.items():
                yield which, pl.Series(some, dtype=pl.String)


def _csv(file: str, kind: str, delimiter: str) -> Iterator[tuple[str, pl.Series]]:
    from pyarrow import csv

    with fsspec.open(file, "rb", compression="infer") as handle:
        # Every column as text: 64 hex digits may look like a number.
        first = handle.readline().decode("utf-8-sig", "replace").rstrip("\r\n")
        handle.seek(0)
        names = [name.strip('" ') for name in first.split(delimiter)]
        chosen = _chosen(file, names, kind)
        convert = csv.ConvertOptions(column_types=dict.fromkeys(names, pa.string()), include_columns=[*chosen])
        reader = csv.open_csv(
            handle,
            read_options=csv.ReadOptions(block_size=BLOCK_BYTES, column_names=names, skip_rows=1),
            parse_options=csv.ParseOptions(delimiter=delimiter, newlines_in_values=True),
            convert_options=convert,
        )
        for batch in reader:
            for name, which in chosen.items():
                yield which, pl.Series(batch[name])


def _parquet(file: str, kind: str) -> Iterator[tuple[str, pl.Series]]:
    import pyarrow.parquet as pq

    with fsspec.open(file, "rb") as handle:
        table = pq.ParquetFile(handle)
        chosen = _chosen(file, table.schema_arrow.names, kind)
        for batch in table.iter_batches(ROWS, columns=[*chosen]):
            for name, which in chosen.items():
                texts = pl.Series(batch[name])
                if texts.dtype == pl.Binary:
                    texts = texts.bin.encode("hex")
                yield which, texts.cast(pl.String)


def _chosen(file: str, names: list[str], kind: str) -> dict[str, str]:
    """Columns that are read, each with its kind."""
    kinds = {kind: COLUMNS[kind]} if kind else COLUMNS
    chosen = {name: which for name in names for which, usual in kinds.items() if name.strip().lower() in usual}
    if not chosen:
        expected = ", ".join(usual[0] for usual in kinds.values())
        raise CurateError(f"the list '{file}' has no column called {expected}; it has {', '.join(names)}")
    return chosen
