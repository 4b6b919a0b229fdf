"""How loops are compiled by numba here; a change in a function of this file is not seen by numba's cache of others."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import numba
from llvmlite import ir  # type: ignore[import-untyped]
from numba import types
from numba.extending import intrinsic as numba_intrinsic

F = TypeVar("F", bound=Callable[..., Any])


def compiled(function: F) -> F:
    """numba nopython without the GIL, cached on disk where a cache directory can be written (else compiled again)."""
    try:
        return numba.njit(cache=True, nogil=True)(function)  # type: ignore[no-any-return]
    except RuntimeError:  # "no locator available": read-only install and no home directory
        return numba.njit(nogil=True)(function)  # type: ignore[no-any-return]


def inlined(function: F) -> F:
    """Part of a compiled loop: a call that passes array structures costs more than these bodies."""
    return numba.njit(forceinline=True)(function)  # type: ignore[no-any-return]


def intrinsic(function: Callable[..., Any]) -> Callable[..., Any]:
    """Typed for mypy: callers do not pass the typing context."""
    return numba_intrinsic(function)  # type: ignore[no-any-return]


@intrinsic
def load64(typingctx: Any, array: Any, index: Any) -> Any:
    """Eight bytes of a uint8 array at any alignment, little end first."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        data = context.make_array(signature.args[0])(context, builder, value=args[0]).data
        at = builder.gep(data, [args[1]])
        return builder.load(builder.bitcast(at, ir.IntType(64).as_pointer()), align=1)

    return types.uint64(array, types.int64), codegen
