"""Packages that an op works with: those it names, and those that a user's module imports."""

from __future__ import annotations

import sys
from collections.abc import Iterable

from curate.errors import Findings
from curate.library.op_names import op_name
from curate.library.user_code import imports_of
from curate.messages.packages import lacking
from curate.op import Op


def lacking_packages(op: Op) -> str:
    """One line that says which packages are not installed and how they are; empty when all are there."""
    name = op_name(type(op))
    imported = imports_of(sys.modules[type(op).__module__]) if ":" in name else []
    # Hashes of images are scores that only serve to dedupe.
    of_images = ("image", "dedupe") if "image" in op.reads() else ()
    return lacking(name, [*op.packages(), *imported], (name.partition(".")[0], *of_images))


def check_packages(ops: Iterable[Op]) -> None:
    """
    Raises:
        Findings: for ops whose packages are not installed: run without them, every row would fail by itself.
    """
    if faults := [fault for op in ops if (fault := lacking_packages(op))]:
        raise Findings(faults)
