"""Names that become folders of a store: of tables, filters and pipelines."""

from __future__ import annotations

import re

#: Longest name; with an identity behind it, it must fit into a file name of any file system.
MOST_CHARACTERS = 100

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")

#: What a store itself calls its parts.
RESERVED = (
    *("records", "inputs", "images", "manifest", "manifest.json", "shards", "report", "report.html"),
    *("keep", "uid", "fetches", "robots"),
)

#: Steps of a store's own that drop rows.
RESERVED_FILTERS = ("download",)


_PLAIN_COLUMN = re.compile(r"[A-Za-z]\w*_\w*", re.ASCII)


def in_sql(column: str) -> str:
    """A column as a condition names it: in double quotes where it may be read as anything else.

    >>> in_sql("dup_url_of"), in_sql("my-twins_of"), in_sql("order")
    ('dup_url_of', '"my-twins_of"', '"order"')
    """
    doubled = column.replace('"', '""')
    return column if _PLAIN_COLUMN.fullmatch(column) else f'"{doubled}"'


def check_name(name: str, kind: str) -> str:
    """The name itself, when it can be that of a `kind`: table, filter or pipeline.

    Raises:
        ValueError: for a name that would leave the store, hide a part of it, or give a terminal commands.

    >>> check_name("../notes", "table")
    Traceback (most recent call last):
    ValueError: '../notes' cannot be the name of a table: it takes letters a-z, digits, '_', '-' and '.', no mark first
    """
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise ValueError(
            f"{name!a} cannot be the name of a {kind}: it takes letters a-z, digits, '_', '-' and '.', no mark first"
        )
    if len(name) > MOST_CHARACTERS:
        raise ValueError(
            f"'{name[:40]}…' cannot be the name of a {kind}: {len(name)} characters, at most {MOST_CHARACTERS} fit"
        )
    reserved = {"table": RESERVED, "filter": RESERVED_FILTERS}.get(kind, ())
    if name.lower().startswith("keep_") or name.lower() in reserved:
        raise ValueError(f"'{name}' cannot be the name of a {kind}: the store uses it itself, choose another `name`")
    return name
