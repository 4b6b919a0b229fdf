"""Names in `curate/` that say nothing: `python tools/plain_words.py [ROOM ...]`, counted per room, each with its place.

A name is what a function, a class, an argument, a keyword or an assignment, a loop, a `with`, an `except`, an import
or a field calls a thing. `left` beside `right` or `top` in one function is a side, and stays.
"""

from __future__ import annotations

import ast
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

PACKAGE = Path(__file__).parent.parent / "curate"

#: What happened to a thing is not its name.
EMPTY = frozenset({"found", "made", "left", "mine", "given", "told", "said", "have", "wanted", "there"})


def bound(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Line and name of all that a tree gives a name to; `_found` counts as `found`."""
    for node in ast.walk(tree):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            yield node.lineno, node.name
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.lineno, node.id
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            yield node.lineno, node.attr
        elif isinstance(node, ast.arg):
            yield node.lineno, node.arg
        elif isinstance(node, (ast.ExceptHandler, ast.MatchAs, ast.MatchStar)) and node.name:
            yield node.lineno, node.name
        elif isinstance(node, ast.alias) and node.asname:
            yield node.lineno, node.asname


def sides(tree: ast.AST) -> set[int]:
    """Lines of functions that have a right or a top beside their left."""
    lines: set[int] = set()
    for node in ast.walk(tree):
        if not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            continue
        if {"right", "top"} & {name.strip("_") for _, name in bound(node)}:
            lines.update(range(node.lineno, (node.end_lineno or node.lineno) + 1))
    return lines


def empty_names(source: str) -> list[tuple[int, str]]:
    """Line and name of each that says nothing, in the order of the lines."""
    tree = ast.parse(source)
    beside = sides(tree)
    names = [(line, name) for line, name in bound(tree) if name.strip("_") in EMPTY]
    return sorted((line, name) for line, name in names if not (name.strip("_") == "left" and line in beside))


def main(*chosen: str) -> int:
    """Print each place, then the counts per room; 1 where there are any."""
    counts: Counter[str] = Counter()
    for path in sorted(PACKAGE.rglob("*.py")):
        room = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
        if chosen and room not in chosen:
            continue
        for line, name in empty_names(path.read_text()):
            print(f"{path.relative_to(PACKAGE.parent)}:{line} {name}")
            counts[room] += 1
    for room, count in counts.most_common():
        print(f"{count:5} {room}")
    print(f"{counts.total():5} in all")
    return int(counts.total() > 0)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
