"""The text that words are counted in: Wikipedia dumps, plain text, JSONL, parquet and whatever curate reads.

Everything becomes blocks of UTF-8 bytes that end with a line end. What is slow to read is read once, in parallel, into
plain text in a temporary folder, because the text is gone through twice.
"""

from __future__ import annotations

import importlib
import multiprocessing
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import fsspec
import polars as pl
import pyarrow as pa

from curate import record
from curate.errors import CurateError, unknown
from curate.messages.progress import StepProgress
from curate.metadata.wiki_dump import articles
from curate.metadata.word_rules import joined
from curate.read import inputs

BLOCK_BYTES = 8 << 20

_XML = re.compile(r"\.xml(-p\d+p\d+)?(\.(bz2|gz|zst))?$", re.IGNORECASE)
_TEXT = re.compile(r"\.txt(\.(bz2|gz|zst))?$", re.IGNORECASE)


@dataclass(frozen=True)
class TextFile:
    """A file of text: how it is read (`xml`, `txt`, or the name of an input format), and its column of texts if any."""

    path: str
    kind: str
    column: str = ""


def find(sources: Iterable[str], column: str | None = None) -> list[TextFile]:
    """The files of paths, folders and globs, local or any fsspec URL, each looked into.

    Raises:
        CurateError: nothing there, a file of a kind that is not known, or without a column of text.
    """
    return [_look(path, column) for source in sources for path in expand(source)]


def expand(source: str) -> list[str]:
    """The files at a path, in a folder or of a glob, sorted; raises CurateError when there are none."""
    try:
        fs, path = fsspec.core.url_to_fs(source)
        files = fs.find(path) if fs.isdir(path) else fs.glob(path) if fsspec.core.has_magic(path) else [path]
        files = [file for file in files if fs.isfile(file)]
    except Exception as error:
        # Object stores have error classes of their own.
        raise CurateError(f"cannot open '{source}': {type(error).__name__}: {error}") from error
    if not files:
        raise CurateError(f"no file at '{source}'")
    return sorted(fs.unstrip_protocol(file) if "://" in source else file for file in files)


def _look(path: str, column: str | None) -> TextFile:
    if _XML.search(path):
        return TextFile(path, "xml")
    if _TEXT.search(path):
        return TextFile(path, "txt")
    formats = inputs.formats()
    kind = inputs.format_of(path, formats)
    if kind is None:
        known = ", ".join([".xml", ".txt", *(e for module in formats.values() for e in module.EXTENSIONS)])
        raise CurateError(f"{path}: no text of a known kind; known endings: {known}, the first two also .bz2 .gz .zst")
    try:
        schema = formats[kind].schema(path)
    except CurateError:
        raise
    except Exception as error:
        # Formats and codecs have error classes of their own.
        raise CurateError(f"cannot read '{path}': {type(error).__name__}: {error}") from error
    if column is None:
        column = next((name for name in record.TEXT_NAMES if name in schema.names), None)
        if column is None:
            names = ", ".join(schema.names)
            raise CurateError(f"{path}: no column of text found among {names}; name it with --column")
    elif column not in schema.names:
        raise unknown("column", column, schema.names, path)
    dtype = schema.field(column).type
    if not (pa.types.is_string(dtype) or pa.types.is_large_string(dtype) or pa.types.is_string_view(dtype)):
        raise CurateError(f"{path}: column '{column}' is {dtype}, expected text")
    return TextFile(path, kind, column)


def blocks(file: TextFile, size: int = BLOCK_BYTES) -> Iterator[bytes]:
    """A file's text as valid UTF-8, about `size` bytes at a time, cut at line ends; each text ends with one.

    What is not UTF-8 becomes U+FFFD. A line longer than `size` comes whole.
    """
    if file.kind == "txt":
        yield from _lines(file.path, size)
        return
    texts: list[str] = []
    length = 0
    for text in articles(file.path) if file.kind == "xml" else _column(file):
        texts.append(text)
        length += len(text)
        if length >= size:
            yield _encoded(texts)
            texts, length = [], 0
    if texts:
        yield _encoded(texts)


def _encoded(texts: list[str]) -> bytes:
    return ("\n".join(texts) + "\n").encode("utf-8", "replace")


def _column(file: TextFile) -> Iterator[str]:
    for batch in inputs.formats()[file.kind].read(file.path, 0, 1000):
        text = pl.Series(batch.column(file.column)).drop_nulls()
        if len(text):
            yield text.str.join("\n")[0]


def _lines(path: str, size: int) -> Iterator[bytes]:
    rest = b""
    with inputs.opened(path) as stream:
        while block := stream.read(size):
            head, end, tail = block.rpartition(b"\n")
            if end:
                yield _valid(rest + head + end)
                rest = tail
            else:
                rest += tail
    if rest:
        yield _valid(rest + b"\n")


def _valid(block: bytes) -> bytes:
    try:
        block.decode()
    except UnicodeDecodeError:
        return block.decode("utf-8", "replace").encode()
    return block


def tokenizer(name: str) -> Callable[[str], list[str]]:
    """The function `package.module:function` that cuts a line into words.

    Raises:
        CurateError: for a name that leads to no function.
    """
    module, colon, function = name.partition(":")
    if not colon:
        raise CurateError(f"tokenizer '{name}': write it as package.module:function")
    try:
        tokenize: Any = getattr(importlib.import_module(module), function, None)
    except ImportError as error:
        raise CurateError(f"tokenizer '{name}': cannot import '{module}': {error}") from error
    if not callable(tokenize):
        raise CurateError(f"tokenizer '{name}': {module} has no function called '{function}'")
    return tokenize  # type: ignore[no-any-return]


def prepared(files: Sequence[TextFile], folder: Path, cut: str | None = None, workers: int = 1) -> list[TextFile]:
    """The same text as `.txt` files: those given where they are that already, else written below `folder`.

    cut: a tokenizer, `package.module:function`; then the words are as `curate.metadata.word_rules.joined` leaves them.
    """
    todo = [(number, file) for number, file in enumerate(files) if cut or file.kind != "txt"]
    unpacked = {number: TextFile(str(folder / f"{number:05}.txt.zst"), "txt") for number, _ in todo}
    write = partial(_write, cut=cut)
    jobs = [(file, unpacked[number].path) for number, file in todo]
    with StepProgress("text", len(jobs), 0) as progress:
        if workers == 1 or len(jobs) < 2:
            for job in jobs:
                progress.advance(write(job))
        else:
            # Not forked: polars and Arrow have threads.
            context = multiprocessing.get_context("spawn")
            with ProcessPoolExecutor(min(workers, len(jobs)), context) as pool:
                for lines in pool.map(write, jobs):
                    progress.advance(lines)
    return [unpacked.get(number, file) for number, file in enumerate(files)]


def _write(job: tuple[TextFile, str], cut: str | None) -> int:
    """One file as plain text; how many lines that has."""
    file, to = job
    words = tokenizer(cut) if cut else None
    lines = 0
    with pa.CompressedOutputStream(pa.OSFile(to, "wb"), "zstd") as out:
        for block in blocks(file):
            lines += block.count(b"\n")
            if words is None:
                out.write(block)
            else:
                out.write("".join(f"{joined(words(line))}\n" for line in block.decode().split("\n") if line).encode())
    return lines
