"""Turns at hosts: no address gets more than so many jobs at once, and none waits behind a busy host."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter, OrderedDict, defaultdict, deque
from typing import Generic, TypeVar

Job = TypeVar("Job")


class HostTurns(Generic[Job]):
    """Jobs by host. `take` gives a job of a host with a free turn, in rotation; `leave` frees the turn.

    Turns are those of the host's place, its address: a hundred names of one machine get no more than one name. A host
    that is held gets no turn until it is released. A connector's own limit per host would hold a worker, and run its
    deadline down, while it queues for one large host.

    >>> turns = HostTurns(1)
    >>> for host, job in [("a", 1), ("a", 2), ("b", 3)]: turns.add(host, job)
    >>> turns.take(), turns.take(), turns.take()
    (1, 3, None)
    >>> turns.leave("a"); turns.take()
    2
    """

    def __init__(self, per_place: int) -> None:
        self._per_place = per_place
        self._jobs: dict[str, deque[Job]] = {}
        self._place: dict[str, str] = {}
        self._busy: Counter[str] = Counter()
        self._hosts: defaultdict[str, deque[str]] = defaultdict(deque)  # by place: hosts with a job, not held
        self._ready: OrderedDict[str, None] = OrderedDict()  # places with such a host and a free turn
        self._waiting: defaultdict[str, deque[asyncio.Future[None]]] = defaultdict(deque)
        self._held: set[str] = set()

    @property
    def ready(self) -> int:
        """Places at which a job could start now."""
        return len(self._ready)

    def settle(self, host: str, place: str) -> None:
        """Where a host is; before its first turn. Without this, each host is a place of its own."""
        self._place[host] = place

    def add(self, host: str, job: Job) -> None:
        jobs = self._jobs.setdefault(host, deque())
        jobs.append(job)
        if len(jobs) == 1 and host not in self._held:
            self._list(host)

    def take(self) -> Job | None:
        """The next job, its host's turn taken; None when every host with jobs is busy or held."""
        if not self._ready:
            return None
        place, _ = self._ready.popitem(last=False)
        host = self._hosts[place].popleft()
        job = self._jobs[host].popleft()
        self._busy[place] += 1
        if self._jobs[host]:
            self._hosts[place].append(host)
        self._sort(place)
        return job

    def hold(self, host: str) -> None:
        """No turn for the host's jobs until `release`."""
        if host not in self._held:
            self._held.add(host)
            self._unlist(host)

    def release(self, host: str) -> None:
        if host in self._held:
            self._held.discard(host)
            if self._jobs.get(host):
                self._list(host)

    def drop(self, host: str) -> list[Job]:
        """Take the host's jobs off the queue."""
        self._unlist(host)
        return list(self._jobs.pop(host, ()))

    async def enter(self, host: str) -> None:
        """Take a turn at a host outside the queue (a redirect led here), waiting for one if need be."""
        place = self._place.get(host, host)
        if self._busy[place] < self._per_place:
            self._busy[place] += 1
            self._sort(place)
            return
        turn = asyncio.get_running_loop().create_future()
        self._waiting[place].append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():  # it came at the same moment
                self.leave(host)
            raise

    def leave(self, host: str) -> None:
        place = self._place.get(host, host)
        waiting = self._waiting.get(place)
        while waiting:
            turn = waiting.popleft()
            if not turn.done():  # done: its task was cancelled
                turn.set_result(None)
                return
        self._busy[place] -= 1
        self._sort(place)

    def _list(self, host: str) -> None:
        place = self._place.get(host, host)
        self._hosts[place].append(host)
        self._sort(place)

    def _unlist(self, host: str) -> None:
        place = self._place.get(host, host)
        with contextlib.suppress(ValueError):
            self._hosts[place].remove(host)
        self._sort(place)

    def _sort(self, place: str) -> None:
        if self._hosts.get(place) and self._busy[place] < self._per_place:
            self._ready[place] = None
        else:
            self._ready.pop(place, None)
