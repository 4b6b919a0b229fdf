"""Packages outside the base install: which are missing, and the one command that installs them."""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Collection, Iterable, Sequence
from functools import cache
from importlib import metadata

#: Packages whose module has another name.
_PACKAGES = {
    "cv2": "opencv-python-headless",
    "faiss": "faiss-cpu",
    "fasttext": "fasttext-predict",
    "lingua": "lingua-language-detector",
    "open_clip": "open-clip-torch",
    "PIL": "pillow",
    "yaml": "pyyaml",
}

#: Extras that hold others, or that are not for users; `demo` holds others too, but is the only one with some packages.
_NOT_NAMED = ("all", "clip", "dev")
_LAST = "demo"


def missing(modules: Iterable[str]) -> list[str]:
    """Those of the modules that are not installed; none is imported.

    >>> missing(["numpy", "no_such_module.part"])
    ['no_such_module']
    """
    return [name for name in dict.fromkeys(module.partition(".")[0] for module in modules) if not _installed(name)]


def lacking(what: str, modules: Collection[str], prefer: Sequence[str] = ()) -> str:
    """One line that says which packages `what` lacks and how they are installed; empty when all are there.

    prefer: extras that are named before others that bring the same package.

    >>> lacking("dedupe.odd", ["numpy", "no_such_module"])
    "dedupe.odd needs the package 'no_such_module': pip install no-such-module"
    """
    names = missing(modules)
    if not names:
        return ""
    quoted = [f"'{name}'" for name in names]
    listed = f"package {quoted[0]}" if len(names) == 1 else f"packages {', '.join(quoted[:-1])} and {quoted[-1]}"
    return f"{what} needs the {listed}: {install_hint(*names, prefer=prefer)}"


def install_hint(*modules: str, prefer: Sequence[str] = ()) -> str:
    """The command that installs the packages of modules: extras of curate where they bring them.

    >>> install_hint("s3fs")
    "pip install 'curate[s3]'"
    """
    packages = [_package(module) for module in modules]
    extras, alone = _extras_for(packages, prefer)
    words = [f"'curate[{','.join(extras)}]'"] if extras else []
    return " ".join(["pip install", *words, *alone])


def _extras_for(packages: list[str], prefer: Sequence[str]) -> tuple[list[str], list[str]]:
    """(few extras that bring the packages, packages that none brings)."""
    brought_by = {package: _extras().get(package, []) for package in packages}
    chosen: list[str] = []
    for package in sorted(packages, key=lambda package: len(brought_by[package])):
        extras = brought_by[package]
        if extras and not set(extras) & set(chosen):
            most = max(extras, key=lambda extra: sum(extra in others for others in brought_by.values()))
            chosen.append(next((extra for extra in prefer if extra in extras), most))
    return chosen, [package for package in packages if not brought_by[package]]


@cache
def _extras() -> dict[str, list[str]]:
    """The extras that name each package themselves."""
    try:
        requires = metadata.requires("curate") or []
    except metadata.PackageNotFoundError:
        requires = []
    extras: dict[str, list[str]] = {}
    for line in requires:
        name = re.match(r"[\w.-]+", line)
        extra = re.search(r"extra\s*==\s*['\"]([\w-]+)['\"]", line)
        if name and extra and extra[1] not in _NOT_NAMED:
            extras.setdefault(_plain(name[0]), []).append(extra[1])
    return {package: sorted(names, key=lambda name: name == _LAST) for package, names in extras.items()}


def _package(module: str) -> str:
    name = module.partition(".")[0]
    return _plain(_PACKAGES.get(name, name))


def _plain(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _installed(name: str) -> bool:
    try:
        spec = importlib.util.find_spec(name)
    except (ImportError, ValueError):
        return False
    # Without an origin it is any folder of this name, as Ray leaves one in /tmp.
    return spec is not None and (spec.origin is not None or _package(name) not in _extras())
