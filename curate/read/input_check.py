"""Whether an input has what a record needs: a url or an image, and captions that are texts."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow as pa

from curate.errors import CurateError, unknown
from curate.read.columns import is_list, kind_of, like_captions, mapping
from curate.read.exact_types import stored
from curate.read.options import ReadOptions
from curate.record import MALFORMED
from curate.store.image_columns import is_image_column

if TYPE_CHECKING:
    from curate.read.source import Source


def check(source: Source, options: ReadOptions) -> None:
    place = f"input '{options.place}'"
    names = [n for n in source.fields if not is_image_column(n)]
    for ours, theirs in options.columns.items():
        if ours != "image" and theirs is not None and theirs not in names and theirs.split(".")[0] not in names:
            raise unknown("column", theirs, names, place)
    if set(names) <= {MALFORMED}:
        raise CurateError(f"{place} holds no rows, or none that {source.format} can read")
    # Elsewhere there are captions (urls): a file that declares none is a mistake, no gap.
    needed = [] if source.has_images else ["url"]
    needed += ["text"] if "text" in source.mapping else []
    places = [(place, source.schemas)]
    if source.module.DECLARED:
        places += [(f"'{file}'", [schema]) for file, schema in zip(source.files, source.schemas, strict=True)]
    for where, schemas in places:
        all_names = [n for n in dict.fromkeys(n for schema in schemas for n in schema.names) if not is_image_column(n)]
        if set(all_names) <= {MALFORMED}:
            continue
        mapped = mapping(all_names, options.columns)
        lacking = [ours for ours in needed if ours not in mapped]
        alike = [name for schema in schemas for name in like_captions(schema, options.columns)]
        if not lacking and alike and "text" not in (*mapped, *options.columns) and not source.has_images:
            lacking = ["text"]
        if lacking:
            hint = f", or text: null where there are no captions (like captions: {', '.join(alike)})" if alike else ""
            raise CurateError(
                f"{where} has no column for '{lacking[0]}'; it has: {', '.join(all_names)}. "
                f"Name it: columns: {{{lacking[0]}: ...}}{hint if lacking == ['text'] else ''}"
            )
    for file, schema in zip(source.files, source.schemas, strict=True):
        _check_captions(file, schema, options)


def _check_captions(file: str, schema: pa.Schema, options: ReadOptions) -> None:
    """A caption is a text or a list of texts.

    Raises:
        CurateError: when the column holds something else; the message names what to choose from.
    """
    theirs = mapping(schema.names, options.columns).get("text")
    kind = stored(kind_of(schema, theirs)) if theirs else pa.null()
    if is_list(kind) and pa.types.is_nested(kind.value_type):
        raise CurateError(f"column '{theirs}' of '{file}' is {kind}: a caption is a text or a list of texts")
    if pa.types.is_struct(kind):
        raise CurateError(
            f"column '{theirs}' of '{file}' is no text, it has the fields {', '.join(f.name for f in kind)}: "
            f"choose one: columns: {{text: {theirs}.{kind.field(0).name}}}"
        )
