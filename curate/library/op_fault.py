"""A fault of an op, told apart from a fault of a row."""

from __future__ import annotations

import pyarrow as pa

from curate.errors import CurateError

#: Errors of the code itself: raised for every row of a batch, no other worker would do better.
OP_MISTAKES = (
    NameError, AttributeError, TypeError, ImportError, SyntaxError, NotImplementedError, LookupError, pa.ArrowException
)  # fmt: skip


class OpFault(CurateError):
    """An op that does not keep its contract: the step stops at once, no row is blamed."""
