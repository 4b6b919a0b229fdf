"""How loops are compiled by numba: when their module is imported, once a node, for the types that they are written for.

A change in a function of this file is not seen by numba's cache of others. What makes a loop dear to compile: a slice
that is assigned to another (two seconds), `sort`, `sum` along an axis and other calls of numpy, one kind of argument
more, a number written into a call of what is inlined. What is cheap: plain loops over arrays.
"""

from __future__ import annotations

import contextlib
import inspect
import os
import stat
import tempfile
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import numba
from llvmlite import ir  # type: ignore[import-untyped]
from numba import types
from numba.extending import intrinsic as numba_intrinsic

from curate.arrays.llvm import data_of

F = TypeVar("F", bound=Callable[..., Any])

#: Divisions do not look for a zero, and nobody calls a loop from C: less to compile.
_HOW = {"nogil": True, "no_cfunc_wrapper": True, "error_model": "numpy"}


def read(number: str, dimensions: int = 1) -> Any:
    """Type of a C-contiguous array of which a loop changes nothing; one that may be written to fits, too."""
    return types.Array(getattr(types, number), dimensions, "C", readonly=True)


def written(number: str, dimensions: int = 1) -> Any:
    """Type of a C-contiguous array that a loop writes to."""
    return types.Array(getattr(types, number), dimensions, "C")


def compiled(*arguments: Any) -> Callable[[F], F]:
    """numba nopython without the GIL, for arguments of these types and what converts to them safely.

    Compiled here and now, or read from the cache on disk. Of the processes of a node that come here together one
    compiles, and the others read what it made.
    """

    def compile_once(function: F) -> F:
        dispatcher = _dispatcher(function)
        with one_process_at_a_time(inspect.getfile(function)):
            dispatcher.compile(arguments)
        dispatcher.disable_compile()
        return dispatcher  # type: ignore[no-any-return]

    return compile_once


def _dispatcher(function: Callable[..., Any]) -> Any:
    """numba caches beside the source; of a read-only install in the user's cache folder ($XDG_CACHE_HOME)."""
    try:
        return numba.njit(cache=True, **_HOW)(function)
    except RuntimeError:  # no folder can be written to: read-only install and no home directory
        with contextlib.suppress(OSError, RuntimeError):
            numba.config.CACHE_DIR = _own_folder()
            return numba.njit(cache=True, **_HOW)(function)
        return numba.njit(**_HOW)(function)


def _own_folder() -> str:
    """A folder for temporary files that is this user's alone: what is read from a cache is run.

    Raises:
        OSError: when somebody else made it, or may write to it.
    """
    folder = os.path.join(tempfile.gettempdir(), f"curate-kernels-{os.getuid()}")
    os.makedirs(folder, mode=0o700, exist_ok=True)
    about = os.lstat(folder)
    if not stat.S_ISDIR(about.st_mode) or about.st_uid != os.getuid() or about.st_mode & 0o077:
        raise PermissionError(f"{folder} is not a folder of this user alone")
    return folder


@contextlib.contextmanager
def one_process_at_a_time(path: str) -> Iterator[None]:
    """Holds a lock on a file that is there; the lock ends with the process. Without locks in its file system all go on.

    Of what is compiled it is the source file, which is there on every install.
    """
    with contextlib.ExitStack() as stack:
        with contextlib.suppress(ImportError, OSError):
            import fcntl

            file = os.open(path, os.O_RDONLY)
            stack.callback(os.close, file)
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def inlined(function: F) -> F:
    """Part of a compiled loop: a call that passes array structures costs more than these bodies."""
    return numba.njit(forceinline=True, no_cpython_wrapper=True, **_HOW)(function)  # type: ignore[no-any-return]


def intrinsic(function: Callable[..., Any]) -> Callable[..., Any]:
    """Typed for mypy: callers do not pass the typing context."""
    return numba_intrinsic(function)  # type: ignore[no-any-return]


@intrinsic
def load64(typingctx: Any, array: Any, index: Any) -> Any:
    """Eight bytes of a uint8 array at any alignment, little end first."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        at = builder.gep(data_of(context, builder, signature.args[0], args[0]), [args[1]])
        return builder.load(builder.bitcast(at, ir.IntType(64).as_pointer()), align=1)

    return types.uint64(array, types.int64), codegen
