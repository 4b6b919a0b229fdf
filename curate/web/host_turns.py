"""Turns at hosts: hands out jobs so that no host gets more than so many at once, and none waits behind a busy host."""

import asyncio
from collections import Counter, OrderedDict, defaultdict, deque
from typing import Generic, TypeVar

Job = TypeVar("Job")


class HostTurns(Generic[Job]):
    """Jobs by host. `take` gives a job of a host with a free turn, hosts in rotation; `leave` frees the turn.

    A connector's own limit per host would hold a worker, and run its deadline down, while it queues for one large host.

    >>> turns = HostTurns(1)
    >>> for host, job in [("a", 1), ("a", 2), ("b", 3)]: turns.add(host, job)
    >>> turns.take(), turns.take(), turns.take()
    (1, 3, None)
    >>> turns.leave("a"); turns.take()
    2
    """

    def __init__(self, per_host: int) -> None:
        self._per_host = per_host
        self._jobs: dict[str, deque[Job]] = {}
        self._busy: Counter[str] = Counter()
        self._ready: OrderedDict[str, None] = OrderedDict()  # hosts with a job and a free turn
        self._waiting: defaultdict[str, deque[asyncio.Future[None]]] = defaultdict(deque)

    def add(self, host: str, job: Job) -> None:
        self._jobs.setdefault(host, deque()).append(job)
        self._sort(host)

    def take(self) -> Job | None:
        """The next job, its host's turn taken; None when every host with jobs is busy."""
        if not self._ready:
            return None
        host, _ = self._ready.popitem(last=False)
        job = self._jobs[host].popleft()
        self._busy[host] += 1
        self._sort(host)
        return job

    async def enter(self, host: str) -> None:
        """Take a turn at a host outside the queue (a redirect led here), waiting for one if need be."""
        if self._busy[host] < self._per_host:
            self._busy[host] += 1
            self._sort(host)
            return
        turn = asyncio.get_running_loop().create_future()
        self._waiting[host].append(turn)
        await turn

    def leave(self, host: str) -> None:
        waiting = self._waiting.get(host)
        while waiting:
            turn = waiting.popleft()
            if not turn.done():  # done: its task was cancelled
                turn.set_result(None)
                return
        self._busy[host] -= 1
        self._sort(host)

    def _sort(self, host: str) -> None:
        if self._jobs.get(host) and self._busy[host] < self._per_host:
            self._ready[host] = None
        else:
            self._ready.pop(host, None)
