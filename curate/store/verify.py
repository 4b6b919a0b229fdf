"""Verifying a store or written shards: every byte of every file against the checksums that were written with it."""

from __future__ import annotations

import contextlib
import json
import os
import re
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import xxhash

from curate.errors import CurateError
from curate.store import part_file
from curate.store.file_list import FOLDER as INPUTS
from curate.store.folder import Folder, json_file, shard_name
from curate.store.image_columns import ROBOTS
from curate.store.images import TARS
from curate.store.lease import NAME as LEASE
from curate.store.lease import leased
from curate.store.removal import OPT_OUT, REMOVED
from curate.store.spill import ENTRY_BYTES
from curate.store.store import LEARNED, WRITTEN, Store
from curate.store.verify_shards import file_digest, shard_fault

#: Faults listed in full; all are counted.
LISTED = 20
_BLOCK_BYTES = 1 << 20
#: Files of a table beside its parts: what is said of a shard, what an op counted of all groups.
_JSON = (".remarks.json", ".tally.json")
_SHARDS = re.compile(r"shards-[0-9a-f]{12}")


@dataclass(frozen=True)
class File:
    """A file to look at. fault: says what is wrong with its bytes, or None."""

    name: str
    fault: Callable[[], str | None]


def verify(url: str) -> str:
    """One line that says all is well, of a store or of a folder of shards.

    Raises:
        CurateError: naming the files that are missing, differ, or belong to nothing.
    """
    folder = Folder(url)
    names = folder.names()
    if "manifest.json" not in names:
        raise CurateError(
            f"'{url}' has no manifest.json: it is no store, and no folder of shards that were written to their end"
        )
    try:
        about = folder.read_json("manifest.json")
    except CurateError as error:
        raise CurateError(f"{error}; the files that it lists cannot be looked at") from error
    if "format" not in about:
        return _verdict(url, *_of_shards(folder, about, names))
    with contextlib.ExitStack() as held:
        # A command that changes the store would look like damage; a store that cannot be written has none.
        if os.access(folder.path(""), os.W_OK) or not folder.local:
            held.enter_context(leased(folder, f"curate verify {url}"))
        return _verdict(url, *_of_store(Store(url)))


def _verdict(url: str, files: list[File], faults: list[str]) -> str:
    with ThreadPoolExecutor(4) as pool:
        faults += [
            f"{file.name}: {fault}" for file, fault in zip(files, pool.map(_looked, files), strict=True) if fault
        ]
    if faults:
        more = f", and {len(faults) - LISTED} more" if len(faults) > LISTED else ""
        raise CurateError(f"'{url}': {len(faults)} faults in {len(files)} files: {'; '.join(faults[:LISTED])}{more}")
    return f"{len(files)} files: all as written"


def _looked(file: File) -> str | None:
    try:
        return file.fault()
    except FileNotFoundError:
        return "is missing"
    except part_file.Damaged as error:
        return f"differs: {error}"
    except (CurateError, OSError, KeyError, ValueError, pa.ArrowException) as error:
        return f"differs: {error}"


# ---- shards ----


def _of_shards(folder: Folder, about: Mapping[str, Any], names: set[str]) -> tuple[list[File], list[str]]:
    listed: dict[str, Any] = about["files"]

    def differs(name: str) -> Callable[[], str | None]:
        if name.endswith(".tar"):
            return lambda: shard_fault(folder, name, listed[name]["sha256"])
        return lambda: None if file_digest(folder, name) == listed[name]["sha256"] else "differs"

    # The card may be one of the user's.
    folders = {name.partition("/")[0] for name in listed if "/" in name}
    extra = sorted(names - set(listed) - folders - {"manifest.json", "README.md", REMOVED})
    extra += sorted({f"{one}/{name}" for one in folders for name in folder.names(one)} - set(listed))
    files = [File("manifest.json", lambda: _json_fault(folder, "manifest.json"))]
    files += [File(name, differs(name)) for name in sorted(listed)]
    return files, [f"{name}: is not of these shards" for name in extra if not name.startswith(".")]


# ---- a store ----


def _of_store(store: Store) -> tuple[list[File], list[str]]:
    manifest = store.manifest()
    faults: list[str] = []
    files = [File("manifest.json", lambda: _json_fault(store, "manifest.json"))]
    known = {"records", *manifest.tables, *(group.images for group in manifest.inputs if group.images)}
    known |= ({INPUTS} if manifest.inputs else set()) | ({REMOVED} if manifest.removals else set())
    for name in sorted(store.names()):
        if name in ("manifest.json", LEASE) or name.startswith("."):
            continue
        if name == "report.html":
            files.append(File(name, lambda: _report_fault(store)))
        elif _SHARDS.fullmatch(name):
            folder = Folder(f"{store.url}/{name}")
            inside, wrong = _of_shards(folder, folder.read_json("manifest.json"), folder.names())
            files += [File(f"{name}/{file.name}", file.fault) for file in inside]
            faults += [f"{name}/{fault}" for fault in wrong]
        elif not store.fs.isdir(store.path(name)):
            faults.append(f"{name}: is not of this store")
        else:
            files += _of_table(store, name)
            known.discard(name)
            if name == REMOVED:
                versions = {removal.version for removal in manifest.removals}
                faults += [f"{store.part(name, n)}: is missing" for n in sorted(versions - store.parts(name))]
            elif name == INPUTS:
                lists = set(range(len(manifest.inputs)))
                faults += [f"{store.part(name, number)}: is missing" for number in sorted(lists - store.parts(name))]
            elif name in {"records", *manifest.tables}:
                expected = set(manifest.shards_of(name))
                faults += [f"{store.part(name, s)}: is missing" for s in sorted(expected - store.parts(name))]
    return files, faults + [f"{name}: is missing" for name in sorted(known) if manifest.shards_of(name)]


def _of_table(store: Store, table: str) -> Iterator[File]:
    for name in sorted(store.names(table)):
        place = f"{table}/{name}"
        if name.endswith(".parquet"):
            yield File(place, _part_fault(store, table, place))
        elif name.endswith(".tar"):
            yield File(place, _tar_fault(store, table, name))
        elif name.endswith(_JSON) or (table in (WRITTEN, REMOVED) and name.endswith(".json")):
            yield File(place, _json_check(store, place))
        elif table == OPT_OUT and name.endswith(".keys"):
            yield File(place, _keys_fault(store, place))
        elif table == REMOVED and name.endswith(".txt"):
            yield File(place, _words_fault(store, place))
        elif name == ".work":
            yield from _of_work(store, place)
        elif not name.startswith("."):
            yield File(place, lambda: "is not of this table")


def _of_work(store: Store, folder: str) -> Iterator[File]:
    for name in sorted(store.names(folder)):
        place = f"{folder}/{name}"
        if name.endswith(".json"):
            yield File(place, _json_check(store, place))
        elif name.endswith(".spill"):
            yield File(place, _spill_fault(store, place))
        elif name.endswith(".parquet"):
            yield File(place, _part_fault(store, "records", place))
        elif not name.startswith("."):
            yield from _of_work(store, place)


def _part_fault(store: Store, table: str, place: str) -> Callable[[], str | None]:
    def fault() -> str | None:
        part_file.check(memoryview(store.read_bytes(place)))
        with store.opened(place) as part:
            owner = part_file.rows_of(part.schema)
        # Rows of these are no rows of the records.
        if table in ("records", INPUTS, REMOVED) or table.startswith(f"{ROBOTS}-") or place.endswith(f"/{LEARNED}"):
            return None
        shard = int(place.rpartition("/")[2].removesuffix(".parquet"))
        if owner != store.rows_digest(shard):
            return "belongs to other records"
        return None

    return fault


def _tar_fault(store: Store, table: str, name: str) -> Callable[[], str | None]:
    def fault() -> str | None:
        shard = int(name[:-4].partition("-")[0])
        with store.opened(store.part(table, shard)) as part:
            digests = json.loads((part.schema.metadata or {}).get(TARS, b"{}"))
        if name not in digests:
            return f"is not of {shard_name(shard)}.parquet"
        digest = xxhash.xxh3_128()
        with store.reading(f"{table}/{name}") as file:
            for block in iter(lambda: file.read(_BLOCK_BYTES), b""):
                digest.update(block)
        return None if digest.hexdigest() == digests[name] else "differs"

    return fault


def _spill_fault(store: Store, place: str) -> Callable[[], str | None]:
    def fault() -> str | None:
        data = store.read_bytes(place)
        first = int.from_bytes(data[:8], "little")
        if first % ENTRY_BYTES or not 0 < first <= len(data):
            return "differs: its entries"
        entries = np.frombuffer(data[:first], "<u8").reshape(-1, 5)
        at = first
        for start, end, _, checksum, own in entries.tolist():
            entry = np.array([start, end, _, checksum], "<u8").tobytes()
            if start != at or xxhash.xxh3_64_intdigest(entry) != own:
                return "differs: its entries"
            if xxhash.xxh3_64_intdigest(data[start:end]) != checksum:
                return "differs: a part"
            at = end
        return None if at == len(data) else "differs: its end"

    return fault


def _words_fault(store: Store, place: str) -> Callable[[], str | None]:
    """A certificate in words: the same as JSON lies beside it, and knows its hash."""
    about = f"{place.removesuffix('.txt')}.json"
    return lambda: None if file_digest(store, place) == store.read_json(about)["text_sha256"] else "differs"


def _keys_fault(store: Store, place: str) -> Callable[[], str | None]:
    """A file of keys ends with the xxh3 of all before."""

    def fault() -> str | None:
        digest, last = xxhash.xxh3_128(), b""
        with store.reading(place) as file:
            while block := file.read(_BLOCK_BYTES):
                data = last + block
                digest.update(data[:-16])
                last = data[-16:]
        return None if digest.digest() == last else "differs"

    return fault


def _json_check(folder: Folder, place: str) -> Callable[[], str | None]:
    return lambda: _json_fault(folder, place)


def _json_fault(folder: Folder, name: str) -> str | None:
    """To the byte: blanks between the values, too."""
    return None if json_file(folder.read_json(name)) == folder.read_bytes(name) else "differs"


#: What a report ends with: the digest of all before it.
REPORT_END = re.compile(rb"<!-- ([0-9a-f]{32}) -->\n$")


def signed(page: str) -> bytes:
    """A page with its digest as a last line."""
    data = page.rstrip("\n").encode() + b"\n"
    return data + f"<!-- {xxhash.xxh3_128_hexdigest(data)} -->\n".encode()


def is_signed(page: bytes) -> bool:
    """Whether a page is as `signed` made it."""
    end = REPORT_END.search(page)
    return end is not None and xxhash.xxh3_128_hexdigest(page[: end.start()]) == end.group(1).decode()


def _report_fault(store: Store) -> str | None:
    return None if is_signed(store.read_bytes("report.html")) else "differs"
