"""Converting a store of an older format to today's.

Format 1 had no checksums, and a uid in every table. Format 2 had the names of all input files in the manifest.
"""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import xxhash
from pydantic import ValidationError

from curate.errors import CurateError
from curate.store.file_list import InputFile, files_id, write_file_list
from curate.store.folder import shard_name
from curate.store.image_columns import IMAGE_FIELDS
from curate.store.images import TARS
from curate.store.manifest import FORMAT, Manifest
from curate.store.part_file import MAGIC, hashed
from curate.store.store import Store
from curate.store.verdict import VERDICT, Verdicts

_BLOCK_BYTES = 1 << 20


def upgrade(root: str) -> str:
    """Convert every file where it lies, the manifest last: a stopped upgrade goes on when it is called again.

    Scores keep their values. Ops whose version was raised since, and ops that look at all rows, make their tables anew
    when they are next asked for.

    Raises:
        CurateError: when there is no store, or one of a format that this version does not convert.
    """
    store = Store(root)
    manifest = _manifest(store)
    if manifest.get("format") == FORMAT:
        return f"{root} has format {FORMAT} already"
    if manifest.get("format") not in (1, 2):
        raise CurateError(f"{root} has format {manifest.get('format')!r}; this curate converts formats 1 and 2")
    converted = _tables_converted(store, manifest) if manifest["format"] == 1 else "no part had to be converted"
    manifest["inputs"] = [_with_file_list(store, number, group) for number, group in enumerate(manifest["inputs"])]
    for about in manifest["tables"].values():
        if about.get("kind") == "keep":
            # What steps took stands in the runs.
            about.pop("seconds", None)
    try:
        converted_manifest = Manifest.model_validate({**manifest, "format": FORMAT})
    except ValidationError as error:
        fault = error.errors()[0]
        place = ".".join(map(str, fault["loc"]))
        raise CurateError(f"{root}/manifest.json cannot be converted: {place}: {fault['msg']}") from error
    store.save(converted_manifest)
    return f"{root} has format {FORMAT} now: {converted}"


def _manifest(store: Store) -> dict[str, Any]:
    """The manifest, of any format, without its checksum, which must fit where there is one.

    Raises:
        CurateError: when there is none that can be read.
    """
    try:
        manifest = json.loads(store.read_bytes("manifest.json"))
    except (FileNotFoundError, ValueError) as error:
        raise CurateError(f"'{store.url}' holds no manifest.json that can be read: it is no store") from error
    if not isinstance(manifest, dict):
        raise CurateError(f"'{store.url}' holds no manifest.json that can be read: it is no store")
    return store.read_json("manifest.json") if manifest.get("format") != 1 else manifest


def _with_file_list(store: Store, number: int, group: dict[str, Any]) -> dict[str, Any]:
    """The manifest's entry of an input, its files in a list of their own."""
    marks = group.pop("marks", None) or [""] * len(group["files"])
    files = [InputFile(**file, mark=mark) for file, mark in zip(group["files"], marks, strict=True)]
    write_file_list(store, number, files)
    return {**group, "files": len(files), "files_id": files_id(files)}


def _tables_converted(store: Store, manifest: dict[str, Any]) -> str:
    """Convert the parts of every table of format 1; says how many."""
    tables = ["records", *(name for name in manifest["tables"] if store.parts(name))]
    images = {g["images"] for g in manifest["inputs"] if g.get("images")}
    images |= {folder for folder, about in manifest["tables"].items() if about["name"] == "images"}
    parts = 0
    for table in dict.fromkeys([*tables, *sorted(images)]):
        store.remove(f"{table}/.work")
        with ThreadPoolExecutor(4) as pool:
            convert = partial(_convert, store, table, images=table in images)
            parts += sum(pool.map(convert, sorted(store.parts(table))))
    for about in manifest["tables"].values():
        keep = about.get("kind") == "keep"
        about["columns"] = [VERDICT] if keep else [name for name in about["columns"] if name != "uid"]
    return f"{parts:,} parts of {len(tables)} tables converted"


def _convert(store: Store, table: str, shard: int, images: bool) -> int:
    data = store.read_bytes(store.part(table, shard))
    footer = int.from_bytes(data[-8:-4], "little")
    if data[-8 - footer - len(MAGIC) : -8 - footer] == MAGIC:
        return 0
    rows = pq.read_table(pa.BufferReader(data))
    about: dict[bytes, bytes] = {}
    if images:
        rows, digests = _with_checksums(store, table, shard, rows)
        about[TARS] = json.dumps(digests).encode()
    if table.startswith("keep_"):
        rows = Verdicts.of(rows).to_arrow()
    store.write_part(table, shard, rows, about)
    return 1


def _with_checksums(store: Store, table: str, shard: int, rows: pa.Table) -> tuple[pa.Table, dict[str, str]]:
    """The status rows of images with the checksum of each image, and the digests of the shard's own tars."""
    own = f"{shard_name(shard)}.tar"
    checksums: list[int | None] = []
    opened: dict[str, Any] = {own: store.open(f"{table}/{own}")} if store.exists(f"{table}/{own}") else {}
    columns = (rows[name].to_pylist() for name in ("status", "tar", "offset", "size"))
    for status, tar, offset, size in zip(*columns, strict=True):
        if status != "success":
            checksums.append(None)
            continue
        name = tar or own
        if name not in opened:
            opened[name] = fsspec.open(name, "rb").open() if "/" in name else store.open(f"{table}/{name}")
        opened[name].seek(offset)
        checksums.append(hashed(opened[name].read(size)))
    digests = {}
    for name, file in opened.items():
        if "/" not in name:
            file.seek(0)
            digest = xxhash.xxh3_128()
            while block := file.read(_BLOCK_BYTES):
                digest.update(block)
            digests[name] = digest.hexdigest()
        file.close()
    return rows.append_column("checksum", pa.array(checksums, IMAGE_FIELDS["checksum"])), digests
