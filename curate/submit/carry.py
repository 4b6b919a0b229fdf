"""What a job takes along to its cluster: the modules of a user's ops and the local files that a pipeline names."""

from __future__ import annotations

import ast
import glob
import importlib.util
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from curate.errors import CurateError, Findings
from curate.filter.rule import read_yaml
from curate.library.user_code import is_users
from curate.op import Op

#: Ray holds what a job takes along in the memory of the head node.
MOST_BYTES = 100_000_000

#: Folders and endings that no job needs.
_LEFT_OUT = {"__pycache__", ".git", ".venv", ".mypy_cache", ".pytest_cache", ".ruff_cache", ".ipynb_checkpoints"}


def carried(steps: Any, ops: Iterable[Op]) -> dict[str, Path]:
    """Files by the relative path that they have in the folder of the job.

    steps: the pipeline's YAML, variables filled in. A file that it names by a relative path is found at the same path
    by the job; absolute paths and URLs are left to the cluster.

    Raises:
        CurateError: for a path that leads out of the folder that the command runs in, or when it is too much.
    """
    files: dict[str, Path] = {}
    faults = []
    for name in dict.fromkeys(_local_names(steps)):
        if ".." in Path(os.path.normpath(name)).parts:
            faults.append(
                f"'{name}' lies outside of the folder that the command runs in: a job takes along what is in it"
            )
            continue
        for file in _files_of(Path(name)):
            files[os.path.normpath(file)] = file
    if faults:
        raise Findings(faults)
    files.update(_modules(ops))
    _check_size(files)
    return files


def copy(files: Mapping[str, Path], folder: Path) -> None:
    """The files at their relative paths below a folder."""
    for name, source in files.items():
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, target)


def _texts(node: Any) -> Iterator[str]:
    if isinstance(node, str):
        yield node
    elif isinstance(node, Mapping):
        for key, value in node.items():
            yield from _texts(key)
            yield from _texts(value)
    elif isinstance(node, list):
        for value in node:
            yield from _texts(value)


def _local_names(node: Any) -> Iterator[str]:
    """Texts that are relative paths of what is there; those in the filters' files too."""
    for text in _texts(node):
        for name in _candidates(text):
            if any(mark in name for mark in "*?["):
                yield from glob.glob(name, recursive=True)
            elif os.path.exists(name):
                yield name
                if name.endswith((".yaml", ".yml")) and os.path.isfile(name):
                    yield from _local_names(read_yaml(Path(name)))


def _candidates(text: str) -> list[str]:
    """The paths that a text may mean: itself, a model's folder or checkpoint, the archive behind a member of it."""
    if len(text) > 1000 or "\n" in text:
        return []
    last = text.rpartition("::")[2]
    names = [last, last.removeprefix("local-dir:"), last.removeprefix("file://")]
    if not os.path.exists(last):
        # architecture/checkpoint
        names.append(last.partition("/")[2])
    return [n for n in dict.fromkeys(names) if n and n != "." and "://" not in n and not n.startswith(("/", "~"))]


def _files_of(path: Path) -> Iterator[Path]:
    if path.is_file():
        yield path
        return
    for folder, folders, names in os.walk(path):
        folders[:] = sorted(name for name in folders if name not in _LEFT_OUT)
        yield from (Path(folder, name) for name in sorted(names) if not name.endswith(".pyc"))


def _modules(ops: Iterable[Op]) -> dict[str, Path]:
    """Top-level modules and packages of the ops, and those of the user that they import, importable from the folder."""
    files: dict[str, Path] = {}
    todo = [type(op).__module__.partition(".")[0] for op in ops]
    seen: set[str] = set()
    while todo:
        name = todo.pop()
        if name in seen:
            continue
        seen.add(name)
        for target, file in _module_files(name):
            files[target] = file
            if file.suffix == ".py":
                todo += _imports(file)
    return files


def _module_files(name: str) -> Iterator[tuple[str, Path]]:
    """(path in the job's folder, file) of a user's module or package; nothing for what is installed."""
    try:
        spec = importlib.util.find_spec(name)
    except (ImportError, ValueError):
        return
    if spec is None:
        return
    for place in spec.submodule_search_locations or ():
        if any(is_users(file) for file in Path(place).glob("**/*.py")):
            for file in _files_of(Path(place)):
                yield str(Path(name) / file.relative_to(place)), file
    if not spec.submodule_search_locations and spec.origin and is_users(spec.origin):
        yield Path(spec.origin).name, Path(spec.origin)


def _imports(file: Path) -> list[str]:
    try:
        tree = ast.parse(file.read_text(encoding="utf-8"))
    except (SyntaxError, UnicodeDecodeError):
        return []
    names = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names += [alias.name.partition(".")[0] for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names.append(node.module.partition(".")[0])
    return names


def _check_size(files: Mapping[str, Path]) -> None:
    sizes = {name: file.stat().st_size for name, file in files.items()}
    total = sum(sizes.values())
    if total > MOST_BYTES:
        largest = sorted(sizes, key=lambda name: -sizes[name])[:3]
        listed = ", ".join(f"{name} ({sizes[name] / 1e6:,.0f} MB)" for name in largest)
        raise CurateError(
            f"the job would take along {total / 1e6:,.0f} MB of local files, at most {MOST_BYTES // 10**6} MB fit: "
            f"{listed}. Copy them to storage that every node sees, and name them by a URL or an absolute path"
        )
