"""Pieces of the LLVM code that compiled loops insert where numba has no words for it."""

from __future__ import annotations

from typing import Any

from llvmlite import ir  # type: ignore[import-untyped]


def repeated(kind: Any, value: int) -> Any:
    """A vector of this kind, all of one value."""
    return ir.Constant(kind, [value] * kind.count)


def data_of(context: Any, builder: Any, kind: Any, value: Any) -> Any:
    """Where the numbers of an array lie."""
    return context.make_array(kind)(context, builder, value=value).data
