"""Writing: kept records as WebDataset shards for training, image bytes untouched, and DataComp subset files."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, BinaryIO, cast

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import BaseModel, ConfigDict, Field

from curate import __version__
from curate.cluster import Cluster
from curate.errors import CurateError, unknown
from curate.images import ImageReader
from curate.record import UID, sample_key
from curate.store import Folder, identity, shard_name
from curate.tar import TarFile
from curate.view import View

#: Columns that speak of the store, not of the sample.
_INTERNAL = {"key", "status", "error_message", "tar", "offset", "size", "checksum", "extension", "malformed"}


#: Files of one training shard; the last one written says that it is complete.
_ENDS = (".tar", ".parquet", "_stats.json")


class WriteOptions(BaseModel):
    """Training shards.

    to: folder, local or any fsspec URL; by default `shards-<identity>` inside the store.
    samples_per_shard: every shard but the last holds exactly this many, unless bytes_per_shard cuts it earlier.
    bytes_per_shard: most bytes of image files in a shard.
    columns: columns of the json and parquet; by default all that are not lists.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    to: str | None = None
    samples_per_shard: int = Field(10_000, ge=1)
    bytes_per_shard: int | None = Field(None, ge=1)
    columns: tuple[str, ...] | None = None


@dataclass(frozen=True)
class Piece:
    """Samples `start` to `stop` among the writable rows of one shard of the store."""

    shard: int
    start: int
    stop: int


def writable(view: View, shard: int) -> tuple[np.ndarray, np.ndarray, dict[str, int]]:
    """Rows that are in and have an image, the sizes of these, and how many lack one, by status."""
    assert view.images is not None
    about = view.store.read_part(view.images, shard, ["status", "size"])
    status = np.asarray(about["status"].to_pylist(), object)
    kept = view.kept(shard)
    inside = np.ones(len(status), bool) if kept is None else kept
    rows = np.flatnonzero(inside & (status == "success"))
    words, counts = np.unique(status[inside & (status != "success")].astype(str), return_counts=True)
    sizes = about["size"].fill_null(0).to_numpy()[rows]
    return rows, sizes, dict(zip(words.tolist(), counts.tolist(), strict=True))


def plan(sizes: Iterator[tuple[int, np.ndarray]], samples: int, most_bytes: int | None) -> list[list[Piece]]:
    """Which samples go into which shard, in the order of the store.

    >>> plan(iter([(0, np.array([5, 5, 5])), (1, np.array([5]))]), 2, None)
    [[Piece(shard=0, start=0, stop=2)], [Piece(shard=0, start=2, stop=3), Piece(shard=1, start=0, stop=1)]]
    """
    shards: list[list[Piece]] = []
    count = weight = 0
    for shard, heavy in sizes:
        ends = np.cumsum(heavy)
        at = 0
        while at < len(heavy):
            before = int(ends[at - 1]) if at else 0
            take = min(samples - count, len(heavy) - at)
            if most_bytes is not None:
                fits = int(np.searchsorted(ends, before + most_bytes - weight, side="right")) - at
                # One image larger than the cap still gets a shard of its own.
                take = min(take, max(fits, 0 if count else 1))
            if take:
                if not count:
                    shards.append([])
                shards[-1].append(Piece(shard, at, at + take))
                at, count, weight = at + take, count + take, weight + int(ends[at + take - 1]) - before
            full = count >= samples or (most_bytes is not None and at < len(heavy))
            if full:
                count = weight = 0
    return shards


class _Hashed:
    """A file that knows the sha256 and the number of the bytes written to it."""

    def __init__(self, file: BinaryIO):
        self._file, self.sha256, self.bytes = file, hashlib.sha256(), 0

    def write(self, data: bytes) -> int:
        self.sha256.update(data)
        self.bytes += len(data)
        return self._file.write(data)


@dataclass
class WriteShard:
    """Work for one training shard: `00000.tar`, `00000.parquet`, and last `00000_stats.json`, which commits it."""

    view: View
    to: str
    plan: list[list[Piece]]
    columns: list[str]
    samples_per_shard: int

    def __call__(self, number: int) -> dict[str, Any]:
        out, name = Folder(self.to), shard_name(number)
        tables: list[pa.Table] = []
        files: dict[str, Any] = {}
        with out.writing(f"{name}.tar") as file:
            hashed = _Hashed(file)
            tar = TarFile(cast(BinaryIO, hashed))
            count = 0
            for piece in self.plan[number]:
                rows = writable(self.view, piece.shard)[0][piece.start : piece.stop]
                table = self.view.read(piece.shard, self.columns).take(pa.array(rows))
                keys = [sample_key(number, count + i, self.samples_per_shard) for i in range(len(rows))]
                table = table.add_column(0, "key", pa.array(keys, pa.string()))
                self._samples(tar, table, piece.shard, rows)
                tables.append(table)
                count += len(rows)
            tar.close()
        files[f"{name}.tar"] = {"bytes": hashed.bytes, "sha256": hashed.sha256.hexdigest()}
        with out.writing(f"{name}.parquet") as file:
            hashed = _Hashed(file)
            buffer = pa.BufferOutputStream()
            pq.write_table(pa.concat_tables(tables), buffer, compression="zstd")
            hashed.write(buffer.getvalue().to_pybytes())
        files[f"{name}.parquet"] = {"bytes": hashed.bytes, "sha256": hashed.sha256.hexdigest()}
        stats = {"count": count, "successes": count, "failed_to_download": 0, "failed_to_resize": 0, "files": files}
        out.write_bytes(f"{name}_stats.json", json.dumps(stats, indent=1).encode())
        return {"rows": count}

    def _samples(self, tar: TarFile, table: pa.Table, shard: int, rows: np.ndarray) -> None:
        assert self.view.images is not None
        reader = ImageReader(self.view.store, self.view.images, shard)
        extensions = self.view.store.read_part(self.view.images, shard, ["extension"])["extension"].to_pylist()
        for row, sample in zip(rows.tolist(), table.to_pylist(), strict=True):
            image = reader.bytes(row)
            assert image is not None
            text = (sample.get("text") or "").encode("utf-8", "replace")
            # Strict readers refuse the NaN that Python would write.
            plain = {n: None if isinstance(v, float) and not math.isfinite(v) else v for n, v in sample.items()}
            about = json.dumps(plain, ensure_ascii=False, default=str, allow_nan=False).encode("utf-8", "replace")
            tar.add(f"{sample['key']}.{extensions[row]}", image)
            tar.add(f"{sample['key']}.txt", text)
            tar.add(f"{sample['key']}.json", about)
        reader.close()


def columns_to_write(view: View, options: WriteOptions) -> list[str]:
    """Columns of the json and parquet, in an order that does not depend on when they were made."""
    if options.columns is not None:
        for name in options.columns:
            if name not in view.columns:
                raise unknown("column", name, view.columns, view.store.url)
        # Every sample has a key of its own, which one that came with the input must not replace.
        return [n for n in dict.fromkeys(("uid", "url", "text", *options.columns)) if n != "key"]
    shard = min(view.store.shard_rows())
    chosen = {"uid", "url", "text"}
    for folder in set(view.columns.values()):
        for field in view.store.read_part(folder, shard).schema:
            name = field.name
            ours = view.columns.get(name) == folder and name not in _INTERNAL and not name.endswith("_status")
            if ours and not pa.types.is_nested(field.type) and not _is_bytes(field.type):
                chosen.add(name)
    rest = sorted(chosen - {"uid", "url", "text"})
    return ["uid", "url", "text", *rest]


def _is_bytes(kind: pa.DataType) -> bool:
    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_fixed_size_binary(kind))


def write(view: View, options: WriteOptions, cluster: Cluster) -> dict[str, Any]:
    """Write what is in as training shards; what an earlier run of the same selection wrote is left as it is.

    Returns {"to", "samples", "shards", "bytes", "without_image": {status: rows}}.

    Raises:
        CurateError: when there are no images, or `to` holds another selection.
    """
    if view.images is None:
        raise CurateError("nothing to write: the store has no images (a pipeline without download writes --output)")
    columns = columns_to_write(view, options)
    # The tables, not only their names: a new threshold or model is another selection.
    made_of = view.states(columns)
    same = options.model_dump(exclude={"to", "columns"})
    selection = identity(pool=view.pool(), images=view.state(view.images), columns=made_of, options=same)
    out = Folder(options.to or f"{view.store.url}/shards-{selection}")
    without: dict[str, int] = {}

    def sizes() -> Iterator[tuple[int, np.ndarray]]:
        for shard in sorted(view.store.shard_rows()):
            _, heavy, lacking = writable(view, shard)
            for word, rows in lacking.items():
                without[word] = without.get(word, 0) + rows
            yield shard, heavy

    shards = plan(sizes(), options.samples_per_shard, options.bytes_per_shard)
    if not shards:
        lacking = ", ".join(f"{rows:,} {word}" for word, rows in without.items())
        raise CurateError(f"nothing to write: no row with an image is kept{f' ({lacking})' if lacking else ''}")
    _claim(out, selection)
    have = out.names()
    todo = [n for n in range(len(shards)) if not {shard_name(n) + end for end in _ENDS} <= have]
    work = {
        "view": view,
        "to": out.url,
        "plan": shards,
        "columns": columns,
        "samples_per_shard": options.samples_per_shard,
    }
    samples = {n: sum(p.stop - p.start for p in pieces) for n, pieces in enumerate(shards)}
    for _ in cluster.each("write", WriteShard, work, todo, samples):
        pass
    return _finish(out, selection, made_of, samples) | {"without_image": without}


def _claim(out: Folder, selection: str) -> None:
    """Refuse a folder that holds another selection; mark one that is ours before the first shard."""
    try:
        held = json.loads(out.read_bytes("selection.json"))["selection"]
    except (KeyError, TypeError, ValueError):
        raise CurateError(f"'{out.url}/selection.json' is damaged or not curate's: write to another folder") from None
    except FileNotFoundError:
        taken = sorted(n for n in out.names() if n.endswith((".tar", ".parquet", ".json")) and not n.startswith("."))
        if taken:
            raise CurateError(
                f"'{out.url}' holds files that are not of these shards ({taken[0]}): write to another folder"
            ) from None
        out.write_bytes("selection.json", json.dumps({"selection": selection}).encode())
        return
    if held != selection:
        raise CurateError(
            f"'{out.url}' holds another selection ({held}, this one is {selection}): write to another folder, "
            "or leave `to` out and each selection gets its own"
        )


def _facts(out: Folder, name: str) -> dict[str, Any]:
    data = out.read_bytes(name)
    return {name: {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}}


def _finish(out: Folder, selection: str, made_of: dict[str, str], samples: dict[int, int]) -> dict[str, Any]:
    """`sizes.json` as open_clip and DataComp read it, and `manifest.json` with the sha256 of every file."""
    files: dict[str, Any] = {}
    sizes = {f"{shard_name(n)}.tar": count for n, count in samples.items()}
    out.write_bytes("sizes.json", json.dumps(sizes, indent=1).encode())
    for number in samples:
        files |= json.loads(out.read_bytes(f"{shard_name(number)}_stats.json"))["files"]
        files |= _facts(out, f"{shard_name(number)}_stats.json")
    files |= _facts(out, "sizes.json") | _facts(out, "selection.json")
    total = sum(samples.values())
    about = {
        "curate": __version__,
        "selection": selection,
        "samples": total,
        "shards": len(samples),
        "columns": made_of,
        "files": files,
    }
    for name in out.names():
        if name.startswith(".") and name.endswith(".tmp"):  # of a worker that was killed while it wrote
            out.remove(name)
    out.write_json("manifest.json", about)
    weight = sum(f["bytes"] for f in files.values())
    return {"to": out.url, "samples": total, "shards": len(samples), "bytes": weight}


def subset_rows(uids: list[str]) -> np.ndarray:
    """uids as DataComp's subset dtype: two uint64 halves, the high half first.

    Raises:
        CurateError: for a uid that is not 32 lower-case hex characters.
    """
    for uid in uids:
        if not UID.match(uid):
            raise CurateError(f"uid '{uid}' is not 32 lower-case hex characters: a DataComp subset file cannot hold it")
    halves = np.frombuffer(bytes.fromhex("".join(uids)), ">u8").reshape(-1, 2).astype("<u8")
    return halves.view("u8,u8").reshape(-1)


def write_subset(rows: list[np.ndarray], to: str) -> int:
    """A DataComp subset file: sorted, a uid that occurs k times is written k times; returns the number of rows."""
    folder, _, name = to.rpartition("/")
    joined = np.concatenate(rows) if rows else np.empty(0, "u8,u8")
    ordered = joined[np.lexsort((joined["f1"], joined["f0"]))]
    with Folder(folder or ("/" if to.startswith("/") else ".")).writing(name) as file:
        np.save(file, ordered)
    return len(ordered)
