"""One training shard: its tar, its parquet, and the statistics that commit it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from curate.record import sample_key
from curate.store.folder import Folder, shard_name
from curate.store.images import LOCATION, ImageReader
from curate.store.tar import Data, TarFile
from curate.store.view import View
from curate.write.faces import Blur
from curate.write.plan import Piece
from curate.write.sample_json import sample_json, values_of
from curate.write.shard_columns import Column, read
from curate.write.survey import sample_files, writable

#: Samples whose json is made at once.
_ROWS = 1000
#: Samples go into the tar together until they have so many bytes.
_BYTES = 1 << 20


@dataclass
class WriteShard:
    """Work for one training shard: `00000.tar`, `00000.parquet`, and last `00000_stats.json`, which commits it."""

    view: View
    to: str
    plan: Sequence[list[Piece]]
    columns: list[Column]
    samples_per_shard: int
    faces: str = ""

    def __call__(self, number: int) -> dict[str, Any]:
        out, name = Folder(self.to), shard_name(number)
        tables: list[pa.Table] = []
        files: dict[str, Any] = {}
        with out.writing(f"{name}.tar") as file:
            tar = TarFile(file, hashlib.sha256())
            for shard, rows, table in self._pieces(number):
                self._samples(tar, table, shard, rows)
                tables.append(table)
            tar.close()
        files[f"{name}.tar"] = {"bytes": tar.position, "sha256": tar.digest()}
        files |= write_table(out, f"{name}.parquet", pa.concat_tables(tables))
        return self._commit(out, number, sum(table.num_rows for table in tables), files)

    def _pieces(self, number: int) -> Iterator[tuple[int, np.ndarray, pa.Table]]:
        """Of each piece of a training shard: the store's shard, the rows there, and their columns with their keys."""
        #: Rows of the samples so far, where rows have copies.
        self._rows: int | None = None
        self._blur = Blur(self.view, self.faces) if self.faces else None
        count = 0
        for piece in self.plan[number]:
            some, samples = slice(piece.start, piece.stop), writable(self.view, piece.shard)
            rows, copy = samples.rows[some], None if samples.copy is None else samples.copy[some]
            table = read(self.view, piece.shard, self.columns).take(pa.array(rows))
            keys = [sample_key(number, count + place, self.samples_per_shard) for place in _first_places(rows)]
            if copy is not None:
                keys = [f"{key}-{number}" for key, number in zip(keys, copy.tolist(), strict=True)]
                self._rows = (self._rows or 0) + len(np.unique(rows))
            yield piece.shard, rows, table.add_column(0, "key", pa.array(keys, pa.string()))
            count += len(rows)

    def _commit(self, out: Folder, number: int, count: int, files: dict[str, Any]) -> dict[str, Any]:
        """The statistics, the last file of a shard. files: name to bytes and sha256 of all others."""
        stats = {"count": count, "successes": count, "failed_to_download": 0, "failed_to_resize": 0, "files": files}
        if self._rows is not None:
            stats["rows"] = self._rows
        if self._blur:
            stats["faces"] = dict(sorted(self._blur.counts.items()))
        out.write_bytes(f"{shard_name(number)}_stats.json", json.dumps(stats, indent=1).encode())
        return {"rows": count}

    def _samples(self, tar: TarFile, table: pa.Table, shard: int, rows: np.ndarray) -> None:
        """Appends a sample per row of the table; rows: their places in the store's shard."""
        waiting: list[tuple[str, Data]] = []
        weight = 0
        for member in self._members(table, shard, rows):
            waiting.append(member)
            weight += len(member[1])
            if weight >= _BYTES:
                tar.add_several(waiting)
                waiting, weight = [], 0
        tar.add_several(waiting)

    def _members(self, table: pa.Table, shard: int, rows: np.ndarray) -> Iterator[tuple[str, Data]]:
        """Names and bytes of the files of all samples."""
        assert self.view.images is not None
        extensions, others = (column.to_pylist() for column in sample_files(self.view, shard, rows))
        reader = ImageReader(self.view.store, self.view.images, shard)
        firsts, times = _runs(rows)
        files = zip(reader.in_turn(rows[firsts].tolist()), (extensions[first] for first in firsts), strict=True)
        once = self._blur.images(files, shard, rows[firsts]) if self._blur else files
        images = (image for image, copies in zip(once, times, strict=True) for _ in range(copies))
        facts = zip(table["key"].to_pylist(), _texts(table), others, rows.tolist(), strict=True)
        for key, (text, json_text), members, row in facts:
            image, ending = next(images)
            yield f"{key}.{ending}", image
            yield f"{key}.txt", text
            yield f"{key}.json", json_text
            for member in members or ():
                name = member["name"]
                place = {n: member[n] for n in LOCATION if n != "status"}
                free = f"input.{name}" if name in (ending, "txt", "json") else name
                yield f"{key}.{free}", reader.read(f"'{name}' of row {row}", **place)
        reader.close()


def _runs(rows: np.ndarray) -> tuple[list[int], list[int]]:
    """Where each run of the same row begins, and how long it is.

    >>> _runs(np.array([4, 4, 7]))
    ([0, 2], [2, 1])
    """
    firsts = np.flatnonzero(np.append(True, rows[1:] != rows[:-1])[: len(rows)])
    return firsts.tolist(), np.diff(firsts, append=len(rows)).tolist()


def _first_places(rows: np.ndarray) -> list[int]:
    """Of each sample the place of the first one in a run of its row: copies share a number.

    >>> _first_places(np.array([4, 4, 7]))
    [0, 0, 2]
    """
    firsts, times = _runs(rows)
    return np.repeat(firsts, times).tolist() if len(rows) else []


def write_table(out: Folder, name: str, table: pa.Table) -> dict[str, Any]:
    """A parquet file; returns its name, bytes and sha256."""
    buffer = pa.BufferOutputStream()
    pq.write_table(table, buffer, compression="zstd")
    written = buffer.getvalue()
    with out.writing(name) as file:
        file.write(written)
    return {name: {"bytes": written.size, "sha256": hashlib.sha256(written).hexdigest()}}


def _texts(table: pa.Table) -> Iterator[tuple[Data, Data]]:
    """Caption and json of each row."""
    for start in range(0, table.num_rows, _ROWS):
        samples = table.slice(start, _ROWS)
        captions = samples["text"].combine_chunks().fill_null("")
        yield from zip(values_of(captions), sample_json(samples), strict=True)
