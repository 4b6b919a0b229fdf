"""The source code that a user's op is made of: an edited op is another op, and its old table is not taken for it."""

from __future__ import annotations

import ast
import hashlib
import sys
from collections.abc import Iterator, Sequence
from functools import lru_cache
from importlib.machinery import PathFinder
from pathlib import Path
from types import ModuleType
from typing import Any

from curate.errors import CurateError
from curate.library.user_code import is_users


def code_of(cls: type) -> str:
    """12 hex digits of the source of a class's module and of every module of the user that it leads to.

    Comments, docstrings and layout do not count. The op's own module counts wherever it lies; modules that it imports
    count when they are of the same top-level package, or not installed.

    Raises:
        CurateError: for a class of no file, as a notebook or `python -c` defines one: an edited op would pass for the
            one before. For a file that was edited since it was imported: what would run is not what it says.
    """
    if _file(cls.__module__) is None:
        raise CurateError(
            f"{cls.__qualname__} is defined in no file, so that nobody can tell when its code has changed: write it "
            f"into a module, my_ops.py, and name it 'my_ops:{cls.__qualname__}' (`apply` tries it without)"
        )
    _check_is_the_modules(cls)
    digest = hashlib.sha256()
    for name, file in sorted(_modules(cls)):
        stat = Path(file).stat()
        meaning = _meaning(file, stat.st_size, stat.st_mtime_ns)
        if _loaded(name, meaning) != meaning:
            raise CurateError(
                f"{Path(file).name} has changed since it was imported, and the old code would run: "
                f"start again, or `importlib.reload({name})`"
            )
        digest.update(f"{name} {meaning}\n".encode())
    return digest.hexdigest()[:12]


def remember(module: str) -> None:
    """Note what a user's module says while it is imported, so that a later edit is seen."""
    file = None if module.partition(".")[0] == "curate" else _file(module)
    if module in sys.modules and file and file.endswith(".py") and is_users(file):
        stat = Path(file).stat()
        _loaded(module, _meaning(file, stat.st_size, stat.st_mtime_ns))


#: By module: the spec that it was loaded with, which each import and reload makes anew, and what its file said then.
_seen: dict[str, tuple[Any, str]] = {}


def _loaded(name: str, meaning: str) -> str:
    """What a module's file said when it was loaded; what it says now, where nobody has looked before."""
    if name not in sys.modules:
        return meaning
    spec = getattr(sys.modules[name], "__spec__", None)
    if name not in _seen or _seen[name][0] is not spec:
        _seen[name] = (spec, meaning)
    return _seen[name][1]


def _check_is_the_modules(cls: type) -> None:
    """
    Raises:
        CurateError: for a class whose module was loaded again since, and has another of its name.
    """
    current = getattr(sys.modules.get(cls.__module__), cls.__qualname__, cls)
    if isinstance(current, type) and current is not cls:
        raise CurateError(
            f"{cls.__qualname__} is of {cls.__module__} as it was before it was loaded again: "
            f"take it anew, from {cls.__module__} import {cls.__qualname__}"
        )


def _modules(cls: type) -> Iterator[tuple[str, str]]:
    package = cls.__module__.partition(".")[0]
    seen: set[str] = set()
    todo = [name for name in (c.__module__ for c in cls.__mro__) if _counts(name, package)]
    todo.append(cls.__module__)
    while todo:
        name = todo.pop()
        file = _file(name)
        if name in seen or file is None:
            continue
        seen.add(name)
        if file.endswith(".py"):
            yield name, file
            stat = Path(file).stat()
            imported = _imported(file, name, stat.st_size, stat.st_mtime_ns)
            todo += [other for other in imported if _counts(other, package)]
        for value in list(vars(sys.modules[name]).values()) if name in sys.modules else ():
            other = value.__name__ if isinstance(value, ModuleType) else getattr(value, "__module__", None)
            if isinstance(other, str) and _counts(other, package):
                todo.append(other)


def _counts(name: str, package: str) -> bool:
    top = name.partition(".")[0]
    file = None if top == "curate" else _file(name)
    return file is not None and (top == package or is_users(file))


def _file(name: str) -> str | None:
    """The file of a module, without importing it: a function may import it later, and it counts before, too."""
    if name in sys.modules:
        return getattr(sys.modules[name], "__file__", None)
    parts = name.split(".")
    path: Sequence[str] | None = None
    spec = None
    for end in range(1, len(parts) + 1):
        spec = PathFinder.find_spec(".".join(parts[:end]), path)
        path = spec.submodule_search_locations if spec else None
        if spec is None or (path is None and end < len(parts)):
            return None
    return spec.origin if spec and spec.has_location else None


@lru_cache(maxsize=1024)
def _imported(file: str, module: str, size: int, changed_ns: int) -> frozenset[str]:
    """What the import statements of a file may name: `from a import b` is `a`, and the module `a.b` if there is one.

    A constant that is imported does not know its module, so the statements are read.
    """
    try:
        tree = ast.parse(Path(file).read_text(encoding="utf-8"))
    except SyntaxError:
        return frozenset()
    above = module.split(".") if Path(file).name == "__init__.py" else module.split(".")[:-1]
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            start = above[: len(above) - node.level + 1] if node.level else []
            source = ".".join([*start, *([node.module] if node.module else [])])
            names.update([source, *(f"{source}.{alias.name}" for alias in node.names)])
    return frozenset(names - {""})


@lru_cache(maxsize=1024)
def _meaning(file: str, size: int, changed_ns: int) -> str:
    """The code without comments, docstrings and layout; kept under the file's size and time."""
    text = Path(file).read_text(encoding="utf-8")
    try:
        tree = ast.parse(text)
    except SyntaxError:
        return text
    for node in ast.walk(tree):
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
            first = node.body[0] if node.body else None
            if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant):
                node.body = [*node.body[1:]] or [ast.Pass()]
    return ast.unparse(tree)
