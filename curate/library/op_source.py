"""The source code that a user's op is made of: an edited op is another op, and its old table is not taken for it."""

from __future__ import annotations

import ast
import hashlib
import sys
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from types import ModuleType

from curate.library.user_code import is_users


def code_of(cls: type) -> str:
    """12 hex digits of the source of a class's module and of every module of the user that it leads to.

    Comments, docstrings and layout do not count. The op's own module counts wherever it lies; modules that it imports
    count when they are of the same top-level package, or not installed.
    """
    digest = hashlib.sha256()
    for name, file in sorted(_modules(cls)):
        stat = Path(file).stat()
        digest.update(f"{name} {_meaning(file, stat.st_size, stat.st_mtime_ns)}\n".encode())
    return digest.hexdigest()[:12]


def _modules(cls: type) -> Iterator[tuple[str, str]]:
    package = cls.__module__.partition(".")[0]
    own = [c.__module__ for c in cls.__mro__]
    seen: set[str] = set()
    todo = [name for name in own if _counts(sys.modules.get(name), package)]
    todo.append(cls.__module__)
    while todo:
        name = todo.pop()
        module = sys.modules.get(name)
        if name in seen or module is None:
            continue
        seen.add(name)
        file = getattr(module, "__file__", None)
        if file and file.endswith(".py"):
            yield name, file
        for value in list(vars(module).values()):
            other = value.__name__ if isinstance(value, ModuleType) else getattr(value, "__module__", None)
            if isinstance(other, str) and _counts(sys.modules.get(other), package):
                todo.append(other)


def _counts(module: ModuleType | None, package: str) -> bool:
    file = getattr(module, "__file__", None)
    if module is None or not file or module.__name__.partition(".")[0] == "curate":
        return False
    return module.__name__.partition(".")[0] == package or is_users(file)


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
