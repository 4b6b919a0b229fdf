"""Items of a task in this process, without Ray."""

from __future__ import annotations

import copy
import errno
import time
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from typing import TypeVar

from curate.cluster.failures import Failures
from curate.cluster.task import ItemFault, Task, announce, answered, attempted, leave, set_up
from curate.errors import CurateError

T = TypeVar("T")

#: After so many seconds, about what a start of Ray takes, workers do the rest of a small step.
SMALL_SECONDS = 4.0

#: No shard can be written before a person has done something.
DISK_FAULTS = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)


def for_some_seconds(task: Task[T], todo: Sequence[int]) -> Iterator[tuple[int, T]]:
    """Do the first items. It ends after SMALL_SECONDS, and at an item that fails: workers do the rest."""
    # The job that workers get is as it was: what `setup` loads does not travel.
    here = copy.deepcopy(task)
    set_up(here)
    end = time.monotonic() + SMALL_SECONDS
    for item in todo:
        try:
            report = _answered(_done(here, item))
        except ItemFault:  # workers try it again, and say what is wrong
            return
        yield item, report
        if time.monotonic() > end:
            return


def in_this_process(task: Task[T], todo: Sequence[int], failures: Failures) -> Iterator[tuple[int, T]]:
    """Do all items but those that fail.

    What an item leaves to a thread is done beside the next one, and its report comes behind that.
    """
    set_up(task)
    waiting: deque[tuple[int, T | Future[T]]] = deque()
    try:
        for place, item in enumerate(todo):
            for following in todo[place + 1 : place + 2]:
                announce(task, following)
            try:
                waiting.append((item, _done(task, item)))
            except ItemFault as fault:  # said with the others at the end
                _failed(failures, item, fault)
            while waiting and (len(waiting) > 1 or not isinstance(waiting[0][1], Future)):
                yield from _reports(waiting, failures)
        while waiting:
            yield from _reports(waiting, failures)
    except GeneratorExit:
        raise
    except BaseException:
        # The one that is being finished will be, whatever ends the step: so its report is told.
        while waiting:
            yield from _reports(waiting, failures)
        raise
    finally:
        leave(task)


def _reports(waiting: deque[tuple[int, T | Future[T]]], failures: Failures) -> Iterator[tuple[int, T]]:
    item, report = waiting.popleft()
    try:
        yield item, _answered(report)
    except ItemFault as fault:
        _failed(failures, item, fault)


def _failed(failures: Failures, item: int, fault: ItemFault) -> None:
    failures.set_aside(item, str(fault))
    failures.attempt_failed(item, str(fault))


def _done(task: Task[T], item: int) -> T | Future[T]:
    """
    Raises:
        ItemFault: when the item fails.
        CurateError: when it fails as every other item would: the disk is full, or cannot be written.
    """
    try:
        return attempted(task, item, attempt=0, acquitted=False)
    except ItemFault as fault:
        raise _of_all(fault) from fault.__cause__


def _answered(report: T | Future[T]) -> T:
    """As `_done`, of what was left to a thread."""
    try:
        return answered(report)
    except ItemFault as fault:
        raise _of_all(fault) from fault.__cause__


def _of_all(fault: ItemFault) -> Exception:
    cause = fault.__cause__
    return CurateError(str(fault)) if isinstance(cause, OSError) and cause.errno in DISK_FAULTS else fault
