"""What the base install and each extra bring, in MB on disk and packages, as Markdown: `python tools/install_sizes.py`.

Counted over the packages that are installed here, where `curate[all]` should be: each extra with all it requires,
beside the base. Files are counted in full blocks of 4 KiB, as `du` does, compiled bytecode included.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from functools import cache
from importlib import metadata
from importlib.metadata import Distribution, PackageNotFoundError

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

BLOCK = 4096


def brought(*names: str, extras: frozenset[str] = frozenset()) -> dict[str, Distribution]:
    """Packages and all that they require, by name; packages that are not installed are left out."""
    packages: dict[str, Distribution] = {}
    todo, seen = [(canonicalize_name(name), extras) for name in names], set()
    while todo:
        package = todo.pop()
        if package in seen:
            continue
        seen.add(package)
        try:
            packages[package[0]] = metadata.distribution(package[0])
        except PackageNotFoundError:
            print(f"not installed here: {package[0]}")
            continue
        todo += [(canonicalize_name(r.name), frozenset(r.extras)) for r in _required(*package)]
    return packages


def _required(package: str, extras: frozenset[str]) -> Iterator[Requirement]:
    for line in metadata.requires(package) or []:
        requirement = Requirement(line)
        marker = requirement.marker
        if marker is None or any(marker.evaluate({"extra": extra}) for extra in ("", *extras)):
            yield requirement


@cache
def size(package: str) -> int:
    """Bytes on disk."""
    total = 0
    for file in metadata.distribution(package).files or []:
        path = str(file.locate())
        if os.path.isfile(path):
            total += -(-os.stat(path).st_size // BLOCK) * BLOCK
    return total


def main() -> None:
    provided = metadata.metadata("curate").get_all("Provides-Extra") or []
    base = brought("curate")
    print("| extra | MB | packages |\n| --- | ---: | ---: |")
    print(f"| base | {sum(map(size, base)) / 2**20:,.0f} | {len(base)} |")
    for extra in provided:
        more = {name for name in brought("curate", extras=frozenset({extra})) if name not in base}
        print(f"| {extra} | + {sum(map(size, more)) / 2**20:,.0f} | + {len(more)} |")


if __name__ == "__main__":
    main()
