"""Shards as img2dataset's `files` and `parquet` have them: a folder of files, or a parquet with the images in it."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from typing import Any, Literal

import pyarrow as pa
import pyarrow.parquet as pq

from curate.store.folder import Folder, shard_name
from curate.store.tar import Data
from curate.write.one_shard import WriteShard, write_table

OutputFormat = Literal["webdataset", "files", "parquet"]

#: Name of the column of images in a parquet whose samples have images of several formats.
MIXED = "image"
#: Rows whose images are in memory at the same time.
_ROWS = 500


@dataclass
class WriteFiles(WriteShard):
    """`00000/<key>.jpg`, `.json`, and `.txt` where there is a caption; `00000.parquet` as beside a tar."""

    def __call__(self, number: int) -> dict[str, Any]:
        out, name = Folder(self.to), shard_name(number)
        files: dict[str, Any] = {}
        tables = []
        if out.local:
            os.makedirs(out.path(name), exist_ok=True)
        for shard, rows, table in self._pieces(number):
            for member, data in self._members(table, shard, rows):
                if data or not member.endswith(".txt"):
                    # Not each file for itself to the disk: the shard's statistics commit them all.
                    out.fs.pipe_file(out.path(f"{name}/{member}"), bytes(data))
                    files[f"{name}/{member}"] = {"bytes": len(data), "sha256": _sha256(data)}
            tables.append(table)
        if out.local:
            os.sync()
        table = pa.concat_tables(tables)
        files |= write_table(out, f"{name}.parquet", table)
        return self._commit(out, number, table.num_rows, files)


@dataclass
class WriteParquet(WriteShard):
    """`00000.parquet` with a column of images, which is called as their format: `jpg`.

    image: name of that column.
    """

    image: str = MIXED

    def __call__(self, number: int) -> dict[str, Any]:
        out, name = Folder(self.to), f"{shard_name(number)}.parquet"
        count = 0
        with out.writing(name) as file:
            hashed = _Hashed(file)
            writer: pq.ParquetWriter | None = None
            for shard, rows, table in self._pieces(number):
                for start in range(0, len(rows), _ROWS):
                    some = slice(start, start + _ROWS)
                    images = self._images(table.slice(start, _ROWS), shard, rows[some])
                    group = table.slice(start, _ROWS).append_column(self.image, pa.array(images, pa.large_binary()))
                    writer = writer or pq.ParquetWriter(hashed, group.schema, compression="zstd")
                    writer.write_table(group)
                    count += group.num_rows
            assert writer is not None  # no shard is empty
            writer.close()
        files = {name: {"bytes": hashed.position, "sha256": hashed.digest.hexdigest()}}
        return self._commit(out, number, count, files)

    def _images(self, table: pa.Table, shard: int, rows: Any) -> list[bytes]:
        """The first file of each sample."""
        images: dict[str, bytes] = {}
        for name, data in self._members(table, shard, rows):
            images.setdefault(name.partition(".")[0], bytes(data))
        return [images[key] for key in table["key"].to_pylist()]


class _Hashed:
    """A file whose bytes are hashed as they are written."""

    closed = False

    def __init__(self, file: Any) -> None:
        self._file, self.digest, self.position = file, hashlib.sha256(), 0

    def write(self, data: bytes) -> int:
        self.digest.update(data)
        self.position += len(data)
        written: int = self._file.write(data)
        return written

    def tell(self) -> int:
        return self.position

    def flush(self) -> None:
        self._file.flush()

    def close(self) -> None:
        pass


def _sha256(data: Data) -> str:
    return hashlib.sha256(data).hexdigest()
