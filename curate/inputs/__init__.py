"""Input formats, one file each: a module has EXTENSIONS, `schema(file)`, `count(file)` and `read(file, start)`."""

from __future__ import annotations

import importlib
import pkgutil
from types import ModuleType

import fsspec

from curate.errors import CurateError, unknown


def formats() -> dict[str, ModuleType]:
    """Format name to its module."""
    return {m.name: importlib.import_module(f"{__name__}.{m.name}") for m in pkgutil.iter_modules(__path__)}


def format_of(file: str, known: dict[str, ModuleType]) -> str | None:
    """The format whose extension ends a file's name, longest extension first."""
    matches = [(len(e), name) for name, module in known.items() for e in module.EXTENSIONS if file.lower().endswith(e)]
    return max(matches)[1] if matches else None


def find(source: str, format_name: str = "auto") -> tuple[str, list[str]]:
    """The format and the files, sorted by name, of a file, folder or glob on any fsspec file system.

    A folder of img2dataset's is read by its tars: their parquet holds nothing that their json members lack.

    Raises:
        CurateError: when nothing is there, the format is unknown, or a folder mixes formats.
    """
    known = formats()
    if format_name != "auto" and format_name not in known:
        raise unknown("input format", format_name, known)
    try:
        fs, path = fsspec.core.url_to_fs(source)
        if fs.isdir(path):
            found = [f for f in fs.find(path) if not any(p.startswith((".", "_")) for p in f[len(path) :].split("/"))]
        elif any(c in path for c in "*?["):
            found = list(fs.glob(path))
        else:
            found = [path] if fs.exists(path) else []
    except (ValueError, ImportError, PermissionError) as error:
        raise CurateError(f"cannot open input '{source}': {error}") from error
    if not found:
        raise CurateError(f"no input at '{source}'")
    kinds: dict[str, list[str]] = {}
    for file in sorted(found):
        kind = format_of(file, known)
        if kind:
            kinds.setdefault(kind, []).append(fs.unstrip_protocol(file) if "://" in source else file)
    if "webdataset" in kinds:
        kinds = {"webdataset": kinds["webdataset"]}
    if format_name != "auto":
        if len(found) == 1:
            return format_name, [fs.unstrip_protocol(found[0]) if "://" in source else found[0]]
        kinds = {k: v for k, v in kinds.items() if k == format_name}
    if len(kinds) != 1:
        extensions = ", ".join(e for module in known.values() for e in module.EXTENSIONS)
        what = f"a mix of {', '.join(kinds)}" if kinds else "no file of a known kind"
        raise CurateError(f"input '{source}' holds {what}; known: {extensions}. Name one format, or a glob")
    return next(iter(kinds.items()))
