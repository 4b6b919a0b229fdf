"""What the source of a tree says without being run: rooms, floors, circles, arrows, lines, functions, words."""

from __future__ import annotations

import ast
import statistics
from collections.abc import Iterable, Mapping
from itertools import permutations
from pathlib import Path

Graph = dict[str, set[str]]

#: More rooms in one circle than this: their order is guessed, not tried.
ALL_ORDERS = 8


def layout_numbers(tree: Path) -> dict[str, object]:
    """Names of the numbers to the numbers."""
    package = tree / "curate"
    sources = {path: path.read_text() for path in sorted(package.rglob("*.py"))}
    files = file_imports(package, sources)
    rooms = room_imports(files)
    lengths = sorted(function_lengths(sources.values()))
    lines = {str(path.relative_to(tree)): source.count("\n") for path, source in sources.items()}
    largest = max(lines, key=lambda name: lines[name])
    return {
        "files at the top": sum(path.parent == package for path in sources),
        "rooms": len(rooms),
        "floors of imports": floors(rooms),
        "arrows between rooms": sum(map(len, rooms.values())),
        "circles of files": len(circles(files)),
        "circles of rooms": len(circles(rooms)),
        "arrows back up": sum(back_up(rooms, circle) for circle in circles(rooms)),
        "concepts in the glossary": concepts(tree / "docs" / "glossary.md"),
        "files": len(sources),
        "lines": sum(lines.values()),
        "function length: median, p90, max": f"{lengths[len(lengths) // 2]}, {lengths[len(lengths) * 9 // 10]}, "
        f"{lengths[-1]}",
        "file length: median, max": f"{statistics.median_low(lines.values())}, {lines[largest]} ({largest})",
    }


def file_imports(package: Path, sources: Mapping[Path, str]) -> Graph:
    """Module to the modules of the package that it imports, late imports too, those for types not."""
    names = {module_name(package, path): path for path in sources}
    return {name: imported(ast.parse(sources[path])) & names.keys() - {name, "curate"} for name, path in names.items()}


def module_name(package: Path, path: Path) -> str:
    parts = path.relative_to(package.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imported(tree: ast.AST) -> set[str]:
    """`from a import b` may name the module a.b, so both are listed."""
    modules: set[str] = set()
    todo = [tree]
    while todo:
        node = todo.pop()
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            todo += node.orelse
            continue
        if isinstance(node, ast.Import):
            modules |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            modules |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
        todo += ast.iter_child_nodes(node)
    return modules


def room_imports(files: Graph) -> Graph:
    """The same between what lies at the top of the package: folders, and files beside them."""
    rooms: Graph = {}
    for name, imports in files.items():
        if "." in name:
            others = {other.split(".")[1] for other in imports}
            rooms.setdefault(name.split(".")[1], set()).update(others - {name.split(".")[1]})
    return rooms


def reachable(graph: Graph, start: str) -> set[str]:
    """All that a node leads to; itself only where it lies on a circle."""
    reached: set[str] = set()
    todo = [start]
    while todo:
        new = graph[todo.pop()] - reached
        reached |= new
        todo += new
    return reached


def circles(graph: Graph) -> list[list[str]]:
    """Groups of two or more that lead to each other."""
    reached = {name: reachable(graph, name) for name in graph}
    groups = {frozenset({name} | {o for o in reached[name] if name in reached[o]}) for name in graph}
    return [sorted(group) for group in groups if len(group) > 1]


def floors(graph: Graph) -> int:
    """Rooms on the longest way down; those of a circle are one floor."""
    reached = {name: reachable(graph, name) for name in graph}
    below = {name: {o for o in graph[name] if name not in reached[o]} for name in graph}
    circle = {name: {name} | {o for o in reached[name] if name in reached[o]} for name in graph}
    heights: dict[str, int] = {}

    def height(name: str) -> int:
        if name not in heights:
            lower = set().union(*(below[member] for member in circle[name]))
            heights[name] = 1 + max((height(other) for other in lower), default=0)
        return heights[name]

    return max(height(name) for name in graph)


def back_up(graph: Graph, circle: list[str]) -> int:
    """Fewest arrows inside a circle that run back up, whichever way its rooms are ordered."""
    orders: Iterable[Iterable[str]] = permutations(circle)
    if len(circle) > ALL_ORDERS:
        orders = [sorted(circle, key=lambda name: len(reachable(graph, name)))]
    counts = []
    for order in orders:
        position = {name: number for number, name in enumerate(order)}
        counts.append(sum(position[o] < position[name] for name in circle for o in graph[name] & position.keys()))
    return min(counts)


def function_lengths(sources: Iterable[str]) -> list[int]:
    """Lines of each function, from `def` to its end."""
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef)
    nodes = [node for source in sources for node in ast.walk(ast.parse(source)) if isinstance(node, kinds)]
    return [(node.end_lineno or node.lineno) - node.lineno + 1 for node in nodes]


def concepts(glossary: Path) -> object:
    """Rows of its table."""
    if not glossary.exists():
        return "no glossary"
    rows = [line for line in glossary.read_text().splitlines() if line.startswith("| ")]
    return len(rows) - len([row for row in rows if row.startswith(("| ---", "| word"))])
