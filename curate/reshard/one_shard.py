"""One shard of a subset: the files of its samples as they are, under keys as DataComp's resharder gives them."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, BinaryIO

import pyarrow as pa

from curate.errors import CurateError
from curate.reshard.samples import copies_listed, list_of
from curate.store.folder import Folder, shard_name
from curate.store.store import Store
from curate.store.tar import Data, TarFile
from curate.write.one_shard import write_table
from curate.write.plan import Piece

#: Samples go into the tar together until they have so many bytes.
_BYTES = 1 << 20

_FACTS = pa.schema([(name, pa.string()) for name in ("key", "uid", "source", "source_key")])


@dataclass(frozen=True)
class WriteSubset:
    """The job: `00000.tar`, `00000.parquet` (key, uid, and where each sample is from), and last `00000_stats.json`.

    plan: of each new shard the pieces of the tars' lists.
    """

    shards: str
    tars: Sequence[str]
    to: str
    plan: Sequence[list[Piece]]

    def __call__(self, number: int) -> None:
        out, name = Store(self.to), shard_name(number)
        facts: list[tuple[str, str, str, str]] = []
        rows = 0
        with out.writing(f"{name}.tar") as file:
            tar = TarFile(file, hashlib.sha256())
            used: Counter[str] = Counter()
            for piece in self.plan[number]:
                table = out.read_file(list_of(piece.shard))
                with Folder(self.shards).open(self.tars[piece.shard]) as handle:
                    rows += self._samples(tar, handle, table, piece, used, facts)
            tar.close()
        files: dict[str, Any] = {f"{name}.tar": {"bytes": tar.position, "sha256": tar.digest()}}
        columns = zip(*facts, strict=True)
        table = pa.table([pa.array(list(values), pa.string()) for values in columns], schema=_FACTS)
        files |= write_table(out, f"{name}.parquet", table)
        stats = {"count": len(facts), "successes": len(facts), "rows": rows, "files": files}
        out.write_bytes(f"{name}_stats.json", json.dumps(stats, indent=1).encode())

    def _samples(
        self,
        tar: TarFile,
        handle: BinaryIO,
        table: pa.Table,
        piece: Piece,
        used: Counter[str],
        facts: list[tuple[str, str, str, str]],
    ) -> int:
        """Appends the samples of a piece; returns how many rows of its list they are of."""
        rows, copies = (part.tolist() for part in copies_listed(table, piece.start, piece.stop))
        listed = table.slice(rows[0], rows[-1] - rows[0] + 1).to_pylist()
        waiting: list[tuple[str, Data]] = []
        weight, before, files = 0, -1, list[tuple[str, bytes]]()
        offset = 0
        for row, copy in zip(rows, copies, strict=True):
            about = listed[row - rows[0]]
            if row != before:
                files = list(self._files(handle, about, self.tars[piece.shard]))
                # Where other samples of this shard have the same uid, their numbers go on.
                before, offset = row, used[about["uid"]] - copy if about["uid"] in used else 0
            key = f"{about['uid']}-{copy + offset}"
            used[about["uid"]] = copy + offset + 1
            facts.append((key, about["uid"], self.tars[piece.shard], about["key"]))
            waiting += [(f"{key}.{extension}", content) for extension, content in files]
            weight += sum(len(content) for _, content in files)
            if weight >= _BYTES:
                tar.add_several(waiting)
                waiting, weight = [], 0
        tar.add_several(waiting)
        return len(set(rows))

    def _files(self, handle: BinaryIO, about: dict[str, Any], name: str) -> Iterator[tuple[str, bytes]]:
        for extension, offset, size in zip(about["extensions"], about["offsets"], about["sizes"], strict=True):
            handle.seek(offset)
            content = handle.read(size)
            if len(content) < size:
                raise CurateError(f"{self.shards}/{name} has changed while it was read: '{about['key']}' is cut")
            yield extension, content
