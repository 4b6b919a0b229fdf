"""Source: the files of an input, and how their columns become those of records."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import partial
from types import ModuleType
from typing import Any

import pyarrow as pa

from curate import record
from curate.errors import CurateError
from curate.read import exact_types, images_in_columns, inputs, npz_columns, partition_columns
from curate.read.captions import TEXTS, Choice
from curate.read.columns import is_list, kind_of, mapping, renamed, values_of
from curate.read.crawl_links import LinkRules
from curate.read.exact_types import stored
from curate.read.input_check import check
from curate.read.input_files import about_file, content, mark
from curate.read.input_listing import look
from curate.read.options import ReadOptions
from curate.read.uid_column import holds_uids
from curate.store.image_columns import is_image_column


@dataclass(frozen=True)
class Source:
    """Files of one format. `names` are the files' paths below the input's folder; `schemas` their columns.

    marks: what the file system says of each file's last change.
    columns: our name to the input's, as given; what is not given is found per file.
    ignored: endings of files beside these, and their number.
    complete: the schemas have what whole files hold.
    inline: the columns that hold or name images; empty without such.
    names_images: rows name files as their images.
    listed: captions come as lists, in one of the files at least: these are the column `texts`.
    """

    format: str
    files: list[str]
    names: list[str]
    sizes: list[int]
    marks: list[str] = field(repr=False)
    schemas: list[pa.Schema] = field(repr=False)
    columns: dict[str, str | None]
    caption: Choice = "first"
    seed: int = 0
    as_text: tuple[str, ...] = ()
    link_rules: LinkRules = "laion"
    npz: tuple[str, ...] = ()
    ignored: dict[str, int] = field(default_factory=dict)
    complete: bool = False
    listed: bool = False
    inline: str = ""
    names_images: bool = False

    @property
    def module(self) -> ModuleType:
        return inputs.formats()[self.format]

    @property
    def fields(self) -> list[str]:
        """Names of the columns of all files, as the input has them."""
        return list(dict.fromkeys(name for schema in self.schemas for name in schema.names))

    @property
    def mapping(self) -> dict[str, str]:
        """Our name to the input's, over all files."""
        return mapping(self.fields, self.columns)

    @property
    def has_images(self) -> bool:
        return any(is_image_column(name) for name in self.fields)

    @property
    def seekable(self) -> bool:
        """Whether a row's place in its file tells where to read; a row for each of several captions has none."""
        return bool(self.module.SEEKABLE) and self.caption != "each"

    @property
    def content(self) -> Callable[[str], str]:
        """What tells whether a file holds what it held."""
        of_format: Callable[[str], str] = getattr(self.module, "content", content)
        return partial(npz_columns.content, of_format) if self.npz else of_format

    @property
    def rules(self) -> dict[str, Any]:
        """What the format is told of how a file's content becomes rows."""
        links = {"links": self.link_rules} if hasattr(self.module, "HAS_LINKS") else {}
        return links | ({"npz": self.npz} if self.npz else {})

    def with_lists(self) -> Source:
        """The same, with `listed` as the schemas say."""
        captions = ((schema, name) for schema in self.schemas for name in self.captions(schema.names))
        listed = any(is_list(stored(kind_of(schema, name))) for schema, name in captions)
        return replace(self, listed=listed and self.caption != "each")

    def captions(self, names: Sequence[str]) -> list[str]:
        """Columns of captions: the chosen one and, where rows differ in their keys, its twin (caption, captions)."""
        theirs = mapping(names, self.columns).get("text")
        twins = [f"{theirs}s", str(theirs).removesuffix("s")] if theirs and not self.module.DECLARED else []
        return [theirs, *(name for name in twins if name in names and name != theirs)] if theirs else []

    def kept_as(self) -> dict[str, str]:
        """Columns of the user's whose names are ours, to the names that they have instead."""
        return {
            theirs: ours
            for schema in self.schemas
            for ours, theirs in self.renamed(schema.names).items()
            if ours.startswith(f"{theirs}_input")
        }

    def renamed(self, names: list[str]) -> dict[str, str]:
        """The columns of a file: their names in the store to those that they have."""
        return renamed(names, self.columns, ("texts",) if self.listed else ())

    def types(self) -> pa.Schema:
        """Columns of the records: uid, url, text, then the input's others, with types that hold all values exactly.

        Raises:
            CurateError: when there is no such type for a column.
        """
        own = {f.name: f.type for f in record.SCHEMA}
        kinds: dict[str, dict[pa.DataType, list[str]]] = {}
        for number, file in enumerate(self.files):
            for name, kind in self.types_of(number).items():
                kinds.setdefault(name, {}).setdefault(kind, []).append(file)
        place = {file: number for number, file in enumerate(self.files)}
        types = {}
        for name, seen in kinds.items():
            if name not in own:
                fits = lambda file, kind, name=name: self.fits(place[file], name, kind)  # noqa: E731
                kind = exact_types.settled(name, seen, fits)
                # A column that is null everywhere may hold anything later.
                types[name] = pa.large_string() if pa.types.is_null(kind) else kind
        texts = {"texts": types.pop("texts")} if self.listed else {}
        return pa.schema([*own.items(), *texts.items(), *types.items()])

    def types_of(self, number: int) -> dict[str, pa.DataType]:
        """One file's columns under our names, with the types that the store keeps."""
        schema = self.schemas[number]
        ours = self.renamed(schema.names)
        types = {n: stored(kind_of(schema, theirs)) for n, theirs in ours.items() if not is_image_column(theirs)}
        types |= {name: pa.large_string() for name in self.as_text if name in types}
        if self.listed and "text" in types:
            types["texts"] = TEXTS
        return types

    def fits(self, number: int, name: str, kind: pa.DataType) -> bool:
        """Whether a column's values in one file are the same as another type."""
        theirs = self.renamed(self.schemas[number].names)[name]
        column = getattr(self.module, "column", None)
        own = not partition_columns.of_folders(self.schemas[number].field(theirs.split(".")[0]))
        file = self.files[number]
        own = own and theirs not in self.npz
        values = _readable(file, column(file, theirs)) if column and own else self._column(number, theirs)
        try:
            for some in values:
                exact_types.cast(some, kind)
        except pa.ArrowException:
            return False
        return True

    def _column(self, number: int, theirs: str) -> Iterator[pa.Array]:
        return (values_of(batch, theirs) for batch in self.batches(number))

    def batches(self, number: int, start: int = 0) -> Iterator[pa.RecordBatch]:
        """Batches of one file from row `start` on, with what describes their images and what folders name."""
        file, name = self.files[number], self.names[number]
        for batch in _readable(file, self._plain(number, start)):
            yield partition_columns.added(images_in_columns.taken(batch, file, self.columns), name)

    def _plain(self, number: int, start: int) -> Iterator[pa.RecordBatch]:
        """Batches as the file's format gives them."""
        options = self.rules | ({"batch_rows": images_in_columns.BATCH_ROWS} if self.inline else {})
        if hasattr(self.module, "scan") and not self.module.DECLARED:
            own = [f for f in self.schemas[number] if not (is_image_column(f.name) or partition_columns.of_folders(f))]
            options["types"] = pa.schema(own)
        batches: Iterator[pa.RecordBatch] = self.module.read(self.files[number], start, **options)
        return batches

    def with_schemas(self, schemas: Sequence[pa.Schema]) -> Source:
        """The same with the files' own schemas, and beside them the images and what folders name."""
        places = zip(schemas, self.files, self.names, strict=True)
        images = [(images_in_columns.with_images(schema, file, self.columns), name) for schema, file, name in places]
        held = zip(schemas, self.files, (new for new, _ in images), strict=True)
        names = [
            images_in_columns.column(old, file, self.columns) or "the files beside it"
            for old, file, new in held
            if len(new.names) > len(old.names)
        ]
        return replace(
            self,
            schemas=[partition_columns.with_partitions(*pair) for pair in images],
            inline=", ".join(dict.fromkeys(names)),
            names_images=any(map(self._names_images, schemas, self.files)),
        )

    def _names_images(self, schema: pa.Schema, file: str) -> bool:
        return images_in_columns.names_files(schema, file, self.columns)

    def for_workers(self) -> Source:
        """What reading needs: the schemas of formats that do not declare them; equal ones are one object, sent once."""
        one: dict[pa.Schema, pa.Schema] = {}
        needed = not self.module.DECLARED and hasattr(self.module, "scan")
        return replace(self, schemas=[one.setdefault(schema, schema) for schema in self.schemas] if needed else [])

    def subset(self, names: Iterable[str]) -> Source:
        """The files of these names, in this order."""
        place = {name: number for number, name in enumerate(self.names)}
        at = [place[name] for name in names]
        parts = ("files", "names", "sizes", "marks", "schemas")
        chosen: dict[str, Any] = {part: [getattr(self, part)[i] for i in at] for part in parts}
        return replace(self, **chosen)


def open_source(options: ReadOptions) -> Source:
    """Find the input and settle its columns, before any work.

    Raises:
        CurateError: nothing there, not readable, or no column that holds captions or urls.
    """
    listing = look(options.input, options.format)
    module = inputs.formats()[listing.format]
    if options.npz and not hasattr(module, "HAS_NPZ"):
        raise CurateError(f"npz: {', '.join(options.npz)}: input '{options.place}' is {listing.format}, no parquet")
    about = on_files(npz_columns.about if options.npz else getattr(module, "about", about_file), listing.files)
    source = Source(
        listing.format,
        listing.files,
        listing.names,
        [int(info.get("size") or 0) for info in about],
        [mark(info) for info in about],
        [],
        options.columns,
        options.caption,
        options.seed,
        options.as_text,
        options.link_rules,
        options.npz,
        listing.ignored,
    )
    own_schema = partial(module.schema, npz=options.npz) if options.npz else module.schema
    source = source.with_schemas(on_files(own_schema, listing.files))
    check(source, options)
    source = source.with_lists()
    if "uid" not in source.mapping or holds_uids(source):
        return source
    if "uid" in options.columns:
        raise CurateError(
            f"column '{options.columns['uid']}' of input '{options.place}' holds no uids that rows can have "
            "(32 hex digits, 16 bytes or UUIDs, one for each row): leave it out of `columns`, and it is kept as it is"
        )
    return replace(source, columns={**source.columns, "uid": None})


def _readable(file: str, batches: Iterator[Any]) -> Iterator[Any]:
    """What a file's format gives, batch after batch.

    Raises:
        CurateError: when the file is damaged, with its name. A storage's own errors stay what they are: they may pass.
    """
    try:
        yield from batches
    except (pa.ArrowException, OSError, EOFError, zlib.error) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise
        raise CurateError(f"cannot read '{file}': {type(error).__name__}: {error}") from error


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
