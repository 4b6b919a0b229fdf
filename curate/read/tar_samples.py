"""Rows of a tar: each sample's fields, caption, and the place of its image and of its other files."""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import tempfile
from collections.abc import Iterator
from typing import Any, BinaryIO, cast

import fsspec
from PIL import UnidentifiedImageError

from curate.pictures import image_kind
from curate.pictures.picture_file import TooCostly, picture_size
from curate.read import json_rows
from curate.read.inputs import CODECS, opened
from curate.read.tar_groups import TEXT_EXTENSIONS, Sample, groups, last
from curate.read.tar_members import Member, data
from curate.record import MALFORMED, TEXT_NAMES
from curate.store.part_file import hashed

BY_CONTENT = "images told by their bytes, since their names do not say what they are"
NOT_UTF8 = "captions with bytes that are no UTF-8, replaced"
BAD_JSON = "samples whose json is no object of fields"
DAMAGED = "samples that damage of their tar hit"
SEVERAL = "samples with several images: the first is the pair's, the others go along as files"
#: Names under which a member holds the url of its image.
_URLS = ("url", "url.txt")
#: Names of members that are told by their names: no image hides in them.
_NO_IMAGES = frozenset(
    {"cls", "npy", "npz", "pth", "pt", "pkl", "pyd", "json", "jsonl", "html", "xml", "csv", "mp3", "mp4"}
)
_BOM = b"\xef\xbb\xbf"


@contextlib.contextmanager
def seekable(file: str) -> Iterator[BinaryIO]:
    """The bytes of a tar; those of a compressed one lie on the disk meanwhile."""
    if not _packed(file):
        with fsspec.open(file, "rb") as handle:
            yield cast(BinaryIO, handle)
        return
    with tempfile.TemporaryFile() as plain, _unpacked(file) as packed:
        try:
            while chunk := packed.read(1 << 20):
                plain.write(chunk)
        except Exception:  # noqa: BLE001 - codecs have error classes of their own
            # Damaged or cut off: what came out so far is a tar that is cut.
            pass
        plain.seek(0)
        yield cast(BinaryIO, plain)


def _packed(file: str) -> bool:
    return file.lower().endswith((*CODECS, ".tgz"))


@contextlib.contextmanager
def _unpacked(file: str) -> Iterator[BinaryIO]:
    if file.lower().endswith(".tgz"):
        with fsspec.open(file, "rb") as handle, gzip.open(handle) as plain:
            yield cast(BinaryIO, plain)
    else:
        with opened(file) as plain:
            yield plain


def count(file: str) -> int:
    with seekable(file) as handle:
        return len(groups(handle))


def samples(file: str, start: int = 0, fields_only: bool = False) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    """Each sample's row (json fields, caption, key) and its image, from sample `start` on.

    The image is what `image_columns` names. `bytes` holds an image that the tar does not hold in one piece, or not
    uncompressed: reading stores it. `remark` lists what was done with the sample.

    fields_only: leave the images alone.
    """
    packed = _packed(file)
    with seekable(file) as handle:
        listed = groups(handle)
        captioned = any(_texts(sample) for sample in listed)
        for sample in listed[start:]:
            remarks = list(sample.remarks)
            row = _fields(handle, sample, captioned, remarks)
            image: dict[str, Any] = {"status": "no_image"}
            if not fields_only:
                image = _image_of(handle, sample, row, file, packed, remarks)
            label = sample.key if sample.key is not None else sample.damage[0]
            image["sample"] = label + (f"#{sample.number}" if sample.number else "")
            yield row | {"key": sample.key}, image | {"remark": remarks or None}


def _texts(sample: Sample) -> list[str]:
    """Extensions of a sample's captions, the pair's first."""
    plain = [extension for extension in TEXT_EXTENSIONS if extension in sample.members]
    dotted = [e for e in sample.members if "." in e and last(e) in TEXT_EXTENSIONS and e not in _URLS]
    return plain or dotted[:1]


def _fields(handle: BinaryIO, sample: Sample, captioned: bool, remarks: list[str]) -> dict[str, Any]:
    """Columns of a sample: those of its json, its captions, and its damage."""
    row: dict[str, Any] = {}
    if "json" in sample.members:
        row = _json(data(handle, sample.members["json"]))
    if row.get("key", sample.key) != sample.key:
        row["json_key"] = row.pop("key")
    texts = _texts(sample)
    # A second caption keeps its extension for a name.
    for name, extension in zip(["text", *texts[1:]], texts, strict=False):
        raw = data(handle, sample.members[extension])
        text = raw.removeprefix(_BOM).decode("utf-8", "replace")
        if "\ufffd" in text and "\ufffd".encode() not in raw:
            remarks.append(NOT_UTF8)
        if row.get(name, text) != text:
            row[f"json_{name}"] = row[name]
        row[name] = text if len(raw) == sample.members[extension].size else None
    if captioned and not texts:
        # Elsewhere in this tar captions are files, so that is the column that is read.
        written = next((row[n] for n in TEXT_NAMES if row.get(n)), None)
        if written is not None:
            row.setdefault("text", written)
    for extension in _URLS:
        if extension in sample.members and "url" not in row:
            row["url"] = data(handle, sample.members[extension]).decode("utf-8", "replace").strip()
    if MALFORMED in row:
        remarks.append(BAD_JSON)
    if sample.damage:
        row[MALFORMED] = "; ".join(sample.damage)
        remarks.append(DAMAGED)
    return row


def _json(raw: bytes) -> dict[str, Any]:
    """Fields of a json member; a bare text, or list of texts, is the caption."""
    row = json_rows.parse(raw.removeprefix(_BOM))
    if MALFORMED in row and len(row) == 1:
        bare = json_rows.parse(b'{"caption": ' + raw + b"}")
        value = bare.get("caption")
        if isinstance(value, str) or (isinstance(value, list) and value and all(isinstance(v, str) for v in value)):
            return bare
    return row


def _image_of(
    handle: BinaryIO, sample: Sample, row: dict[str, Any], file: str, packed: bool, remarks: list[str]
) -> dict[str, Any]:
    """The sample's image and the files that go along with it."""
    extension = _image_name(handle, sample, remarks)
    spoken_for = {extension, "json", *_texts(sample)}
    others = {e: m for e, m in sample.members.items() if e not in spoken_for}
    if any(last(e) in image_kind.EXTENSIONS for e in others):
        remarks.append(SEVERAL)
    image: dict[str, Any] = {"status": "no_image", "members": _members(handle, others, file, packed)}
    if not extension:
        return image
    member = sample.members[extension]
    body = data(handle, member)
    kind = image_kind.extension(extension, body[: image_kind.HEAD])
    image |= {"key": sample.key, "tar": file, "extension": kind} | _image(body, member, row)
    if (packed or member.parts) and image["status"] == "success":
        image |= {"bytes": body, "tar": None, "offset": None}
    return image


def _image_name(handle: BinaryIO, sample: Sample, remarks: list[str]) -> str:
    """The extension of a sample's image: by the known names, else by the first bytes of its files; "" without one."""
    members = sample.members
    name = next((e for e in image_kind.EXTENSIONS if e in members), "")
    name = name or next((e for e in members if last(e) in image_kind.EXTENSIONS), "")
    if name:
        return name
    for extension, member in members.items():
        if last(extension) in _NO_IMAGES or extension in (*_texts(sample), *_URLS) or member.parts:
            continue
        handle.seek(member.offset)
        if image_kind.kind(handle.read(min(image_kind.HEAD, member.size))):
            remarks.append(BY_CONTENT)
            return extension
    return ""


def _members(handle: BinaryIO, others: dict[str, Member], file: str, packed: bool) -> list[dict[str, Any]] | None:
    """Files that go along: by their place, or with their bytes where the tar cannot be entered."""
    places: list[dict[str, Any]] = []
    for name, member in sorted(others.items()):
        body = data(handle, member)
        place: dict[str, Any] = {"name": name, "size": member.size, "checksum": hashed(body)}
        if packed or member.parts:
            place["bytes"] = body
        else:
            place |= {"tar": file, "offset": member.offset}
        places.append(place)
    return places or None


def _image(body: bytes, member: Member, row: dict[str, Any]) -> dict[str, Any]:
    image: dict[str, Any] = {"status": "success", "offset": member.offset, "size": member.size}
    if len(body) < member.size:
        return image | {"status": "truncated"}
    return image | facts(body, row)


def facts(body: bytes, row: dict[str, Any]) -> dict[str, Any]:
    """Sizes, format and sha256 of an image file.

    row: fields that came with it; img2dataset's tell the size and hash before its resize, and size rules are about the
        original, as a viewer shows it: upright.
    """
    about: dict[str, Any] = {}
    upright: tuple[int | None, int | None] = (None, None)
    try:
        size = picture_size(body)
        about |= {"width": size.width, "height": size.height, "format": size.format}
        upright = size.upright
    except TooCostly as problem:
        about |= {"status": problem.status, "error_message": str(problem)}
    except Exception as error:  # noqa: BLE001 - any damage is a status of this row
        # Pillow's own words hold an address in memory, which no table may.
        kind = image_kind.kind(body[: image_kind.HEAD]) or "this"
        unread = isinstance(error, UnidentifiedImageError)
        message = f"{kind} is no image format that is read here" if unread else str(error)
        about |= {"status": "not_an_image", "error_message": message[:200]}
    about |= {"original_bytes": len(body), "checksum": hashed(body)}
    for name, own in zip(("original_width", "original_height"), upright, strict=True):
        known = row.get(name)
        about[name] = known if type(known) is int and 0 < known < 1 << 31 else own
    known = row.get("sha256")
    about["sha256"] = known if isinstance(known, str) and len(known) == 64 else hashlib.sha256(body).hexdigest()
    return about
