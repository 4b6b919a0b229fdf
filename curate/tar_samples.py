"""Samples of a tar: consecutive members that share a key, with the place of the image and whatever is damaged."""

from __future__ import annotations

import hashlib
import io
import tarfile
from collections.abc import Iterator
from typing import Any, BinaryIO

import fsspec
from PIL import Image

from curate import json_rows
from curate.inputs import MALFORMED

#: Member extensions, in the order in which the first one present is the sample's image or caption.
IMAGE_EXTENSIONS = ("jpg", "jpeg", "png", "webp", "gif", "bmp", "tif", "tiff")
TEXT_EXTENSIONS = ("txt", "text", "caption", "cap")

Members = dict[str, tarfile.TarInfo]


def _members(handle: BinaryIO) -> Iterator[tarfile.TarInfo | str]:
    """Files of a tar, and what is wrong with it after the last one that can be read."""
    try:
        with tarfile.open(fileobj=handle, mode="r:") as tar:
            yield from (member for member in tar if member.isfile())
            end = tar.offset
    except (tarfile.TarError, ValueError) as error:
        yield f"the tar ends here: {error}"
        return
    # tarfile takes a damaged header for the end.
    handle.seek(end)
    if handle.read(tarfile.BLOCKSIZE).strip(b"\0"):
        yield f"the tar ends here: damaged at byte {end}"


def groups(handle: BinaryIO) -> Iterator[tuple[str | None, Members, str | None]]:
    """Key, members by extension, and damage of each sample: members in a row that share a key.

    webdataset's rules: the key ends at the first dot of the file name; files without key or extension are no samples.
    """
    key: str | None = None
    members: Members = {}
    damage: str | None = None
    for member in _members(handle):
        if isinstance(member, str):
            damage = member
            break
        name = member.name.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
        folder, slash, base = name.rpartition("/")
        stem, _, extension = base.partition(".")
        if not stem or not extension:
            continue
        if members and (key != folder + slash + stem or extension.lower() in members):
            yield key, members, None
            members = {}
        key = folder + slash + stem
        members[extension.lower()] = member
    if members or damage:
        yield key, members, damage


def samples(file: str) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    """Each sample's row (json fields, captions, key) and its image (status, place in the tar, sizes, sha256)."""
    with fsspec.open(file, "rb") as handle:
        for key, members, damage in groups(handle):
            row = json_rows.parse(_bytes(handle, members["json"])) if "json" in members else {}
            captions = [extension for extension in TEXT_EXTENSIONS if extension in members]
            # A second caption keeps its extension for a name.
            for name, extension in zip(["text", *captions[1:]], captions, strict=False):
                data = _bytes(handle, members[extension])
                row[name] = data.decode("utf-8", "replace") if len(data) == members[extension].size else None
            if damage:
                row[MALFORMED] = damage
            image: dict[str, Any] = {"status": "no_image"}
            extension = next((e for e in IMAGE_EXTENSIONS if e in members), "")
            if extension:
                place = {"key": key, "tar": file, "extension": extension}
                image = place | _image(_bytes(handle, members[extension]), members[extension], row)
            yield row | {"key": key}, image


def _bytes(handle: BinaryIO, member: tarfile.TarInfo) -> bytes:
    handle.seek(member.offset_data)
    return handle.read(member.size)


def _image(data: bytes, member: tarfile.TarInfo, row: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {"status": "success", "offset": member.offset_data, "size": member.size}
    if len(data) < member.size:
        return found | {"status": "truncated"}
    try:
        with Image.open(io.BytesIO(data)) as opened:
            found["width"], found["height"] = opened.size
            found["format"] = (opened.format or "").lower()
    except Exception as error:  # noqa: BLE001 - any damage is a status of this row
        found |= {"status": "not_an_image", "error_message": str(error)[:200]}
    found["original_bytes"] = member.size
    # The size before img2dataset's resize, when its json tells; size rules are about the original.
    for name in ("original_width", "original_height"):
        known = row.get(name)
        found[name] = known if type(known) is int and 0 < known < 1 << 31 else found.get(name.removeprefix("original_"))
    known = row.get("sha256")
    found["sha256"] = known if isinstance(known, str) and len(known) == 64 else hashlib.sha256(data).hexdigest()
    return found
