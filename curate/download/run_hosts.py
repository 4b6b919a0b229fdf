"""What all workers of a run know of the hosts they ask: whose turn it is, who wants a pause, what robots.txt says.

One object for the run, in this process or as an actor of Ray. Workers come by: each says which turns it has and which
it wants, and is given what is free. Nothing depends on what they said before, so that an actor that was started again
knows it all after one round, and a worker that died holds nothing for long.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from curate.download.failing import TRIALS, Failing
from curate.download.holds import Holds
from curate.download.robots_cache import RobotsCache
from curate.download.robots_file import Robots
from curate.download.tally import Tally

#: Seconds without a visit after which a worker's turns are free again.
SILENT_SECONDS = 60.0
#: Seconds after which to ask again for a turn that another worker has, and after which one that did not is forgotten.
AGAIN_SECONDS, WAITING_SECONDS = 0.05, 3.0


class Site(NamedTuple):
    """Where turns are counted: by host, and by address. `origin` is what a robots.txt is of: scheme, host and port."""

    origin: str
    host: str
    address: str

    @property
    def keys(self) -> tuple[str, str]:
        return f"host {self.host}", f"address {self.address}"


@dataclass
class Ask:
    """What a worker says when it comes by.

    turns: that it has at each site; wants: that it has work for beside these. unread: origins among the sites it
    wants whose robots.txt it does not know. pauses: (host, status, seconds) that hosts asked for since the last visit;
    robots: files that it has read since; delays: seconds that sites want between two requests. failing: hosts and
    addresses (keys of a Site) that had no answer too often: status, error, and whether they were tried once more;
    answering: those that have answered again; tried: those that it tries, with nothing else to do. tally: what came of
    rows since the last visit.
    """

    worker: str
    turns: dict[Site, int] = field(default_factory=dict)
    wants: dict[Site, int] = field(default_factory=dict)
    unread: frozenset[str] = frozenset()
    pauses: list[tuple[str, str, float]] = field(default_factory=list)
    robots: list[Robots] = field(default_factory=list)
    delays: dict[str, float] = field(default_factory=dict)
    failing: dict[str, tuple[str, str, bool]] = field(default_factory=dict)
    answering: frozenset[str] = frozenset()
    tried: frozenset[str] = frozenset()
    tally: Tally | None = None


@dataclass
class Reply:
    """
    turns: given now, at each site. few: sites at which others wait: a turn there is to be given back when it ends.
    once: sites whose turns are good for one request. read: origins whose robots.txt the worker is to read, with its
    turn, before anything else. robots: files that others have read. pauses: host -> (status, seconds left).
    failing: keys of wanted sites that do not answer: status, error, seconds left of their rest, and whether they were
    tried once more.
    again: seconds after which to come again for what was wanted and is not free now, None when it is not known.
    """

    turns: dict[Site, int] = field(default_factory=dict)
    few: set[Site] = field(default_factory=set)
    once: set[Site] = field(default_factory=set)
    read: set[str] = field(default_factory=set)
    robots: dict[str, Robots] = field(default_factory=dict)
    pauses: dict[str, tuple[str, float]] = field(default_factory=dict)
    failing: dict[str, tuple[str, str, float, bool]] = field(default_factory=dict)
    again: float | None = None


@dataclass
class _Line:
    """The turns at one host or address: those who have some, and those who wait, the longest first."""

    turns: dict[str, int] = field(default_factory=dict)
    waiting: dict[str, float] = field(default_factory=dict)

    def wait(self, worker: str, now: float) -> None:
        """Keeps its place among those who wait, if it has one."""
        self.waiting[worker] = now

    def forget(self, now: float) -> None:
        """Those who did not ask again do not wait any more: their work was done or dropped."""
        self.waiting = {worker: asked for worker, asked in self.waiting.items() if now - asked < WAITING_SECONDS}

    def room(self, worker: str, most: int) -> int:
        """Turns that the worker may have more: its share at most, and none of those that others wait for longer."""
        free = most - sum(self.turns.values())
        if not self.waiting:
            return free
        others = self.turns.keys() | self.waiting.keys()
        share = max(1, most // len(others | {worker}))
        ahead = 0
        for other in self.waiting:
            if other == worker:
                break
            ahead += 1
        return min(free - ahead, share - self.turns.get(worker, 0))


@dataclass
class RunHosts:
    """
    per_host: turns at one host, and at one address, of all workers together. per_second: requests, likewise.
    retries, backoff_seconds: of a robots.txt that cannot be read.

    >>> hosts, a = RunHosts(per_host=2), Site("http://a", "a", "192.0.2.1")
    >>> hosts.visit(Ask("one", wants={a: 3})).turns[a], hosts.visit(Ask("two", wants={a: 1})).turns.get(a, 0)
    (2, 0)
    >>> hosts.visit(Ask("one", turns={a: 2}, wants={a: 1})).few == {a}
    True
    >>> _ = hosts.visit(Ask("one", turns={a: 1})); hosts.visit(Ask("two", wants={a: 1})).turns[a]
    1
    """

    per_host: int
    per_second: float | None = None
    retries: int = 0
    backoff_seconds: float = 1.0
    clock: Callable[[], float] = time.monotonic

    def __post_init__(self) -> None:
        self._lines: dict[str, _Line] = {}
        self._turns: dict[str, dict[Site, int]] = {}
        self._seen: OrderedDict[str, float] = OrderedDict()
        self._next: dict[str, float] = {}
        self._sweeping = 0.0
        self._delays: dict[str, float] = {}
        self._holds = Holds(self.clock)
        self._failing = Failing(self.clock)
        self._tally = Tally()
        self._robots = RobotsCache(self.retries, self.backoff_seconds, self.clock)

    def visit(self, ask: Ask) -> Reply:
        self._forget_silent(ask.worker)
        for robots in ask.robots:
            self._robots.note(robots)
        for host, status, seconds in ask.pauses:
            self._holds.note(host, status, seconds)
        if ask.tally:
            self._tally.add(ask.tally)
        for key in ask.answering:
            self._failing.forget(key)
        for key, (status, error, tried) in ask.failing.items():
            self._failing.note(key, status, error, tried)
        self._delays.update(ask.delays)
        self._report(ask.worker, ask.turns)
        reply = Reply()
        for site, number in ask.wants.items():
            self._give(ask, site, number, reply)
        for site in ask.turns:
            if any(self._others_wait(ask.worker, key) for key in site.keys):
                reply.few.add(site)
        return reply

    def counts(self) -> Tally:
        """What came of rows so far, as workers said at their visits."""
        return self._tally

    def _give(self, ask: Ask, site: Site, number: int, reply: Reply) -> None:
        if seconds := self._holds.seconds_left(site.host):
            reply.pauses[site.host] = (self._holds.status(site.host), seconds)
            self._stop_waiting(ask.worker, site)
            return
        if not self._answers(ask, site, reply):
            self._stop_waiting(ask.worker, site)
            return
        if site.origin in ask.unread and not self._may_ask(ask, site, reply):
            return
        wait = self._seconds_to_wait(site)
        lines = [self._lines.setdefault(key, _Line()) for key in site.keys]
        for line in lines:
            line.forget(self.clock())
        most = min(self.per_host, TRIALS) if reply.failing.keys() & set(site.keys) else self.per_host
        room = min(line.room(ask.worker, most) for line in lines)
        spaced = self._spaced(site)
        number = min(number, room, 1 if spaced or site.origin in reply.read else number)
        if wait > 0 or number < 1:
            for line in lines:
                line.wait(ask.worker, self.clock())
            reply.again = _sooner(reply.again, wait or AGAIN_SECONDS)
            reply.read.discard(site.origin)
            return
        if site.origin in reply.read:
            self._robots.begin(site.origin, ask.worker)
        if spaced:
            reply.once.add(site)
            for key, seconds in spaced.items():
                self._next[key] = self.clock() + seconds
        self._stop_waiting(ask.worker, site)
        reply.turns[site] = number
        self._count(ask.worker, site, number)

    def _answers(self, ask: Ask, site: Site, reply: Reply) -> bool:
        """Whether the site may be asked: it answers as far as anybody knows, or is to be tried again."""
        may = all(self._failing.may_ask(key, at_end=key in ask.tried) for key in site.keys)
        for key in site.keys:
            if failure := self._failing.of(key):
                reply.failing[key] = failure if not may else (*failure[:2], 0.0, failure[3])
        return may

    def _may_ask(self, ask: Ask, site: Site, reply: Reply) -> bool:
        """Whether the worker knows from now on what the site's robots.txt says, or is the one to read it."""
        robots = self._robots.known(site.origin)
        if robots is not None:
            reply.robots[site.origin] = robots
            return not robots.failed
        seconds = self._robots.seconds_to_wait(site.origin, "" if site in ask.turns else ask.worker)
        if seconds:
            reply.again = _sooner(reply.again, seconds)
            return False
        reply.read.add(site.origin)
        return True

    # ---- how often ----

    def _spaced(self, site: Site) -> dict[str, float]:
        """Seconds from one request to the next, at the host and at the address; none where there is no limit."""
        own = 1 / self.per_second if self.per_second else 0.0
        host, address = site.keys
        seconds = {host: max(own, self._delays.get(site.origin, 0.0)), address: own}
        return {key: wait for key, wait in seconds.items() if wait}

    def _seconds_to_wait(self, site: Site) -> float:
        now = self.clock()
        return max(0.0, *(self._next.get(key, 0.0) - now for key in site.keys))

    # ---- who has what ----

    def _report(self, worker: str, turns: Mapping[Site, int]) -> None:
        """What a worker has now, whatever it had before."""
        for site, number in self._turns.get(worker, {}).items():
            self._count_at_lines(worker, site, -number)
        self._turns.pop(worker, None)
        for site, number in turns.items():
            self._count(worker, site, number)

    def _count(self, worker: str, site: Site, number: int) -> None:
        sites = self._turns.setdefault(worker, {})
        sites[site] = sites.get(site, 0) + number
        self._count_at_lines(worker, site, number)

    def _count_at_lines(self, worker: str, site: Site, number: int) -> None:
        for key in site.keys:
            line = self._lines.setdefault(key, _Line())
            line.turns[worker] = line.turns.get(worker, 0) + number
            if line.turns[worker] <= 0:
                del line.turns[worker]

    def _others_wait(self, worker: str, key: str) -> bool:
        line = self._lines.get(key)
        now = self.clock()
        waiting = line.waiting.items() if line else ()
        return any(other != worker and now - asked < WAITING_SECONDS for other, asked in waiting)

    def _stop_waiting(self, worker: str, site: Site) -> None:
        for key in site.keys:
            if line := self._lines.get(key):
                line.waiting.pop(worker, None)

    def _forget_silent(self, worker: str) -> None:
        """The worker is here; those that have not been for long hold and want nothing any more."""
        now = self.clock()
        self._seen.pop(worker, None)
        self._seen[worker] = now
        while (first := next(iter(self._seen.items())))[1] < now - SILENT_SECONDS:
            self._seen.popitem(last=False)
            self._report(first[0], {})
        if now >= self._sweeping:
            self._sweeping = now + SILENT_SECONDS
            self._sweep(now)

    def _sweep(self, now: float) -> None:
        """Forget hosts that nobody has a turn at or waits for: a run asks very many."""
        for line in self._lines.values():
            line.forget(now)
        self._lines = {key: line for key, line in self._lines.items() if line.turns or line.waiting}
        self._next = {key: begins for key, begins in self._next.items() if begins > now}
        self._failing.sweep()


def _sooner(one: float | None, other: float) -> float:
    return other if one is None else min(one, other)
