"""A task: what a worker does with each item; and the job that it belongs to.

A task is a callable of one item (a shard, a partition, a file): a method of a job, or an object with `__call__`, which
is its own job then. A job is built on the driver with plain fields and is pickled to every worker, so it holds nothing
heavy. Five methods of a job are optional:

    setup()         called in each worker before its first item: loads models, opens connections
    careful(item)   called instead of the task from the second attempt on: looks for the row that kills its worker
    acquit(item)    called before an attempt when the last one ended with its node: no row is to blame for that
    coming(item)    called where this item follows the one at work, in any thread: it may be prepared from now on
    leave()         called when no item follows any more

A task may leave the end of an item to a thread: it returns a Future of its report then, and the next item begins.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, TypeVar, Union

from curate.errors import CurateError
from curate.library.user_code import no_exit, one_line, user_line
from curate.messages.causes import explained

T = TypeVar("T")

#: Returns a small report, never rows.
Task = Callable[[int], Union[T, "Future[T]"]]


class ItemFault(Exception):
    """Why an item failed, in one line."""


def job_of(task: Task[Any]) -> Any:
    """The object that a task belongs to."""
    return getattr(task, "__self__", task)


def set_up(task: Task[Any]) -> None:
    """Prepare the job of a task, once in each worker.

    Raises:
        CurateError: whatever goes wrong. No item is to blame: every other one would fail the same way.
    """
    setup = getattr(job_of(task), "setup", None)
    try:
        if setup:
            with no_exit():
                setup()
    except CurateError:
        raise
    except Exception as error:
        raise cannot_start(error) from error


def cannot_start(error: BaseException) -> CurateError:
    hint = ": declare it with `PrivateAttr()`, options cannot change" if "Instance is frozen" in str(error) else ""
    why = one_line(error) if user_line(error) else explained(error) or one_line(error)
    return CurateError(f"a worker cannot start: {why}{hint}")


def announce(task: Task[Any], item: int) -> None:
    """Say to the job of a task that this item follows the one at work."""
    coming = getattr(job_of(task), "coming", None)
    if coming:
        coming(item)


def leave(task: Task[Any]) -> None:
    """Say to the job of a task that no item follows."""
    leaving = getattr(job_of(task), "leave", None)
    if leaving:
        leaving()


def answered(report: T | Future[T]) -> T:
    """The report of an item, once what it left to a thread is done.

    Raises:
        ItemFault: when that fails.
    """
    try:
        return report.result() if isinstance(report, Future) else report
    except CurateError:
        raise
    except Exception as error:
        raise ItemFault(reason(error)) from error


def attempted(task: Task[T], item: int, attempt: int, acquitted: bool) -> T | Future[T]:
    """Do an item. attempt: how often it has failed; acquitted: its last attempt ended with its node.

    Raises:
        ItemFault: when it fails. Said here: on the way to the driver an error loses its traceback.
    """
    job = job_of(task)
    if acquitted and hasattr(job, "acquit"):
        job.acquit(item)
    careful: Task[T] | None = getattr(job, "careful", None)
    try:
        with no_exit():
            return careful(item) if attempt and careful else task(item)
    except CurateError:
        raise
    except Exception as error:
        raise ItemFault(reason(error)) from error


def reason(error: BaseException) -> str:
    """An error in one line: what a user can do about it, or what it is and where."""
    name = type(error).__name__
    if isinstance(error, ItemFault):
        return str(error)
    if name == "ActorDiedError" and "init" not in str(error)[:200]:
        return "the worker died (killed, out of memory, or crashed in native code)"
    if user_line(error):
        return one_line(error)
    # The last line, since Ray puts the remote traceback first.
    return explained(error) or f"{name}: {(str(error).strip().splitlines() or [''])[-1][:300]}"
