"""The fetching of a shard's URLs, event by event: lookups, turns, attempts, retries and pauses, on one event loop."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import AsyncGenerator, Callable
from functools import partial

from curate.download.attempt import Attempt, Job, explain, seconds_before_retry, site_of
from curate.download.desk import HEARTBEAT_SECONDS, Desk
from curate.download.http_client import HTTPClient
from curate.download.lookups import AddressInfo
from curate.download.options import FetchOptions
from curate.download.pause import Pauses
from curate.download.resolver import Resolver
from curate.download.robots_check import Stop, check_rules, seen
from curate.download.robots_file import Robots
from curate.download.run_hosts import Ask, Reply, Site
from curate.download.set_aside import Item, SetAside
from curate.download.site_turns import SiteTurns
from curate.download.tally import Tally

#: Lookups that are begun at the same time, and at most; those that wait longer than LATE_SECONDS hold up no other.
LOOKUPS, MOST_LOOKUPS, LATE_SECONDS = 128, 2000, 1.0
#: Sites that are looked up before their turn, so that dead names are known before the shard's end.
AHEAD = 1000


class FetchRun:
    """Looks hosts up, asks for turns, starts jobs as turns come, and gives each job once when it has ended."""

    def __init__(
        self, by_host: dict[str, list[Job]], client: HTTPClient, resolver: Resolver, desk: Desk, options: FetchOptions
    ) -> None:
        self._desk, self._options, self._resolver = desk, options, resolver
        self._turns: SiteTurns[Item] = SiteTurns()
        self._pauses = Pauses(self._turns, options.max_backoff_seconds, self._later)
        self._aside = SetAside(self._turns, desk.streaks, desk.unasked)
        ways = self._enter, self._turns.leave, self._aside.heard
        self._attempt = Attempt(client, resolver, desk, options, *ways)
        self._unfinished = sum(map(len, by_host.values()))
        self._hosts = deque(by_host.items())
        # What has happened: called in the loop below, an event gives the jobs that ended by it.
        self._events: asyncio.Queue[Callable[[], list[Job]]] = asyncio.Queue()
        self._lookups, self._late = set[asyncio.Task[list[AddressInfo]]](), set[asyncio.Task[list[AddressInfo]]]()
        self._running: set[asyncio.Task[bool]] = set()
        self._retrying = 0
        self._delays: dict[str, float] = {}
        self._due, self._over = asyncio.Event(), False
        self._reported: dict[Site, int] = {}

    async def finished(self) -> AsyncGenerator[Job, None]:
        """Finished jobs. Done attempts count as running until they are taken: that is the backpressure."""
        visits = asyncio.create_task(self._visits())
        visits.add_done_callback(lambda task: self._events.put_nowait(lambda: self._left_alone(task)))
        try:
            while self._unfinished:
                self._start()
                for job in self._at_end() or (await self._events.get())():
                    self._unfinished -= 1
                    self._start()
                    yield job
                    await asyncio.sleep(0)  # a full queue never suspends: without this the network would stand still
        finally:
            self._over = True
            tasks = [*self._running, *self._lookups, visits]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await self._say_goodbye()

    def _start(self) -> None:
        while self._hosts and self._turns.startable < AHEAD and self._may_look_up():
            self._look_up(*self._hosts.popleft())
        while len(self._running) < self._options.concurrency and (turn := self._turns.take()):
            site, item = turn
            if isinstance(item, Job):
                self._run(item, site)
            elif item.done():  # its job was cancelled
                self._turns.leave(site)
            else:
                item.set_result(None)
        if self._pauses.news:
            self._desk.hurry()
        if self._has_news() or (self._turns.waiting and self._room() > 0):
            self._due.set()

    def _run(self, job: Job, site: Site) -> None:
        task = asyncio.create_task(self._attempt(job, site))
        self._running.add(task)
        task.add_done_callback(lambda done: self._events.put_nowait(lambda: self._attempted(job, site, done)))

    # ---- where hosts are ----

    def _may_look_up(self) -> bool:
        return len(self._lookups) < MOST_LOOKUPS and len(self._lookups) - len(self._late) < LOOKUPS

    def _look_up(self, host: str, jobs: list[Job]) -> None:
        task = asyncio.create_task(self._resolver.lookup(host))
        self._lookups.add(task)
        self._later(LATE_SECONDS, lambda: self._late.update(self._lookups & {task}))
        task.add_done_callback(lambda done: self._events.put_nowait(lambda: self._looked_up(jobs, done)))

    def _looked_up(self, jobs: list[Job], task: asyncio.Task[list[AddressInfo]]) -> list[Job]:
        self._lookups.discard(task)
        self._late.discard(task)
        problem = task.exception()
        if isinstance(problem, Exception):
            for job in jobs:
                job.final_url = str(job.url)
                job.end(*explain(problem, self._options))
            return jobs
        return [job for job in jobs if self._queued(job, site_of(job.url, task.result()))]

    def _queued(self, job: Job, site: Site, first: bool = False) -> bool:
        """Put a job in its site's queue; True when it ended instead, as the site's robots.txt forbids it."""
        if self._forbidden(site, job):
            return True
        if not self._aside.takes(site, job):
            self._turns.add(site, job, first)
        return False

    # ---- what the worker is given, and says ----

    def _room(self) -> int:
        return self._options.concurrency - len(self._running) - self._turns.idle

    def _has_news(self) -> bool:
        return bool(self._pauses.news or self._aside.has_news or self._desk.rules.read) or (
            not self._desk.is_here and any(self._turns.turns().get(s, 0) < n for s, n in self._reported.items())
        )

    async def _visits(self) -> None:
        # Not for ever: in Python 3.10 and 3.11 `wait_for` loses a cancellation that comes as what it waits for ends.
        while not self._over:
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self._due.wait(), HEARTBEAT_SECONDS)
            self._due.clear()
            ask = self._question()
            reply = await self._desk.visit(ask)
            # At once: what is said at the next visit has to hold what was given at this one.
            ended = self._replied(ask, reply)
            self._events.put_nowait(partial(list, ended))
            await asyncio.sleep(0)
            await self._desk.rest()

    def _question(self) -> Ask:
        wants = self._turns.wants(self._room())
        robots, self._desk.rules.read = self._desk.rules.read, []
        for one in robots:
            self._note_delay(one.origin)
        delays, self._delays = self._delays, {}
        unread = {site.origin for site in wants if self._options.respect_robots_txt}
        unread = {origin for origin in unread if self._desk.rules.of(origin) is None}
        self._reported = self._turns.turns()
        ask = Ask(self._desk.worker, self._reported, wants, frozenset(unread), robots=robots, delays=delays)
        return self._with_news(ask)

    def _with_news(self, ask: Ask) -> Ask:
        """What hosts want, and which do not answer."""
        ask.pauses, self._pauses.news = self._pauses.news, []
        ask.failing, self._aside.failing = self._aside.failing, {}
        ask.answering, self._aside.answering = frozenset(self._aside.answering), set()
        ask.tried = frozenset(self._aside.tried)
        ask.tally, self._desk.tally = self._desk.tally, Tally()
        return ask

    def _replied(self, ask: Ask, reply: Reply) -> list[Job]:
        ended = [job for robots in reply.robots.values() for job in self._learnt(robots)]
        for robots in ask.robots:
            if not robots.failed:
                ended += self._learnt(robots)
        for host, (status, seconds) in reply.pauses.items():
            self._pauses.hold(host, status, seconds)
        for key, failure in reply.failing.items():
            self._aside.learn(key, *failure)
        self._turns.receive(ask.wants, reply)
        self._reported = {
            site: ask.turns.get(site, 0) + reply.turns.get(site, 0) for site in {*ask.turns, *reply.turns}
        }
        if reply.again is not None:
            self._later(reply.again, self._turns.unpark)
        return ended

    def _later(self, seconds: float, do: Callable[[], None]) -> None:
        """An event after some time, by which no job ends."""

        def happen() -> list[Job]:
            do()
            return []

        asyncio.get_running_loop().call_later(seconds, self._events.put_nowait, happen)

    def _left_alone(self, visits: asyncio.Task[None]) -> list[Job]:
        """What all workers know is out of reach: nothing may be asked without it."""
        if not visits.cancelled() and (problem := visits.exception()):
            raise problem
        return []

    async def _say_goodbye(self) -> None:
        """No turn is kept from others by a worker that has gone."""
        with contextlib.suppress(Exception):
            robots, self._desk.rules.read = self._desk.rules.read, []
            await self._desk.visit(self._with_news(Ask(self._desk.worker, robots=robots)))

    # ---- what robots.txt says ----

    def _learnt(self, robots: Robots) -> list[Job]:
        """What follows from a robots.txt for the jobs of its site: those that end by it."""
        ended: list[Job] = []
        if not robots.failed:
            self._desk.rules.learn(robots)
        for site in self._turns.of_origin(robots.origin):
            if robots.failed:
                ended += self._unasked(site, robots.status, f"robots.txt: {robots.error}")
            else:
                forbidden = self._turns.drop(site, partial(self._forbidden, site))
                ended += [item for item in forbidden if isinstance(item, Job)]
        return ended

    def _note_delay(self, origin: str) -> None:
        if (rules := self._desk.rules.of(origin)) and rules.delay:
            self._delays[origin] = min(rules.delay, self._options.max_backoff_seconds)

    def _forbidden(self, site: Site, job: Item) -> bool:
        """Whether a job has ended, as its site's robots.txt, where it is known, forbids it."""
        rules = self._desk.rules.of(site.origin) if self._options.respect_robots_txt else None
        if rules is None or not isinstance(job, Job):
            return False
        try:
            check_rules(rules, job.url, self._options)
        except Stop as stop:
            job.asks(job.url)
            job.robots, job.content_usage = seen(rules, job.url)
            job.end(stop.status, str(stop))
            return True
        return False

    def _unasked(self, site: Site, status: str, error: str) -> list[Job]:
        """All that waits for the site ends, without being asked for."""
        ended = []
        for item in self._turns.drop(site):
            if isinstance(item, Job):
                if not item.final_url:
                    item.asks(item.url)
                item.end(status, error)
                ended.append(item)
            elif not item.done():
                item.set_exception(Stop(status, error))
        return ended

    # ---- turns of redirects ----

    async def _enter(self, site: Site) -> None:
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._pauses.check(site.host)
        self._aside.check(site)
        self._turns.add(site, turn)
        self._events.put_nowait(list)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():  # it came at the same moment
                self._turns.leave(site)
            raise

    # ---- what came of attempts ----

    def _attempted(self, job: Job, site: Site, task: asyncio.Task[bool]) -> list[Job]:
        self._running.discard(task)
        if not task.result():
            return [job] if self._queued(job, site, first=True) else []
        self._pauses.respect(job)
        seconds = seconds_before_retry(job, self._options)
        if seconds is None:
            return [job]
        if self._aside.takes(site, job):
            return []
        self._retrying += 1
        asyncio.get_running_loop().call_later(seconds, self._events.put_nowait, lambda: self._again(job, site))
        return []

    def _again(self, job: Job, site: Site) -> list[Job]:
        self._retrying -= 1
        return [job] if self._queued(job, site) else []

    # ---- when nothing else is to be done ----

    def _at_end(self) -> list[Job]:
        """Jobs that end now, for hosts that want to be left alone for too long or that do not answer."""
        if self._running or self._lookups or self._hosts or self._retrying or self._turns.startable:
            return []
        ended = []
        for host, status, error in self._pauses.long():
            for site in self._turns.of_host(host):
                ended += self._unasked(site, status, error)
        if not ended:
            ended = self._aside.at_end()
            self._start()
        return ended
