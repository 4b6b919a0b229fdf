"""The files of an input, in a list of their own beside the manifest: there may be a hundred thousand of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import pyarrow as pa

from curate.store.folder import identity, shard_name
from curate.store.store import Store

#: The folder of the lists, one for each input of the manifest, in their order.
FOLDER = "inputs"


@dataclass(frozen=True)
class InputFile:
    """A file of an input.

    name: its path below the input's folder. size: in bytes. rows: records that it gave. ends: hash of its content.
    mark: what its file system says of its version, empty where it says nothing.
    """

    name: str
    size: int
    rows: int
    ends: str
    mark: str = ""


def files_id(files: Sequence[InputFile]) -> str:
    """Identity of files; the same files elsewhere have other marks, and are the same input."""
    return identity(files=[[file.name, file.size, file.rows, file.ends] for file in files])


def write_file_list(store: Store, number: int, files: Sequence[InputFile]) -> None:
    """Keep the list of the manifest's input `number`; called before the manifest names it."""
    columns = {field.name: [getattr(file, field.name) for file in files] for field in fields(InputFile)}
    store.write_file(_name(number), pa.table(columns, _SCHEMA))


def read_file_list(store: Store, number: int) -> list[InputFile]:
    """The files of the manifest's input `number`, in the order in which they were read."""
    return [InputFile(**row) for row in store.read_file(_name(number)).to_pylist()]


_SCHEMA = pa.schema(
    [("name", pa.string()), ("size", pa.int64()), ("rows", pa.int64()), ("ends", pa.string()), ("mark", pa.string())]
)


def _name(number: int) -> str:
    return f"{FOLDER}/{shard_name(number)}.parquet"
