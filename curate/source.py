"""Source: the files of an input, and how their columns become those of records."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from types import ModuleType
from typing import Any

import fsspec
import pyarrow as pa
from pydantic import BaseModel, ConfigDict, Field

from curate import inputs, record
from curate.errors import CurateError, unknown
from curate.image_columns import is_image_column
from curate.inputs import MALFORMED

#: Bytes at either end of a file that tell it from another of the same name and size.
END_BYTES = 1 << 16

CANDIDATES = {"url": record.URL_NAMES, "text": record.TEXT_NAMES, "uid": record.UID_NAMES}


class ReadOptions(BaseModel):
    """How to read an input.

    input: a file, folder or glob, local or any fsspec URL.
    format: auto (by extension), or the name of an input format.
    columns: our name to the input's, e.g. {url: image_link}; found by the usual names where not given.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    input: str
    format: str = "auto"
    columns: dict[str, str] = {}
    rows_per_shard: int = Field(10_000, ge=1, le=1_000_000)


@dataclass(frozen=True)
class Source:
    """Files of one format. `names` are the files' paths below the input's folder; `schemas` their columns.

    columns: our name to the input's, as given; what is not given is found per file.
    """

    format: str
    files: list[str]
    names: list[str]
    sizes: list[int]
    schemas: list[pa.Schema] = field(repr=False)
    columns: dict[str, str]

    @property
    def module(self) -> ModuleType:
        return inputs.formats()[self.format]

    @property
    def fields(self) -> pa.Schema:
        """Columns of all files, under the input's names."""
        return _union({f.name: f.type for f in schema} for schema in self.schemas)

    @property
    def mapping(self) -> dict[str, str]:
        """Our name to the input's, over all files."""
        return mapping(self.fields.names, self.columns)

    @property
    def has_images(self) -> bool:
        return any(is_image_column(name) for name in self.fields.names)

    @property
    def types(self) -> pa.Schema:
        """Columns of the records: uid, url, text, then the input's others."""
        own = {f.name: f.type for f in record.SCHEMA}
        found = _union(self.types_of(number) for number in range(len(self.files)))
        # A column that is null everywhere may hold anything later.
        kinds = {f.name: pa.large_string() if pa.types.is_null(f.type) else f.type for f in found}
        return pa.schema(list((own | kinds | own).items()))

    def types_of(self, number: int) -> dict[str, pa.DataType]:
        """One file's columns under our names, with the types that the store keeps."""
        schema = self.schemas[number]
        ours = renamed(schema.names, self.columns)
        return {n: stored(schema.field(theirs).type) for n, theirs in ours.items() if not is_image_column(theirs)}

    def subset(self, names: Iterable[str]) -> Source:
        """The files of these names, in this order."""
        place = {name: number for number, name in enumerate(self.names)}
        at = [place[name] for name in names]
        return replace(
            self,
            files=[self.files[i] for i in at],
            names=[self.names[i] for i in at],
            sizes=[self.sizes[i] for i in at],
            schemas=[self.schemas[i] for i in at],
        )


def ends(file: str) -> str:
    """Hash of the beginning and the end of a file."""
    with fsspec.open(file, "rb") as handle:
        begin = handle.read(END_BYTES)
        handle.seek(max(0, handle.seek(0, 2) - END_BYTES))
        return hashlib.sha256(begin + handle.read(END_BYTES)).hexdigest()[:16]


def open_source(options: ReadOptions) -> Source:
    """Find the input and settle its columns, before any work.

    Raises:
        CurateError: nothing there, not readable, or no column that holds captions or urls.
    """
    format_name, files = inputs.find(options.input, options.format)
    module = inputs.formats()[format_name]
    fs, path = fsspec.core.url_to_fs(options.input)
    path = path.rstrip("/")
    plain = [fsspec.core.url_to_fs(f)[1] for f in files]
    if path in plain:
        root = path.rpartition("/")[0]
    else:
        # Of a glob, the folder above the first part that has a wildcard.
        root = path if fs.isdir(path) else min((path.split(c)[0] for c in "*?["), key=len).rpartition("/")[0]
    names = [p.removeprefix(root).lstrip("/") for p in plain]
    schemas = on_files(module.schema, files)
    sizes = on_files(lambda p: int(fs.size(p) or 0), plain)
    source = Source(format_name, files, names, sizes, schemas, options.columns)
    _check(source, options)
    return source


def on_files(ask: Callable[[str], Any], files: list[str]) -> list[Any]:
    """What `ask` says of each file, several at a time.

    Raises:
        CurateError: when a file cannot be read; the message names it.
    """

    def one(file: str) -> Any:
        try:
            return ask(file)
        except CurateError:
            raise
        except Exception as error:
            # Formats, codecs and object stores have error classes of their own.
            raise CurateError(f"cannot read '{file}': {type(error).__name__}: {error}") from error

    with ThreadPoolExecutor(8) as pool:
        return list(pool.map(one, files))


def mapping(names: Iterable[str], given: dict[str, str]) -> dict[str, str]:
    """Our name to the input's: as given, else by the usual names."""
    have = [name for name in names if not is_image_column(name) and name != MALFORMED]
    found = {ours: given.get(ours) or record.find(ours, have, usual) for ours, usual in CANDIDATES.items()}
    return {ours: theirs for ours, theirs in (found | given).items() if theirs in have}


def renamed(names: list[str], given: dict[str, str]) -> dict[str, str]:
    """Every column's name in the store to its name in the input.

    >>> renamed(["URL", "text", "alt"], {"text": "alt"})
    {'url': 'URL', 'text': 'alt', 'text_input': 'text'}
    """
    ours = mapping(names, given)
    taken = set(ours.values())
    return ours | {f"{name}_input" if name in ours else name: name for name in names if name not in taken}


def stored(kind: pa.DataType) -> pa.DataType:
    """The type that the store keeps for a column's: text of any kind is one type, so that files can differ in it."""
    if pa.types.is_dictionary(kind) or pa.types.is_run_end_encoded(kind):
        return stored(kind.value_type)
    if pa.types.is_string(kind) or pa.types.is_string_view(kind):
        return pa.large_string()
    return pa.large_binary() if pa.types.is_binary(kind) or pa.types.is_binary_view(kind) else kind


def _union(files: Iterable[dict[str, pa.DataType]]) -> pa.Schema:
    kinds: dict[str, pa.DataType] = {}
    for file in files:
        for name, kind in file.items():
            kinds[name] = common(kinds.get(name, kind), kind)
    return pa.schema(list(kinds.items()))


def common(one: pa.DataType, other: pa.DataType) -> pa.DataType:
    """The type that holds both; text when they are of different kinds."""
    if one == other:
        return one
    try:
        schemas = [pa.schema([("", kind)]) for kind in (one, other)]
        both = pa.unify_schemas(schemas, promote_options="permissive").field(0).type
    except pa.ArrowException:
        return pa.large_string()
    nested = pa.types.is_nested(both) and not pa.types.is_null(one) and not pa.types.is_null(other)
    return pa.large_string() if nested else both


def _check(source: Source, options: ReadOptions) -> None:
    names = [n for n in source.fields.names if not is_image_column(n)]
    for theirs in options.columns.values():
        if theirs not in names:
            raise unknown("column", theirs, names, f"input '{options.input}'")
    if set(names) <= {MALFORMED}:
        raise CurateError(f"input '{options.input}' holds no rows, or none that {source.format} can read")
    needed = ["text"] if source.has_images else ["url", "text"]
    places = [(f"input '{options.input}'", names)]
    if source.module.DECLARED:
        places += [(f"'{file}'", schema.names) for file, schema in zip(source.files, source.schemas, strict=True)]
    for place, have in places:
        found = mapping(have, options.columns)
        lacking = [ours for ours in needed if ours not in found]
        if lacking and not set(have) <= {MALFORMED}:
            hint = ". Has it no header line?" if any("://" in name for name in have) else ""
            raise CurateError(
                f"{place} has no column for '{lacking[0]}'; it has: {', '.join(have)}. "
                f"Name it: columns: {{{lacking[0]}: ...}}{hint}"
            )
