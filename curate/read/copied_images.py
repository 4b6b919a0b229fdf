"""Images that came with an input and have no place of their own: reading copies them into a tar of the store."""

from __future__ import annotations

import contextlib
from typing import Any, BinaryIO

import pyarrow as pa

from curate.record import sample_key
from curate.store.folder import shard_name
from curate.store.image_columns import IMAGE, IMAGE_FIELDS, MEMBER
from curate.store.store import Store
from curate.store.tar import TarFile


class CopiedImages:
    """A shard's tar for such images, and for files that go along; made when the first one comes, whole at the end."""

    def __init__(self, store: Store, folder: str, shard: int, rows_per_shard: int):
        self.store, self.folder, self.shard, self.rows_per_shard = store, folder, shard, rows_per_shard
        self._stack = contextlib.ExitStack()
        self._tar: TarFile | None = None
        self._row = 0
        #: The tar's name and digest, once it is whole.
        self.digests: dict[str, str] = {}

    def __enter__(self) -> CopiedImages:
        return self

    def __exit__(self, *error: Any) -> None:
        if self._tar is not None and error[0] is None:
            self._tar.close()
            self.digests[f"{shard_name(self.shard)}.tar"] = self._tar.digest()
        self._stack.__exit__(*error)

    def settled(self, table: pa.Table) -> pa.Table:
        """The next rows, with a place for every image and file, and without the bytes."""
        first, self._row = self._row, self._row + table.num_rows
        if f"{IMAGE}bytes" not in table.column_names:
            return table
        columns = {
            name: table[name].to_pylist() for name in (f"{IMAGE}{n}" for n in ("offset", "size", "key", "extension"))
        }
        bodies = table[f"{IMAGE}bytes"]
        for row in range(table.num_rows) if bodies.null_count < table.num_rows else ():
            body = bodies[row].as_py()
            if body is not None:
                key = sample_key(self.shard, first + row, self.rows_per_shard)
                columns[f"{IMAGE}offset"][row] = self._add(f"{key}.{columns[f'{IMAGE}extension'][row]}", body)
                columns[f"{IMAGE}size"][row] = len(body)
                columns[f"{IMAGE}key"][row] = columns[f"{IMAGE}key"][row] or key
        for name, values in columns.items():
            place = table.column_names.index(name)
            table = table.set_column(place, name, pa.array(values, IMAGE_FIELDS[name.removeprefix(IMAGE)]))
        return self._with_members(table.drop_columns([f"{IMAGE}bytes"]), first)

    def _with_members(self, table: pa.Table, first: int) -> pa.Table:
        name = f"{IMAGE}members"
        if name not in table.column_names:
            return table
        rows = table[name].to_pylist() if table[name].null_count < table.num_rows else [None] * table.num_rows
        for row, members in enumerate(rows):
            for member in members or ():
                body = member.pop("bytes")
                if body is not None:
                    key = sample_key(self.shard, first + row, self.rows_per_shard)
                    member |= {"offset": self._add(f"{key}.{member['name']}", body), "size": len(body)}
        return table.set_column(table.column_names.index(name), name, pa.array(rows, pa.list_(MEMBER)))

    def _add(self, name: str, body: bytes) -> int:
        if self._tar is None:
            file: BinaryIO = self._stack.enter_context(
                self.store.writing(f"{self.folder}/{shard_name(self.shard)}.tar")
            )
            self._tar = TarFile(file)
        # Names of a hundred characters and more would take another form of header.
        return self._tar.add(name if len(name.encode()) < 100 else name.rpartition("/")[2][-99:], body)
