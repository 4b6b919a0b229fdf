"""Where the files of an input are: a file, folder, glob, braces or a list, on any fsspec file system."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from types import ModuleType

import fsspec

from curate.errors import CurateError, unknown
from curate.read import image_files
from curate.read.inputs import format_of, formats
from curate.read.paths_file import listed_in

#: The format of folders that hold nothing but images.
FOLDERS = "imagefolder"


@dataclass(frozen=True)
class Found:
    """Files of an input, sorted by place.

    names: their paths below the folder that holds all of them.
    ignored: endings of files that lie beside them and are not read, with their number.
    """

    format: str
    files: list[str]
    names: list[str]
    ignored: dict[str, int]


def look(source: str | Sequence[str], format_name: str = "auto") -> Found:
    """The files of an input: a file, folder or glob on any fsspec file system, or a list of such.

    {000..999}, {a,b} and `a.tar::b.tar` stand for several, and a `.paths.gz` for the files that it lists. A folder of
    img2dataset's is read by its tars, each with the parquet beside it. Names that begin with `.` or `_` are left out;
    `.json` and `.txt` files are, too, where there is data of another kind: they describe it.

    Raises:
        CurateError: when nothing is there, the format is unknown, or there are several formats.
    """
    known = formats()
    if format_name != "auto" and format_name not in known:
        raise unknown("input format", format_name, known)
    listed = [source] if isinstance(source, str) else source
    expansions = [place for one in listed for part in parted(one, known) for place in expanded(part)]
    places = [file for place in expansions for file in listed_in(place)]
    what = source if isinstance(source, str) else ", ".join(source)
    roots: dict[str, str] = {}
    for place, files in zip(places, _listed(places), strict=True):
        if not files:
            raise CurateError(f"no input at '{place}'")
        roots |= {file: _root(place, files) for file in files}
    files = sorted(roots)
    kinds: dict[str, list[str]] = {}
    for file in files:
        if kind := format_of(file, known):
            kinds.setdefault(kind, []).append(file)
    folders = _image_folders(files, places) if format_name in ("auto", FOLDERS) else []
    if folders:
        chosen, data = FOLDERS, folders
        roots |= {folder: root for folder in folders for file, root in roots.items() if file.startswith(folder + "/")}
    elif format_name != "auto":
        chosen, data = format_name, files if len(files) == len(places) else kinds.get(format_name, files)
    else:
        chosen, data = _chosen(kinds, what, known)
    root = _shared([roots[file] for file in data])
    names = [_path(file).removeprefix(root).lstrip("/") or "." for file in data]
    taken = image_files.folders(files)[1] if folders else set()
    others = [
        os.path.splitext(file)[1] or "without an ending"
        for file in files
        if format_of(file, known) is None and file not in taken
    ]
    return Found(chosen, data, names, dict(sorted(Counter(others).items())))


def _image_folders(files: list[str], places: list[str]) -> list[str]:
    """Folders of images, where the input is folders that hold no data of another kind."""
    if any(c in place for place in places for c in "*?[") or set(places) & set(files):
        return []
    folders, belonging = image_files.folders(files)
    known = formats()
    rest = [file for file in files if file not in belonging and format_of(file, known)]
    # Texts and JSON describe what lies beside them.
    return [] if any(not file.lower().endswith((".txt", ".json", ".md")) for file in rest) else folders


def find(source: str | Sequence[str], format_name: str = "auto") -> tuple[str, list[str]]:
    """The format and the files of an input; see `look`."""
    listing = look(source, format_name)
    return listing.format, listing.files


def _chosen(kinds: dict[str, list[str]], source: str, known: dict[str, ModuleType]) -> tuple[str, list[str]]:
    for kind, ending in (("jsonl", ".json"), ("csv", ".txt")):
        data = [file for file in kinds.get(kind, []) if not file.lower().endswith(ending)]
        if kind in kinds and (len(kinds) > 1 or data):
            kinds[kind] = data
    if "webdataset" in kinds:
        tars = {re.sub(r"\.(tar(\.\w+)?|tgz)\Z", "", file) for file in kinds["webdataset"]}
        kinds["parquet"] = [f for f in kinds.get("parquet", []) if f[: -len(".parquet")] not in tars]
    present = {kind: files for kind, files in kinds.items() if files}
    if len(present) != 1:
        extensions = ", ".join(e for module in known.values() for e in module.EXTENSIONS)
        what = f"a mix of {', '.join(present)}" if present else "no file of a known kind"
        raise CurateError(f"input '{source}' holds {what}; known: {extensions}. Name one format, or a glob")
    return next(iter(present.items()))


def parted(place: str, known: dict[str, ModuleType]) -> list[str]:
    """`a.tar::b.tar`, as webdataset and open_clip write several; fsspec's chains (`simplecache::s3://...`) are one."""
    parts = place.split("::")
    return parts if all(format_of(part, known) or part.endswith("}") for part in parts) else [place]


def expanded(place: str) -> list[str]:
    """Every path that braces stand for, in their order.

    >>> expanded("a/{08..10}.{tar,json}")
    ['a/08.tar', 'a/08.json', 'a/09.tar', 'a/09.json', 'a/10.tar', 'a/10.json']
    """
    match = re.search(r"\{(?:(\d+)\.\.(\d+)|([^{},]+(?:,[^{},]+)+))\}", place)
    if match is None:
        return [place]
    first, last, listed = match.groups()
    numbers = () if listed else range(int(first), int(last) + 1)
    parts = listed.split(",") if listed else [f"{number:0{len(first)}d}" for number in numbers]
    return [place[: match.start()] + part + rest for part in parts for rest in expanded(place[match.end() :])]


def _listed(places: list[str]) -> list[list[str]]:
    def files(place: str) -> list[str]:
        try:
            return _files(place)
        except Exception as error:
            # Object stores have error classes of their own.
            raise CurateError(f"cannot open input '{place}': {type(error).__name__}: {error}") from error

    if len(places) == 1:
        return [files(places[0])]
    with ThreadPoolExecutor(8) as pool:
        return list(pool.map(files, places))


def _path(file: str) -> str:
    return str(fsspec.core.url_to_fs(file)[1])


def _root(place: str, files: list[str]) -> str:
    """The folder below which files have their names: of a glob, the one above the first part with a wildcard."""
    path = _path(place).rstrip("/")
    if path in map(_path, files):
        return path.rpartition("/")[0]
    if any(c in path for c in "*?[") and not all(_path(file).startswith(path + "/") for file in files):
        return min((path.split(c)[0] for c in "*?["), key=len).rpartition("/")[0]
    return path


def _shared(folders: list[str]) -> str:
    """The folder that holds all of these."""
    parts = [folder.split("/") for folder in dict.fromkeys(folders)]
    depth = 0
    while all(len(p) > depth and p[depth] == parts[0][depth] for p in parts):
        depth += 1
    return "/".join(parts[0][:depth])


def _files(source: str) -> list[str]:
    fs, path = fsspec.core.url_to_fs(source)
    path = path.rstrip("/")
    fs.invalidate_cache()
    try:
        # Not isdir(): over HTTP, that is whether there are links in the file.
        paths = [path] if fs.info(path)["type"] == "file" else _under(fs, path)
    except FileNotFoundError:
        entries = fs.glob(path, detail=True).items() if any(c in path for c in "*?[") else ()
        paths = [f for p, about in entries for f in (_under(fs, p) if about["type"] == "directory" else [p])]
    return [fs.unstrip_protocol(f) if "://" in source else f for f in sorted(set(paths))]


def _under(fs: fsspec.AbstractFileSystem, folder: str) -> list[str]:
    inner = {file: file[len(folder) :].strip("/").split("/") for file in fs.find(folder)}
    return [file for file, parts in inner.items() if not any(p.startswith((".", "_")) for p in parts)]
