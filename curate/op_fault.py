"""Faults of an op, told apart from faults of a row: what the op did, and the line of its author's code."""

from __future__ import annotations

import sysconfig
import traceback
from pathlib import Path

import pyarrow as pa

from curate.errors import CurateError

#: Errors of the code itself: raised for every row of a batch, no other worker would do better.
OP_MISTAKES = (
    NameError, AttributeError, TypeError, ImportError, SyntaxError, NotImplementedError, LookupError, pa.ArrowException
)  # fmt: skip

_PACKAGE = str(Path(__file__).parent)
_LIBRARIES = tuple({sysconfig.get_paths()[name] for name in ("stdlib", "platstdlib", "purelib", "platlib")})


class OpFault(CurateError):
    """An op that does not keep its contract: the step stops at once, no row is blamed."""


def place_of(error: BaseException) -> str:
    """Where in its author's code an error arose, e.g. `my_ops.py, line 12, in batch: return {"a": b}`.

    The innermost frame outside of curate, the standard library and installed packages; "" when there is none.
    """
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        if not frame.filename.startswith((_PACKAGE, *_LIBRARIES, "<")):
            line = f": {frame.line}" if frame.line else ""
            return f"{Path(frame.filename).name}, line {frame.lineno}, in {frame.name}{line}"
    return ""


def described(error: BaseException) -> str:
    """An error in one line, with its place in the author's code."""
    place = place_of(error)
    return f"{type(error).__name__}: {error}" + (f" ({place})" if place else "")
