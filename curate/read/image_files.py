"""Folders of image files: which files are images or captions beside them, and how a folder that changed is told."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Any

import fsspec

from curate.pictures.image_kind import EXTENSIONS
from curate.read.input_files import mark

#: Endings of files that may lie beside an image of the same name; the caption is the first one's.
CAPTION = ".txt"
_BESIDE = (CAPTION, ".json")


def is_image(file: str) -> bool:
    """
    >>> is_image("a/b.JPG"), is_image("a/jpg"), is_image("a/.jpg")
    (True, False, False)
    """
    name = file.rpartition("/")[2]
    stem, dot, ending = name.rpartition(".")
    return bool(stem and dot) and ending.lower() in EXTENSIONS


def without_ending(file: str) -> str:
    folder, slash, name = file.rpartition("/")
    return folder + slash + name.rpartition(".")[0]


def folders(files: Iterable[str]) -> tuple[list[str], set[str]]:
    """Folders that hold images, and the files that go with these: the images and what is named as one of them."""
    listed = list(files)
    images = {file for file in listed if is_image(file)}
    stems = set(map(without_ending, images))
    beside = {file for file in listed if file.lower().endswith(_BESIDE) and without_ending(file) in stems}
    return sorted({file.rpartition("/")[0] for file in images}), images | beside


def images(folder: str) -> tuple[tuple[str, bool], ...]:
    """Names of the images in a folder, in their order, each with whether a caption lies beside it."""
    names = {entry["name"].rpartition("/")[2] for entry in _entries(folder)}
    captioned = {without_ending(name) for name in names if name.endswith(CAPTION)}
    return tuple((name, without_ending(name) in captioned) for name in sorted(filter(is_image, names)))


def about(folder: str) -> dict[str, Any]:
    """Bytes of a folder's files, and a mark that changes when one of them does."""
    entries = _entries(folder)
    return {"size": sum(int(entry.get("size") or 0) for entry in entries), "ETag": content(folder)}


def content(folder: str) -> str:
    """Hash of what a file system says of a folder's files: names, sizes, and when each was changed."""
    known = [(entry["name"].rpartition("/")[2], entry.get("size"), mark(entry)) for entry in _entries(folder)]
    return hashlib.sha256(repr(sorted(known)).encode()).hexdigest()[:16]


def _entries(folder: str) -> list[dict[str, Any]]:
    fs, path = fsspec.core.url_to_fs(folder)
    entries = fs.ls(path, detail=True)
    return [entry for entry in entries if entry["type"] == "file" and _is_seen(entry["name"].rpartition("/")[2])]


def _is_seen(name: str) -> bool:
    return not name.startswith((".", "_")) and (is_image(name) or name.lower().endswith(_BESIDE))
