"""Fetch a shard's URLs: one status per row, never an exception, under limits of time, size, host and address.

What img2dataset's fetcher lacks, seen on a real server: a deadline over the whole answer (a slow drip outlasts a
socket timeout), a size limit, back-off (it asks three times for a 404), a limit per host, refusal of private addresses.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from dataclasses import replace

from curate.alike.web_url import WebURL, host_of, parse_url
from curate.download.attempt import Attempt, Fetched, Job, explain, not_asked, storable
from curate.download.backoff import asked_seconds, seconds_to_wait
from curate.download.holds import Holds
from curate.download.host_turns import HostTurns
from curate.download.http_client import HTTPClient
from curate.download.options import FetchOptions
from curate.download.resolver import AddressInfo, Resolver

__all__ = ["FetchOptions", "Fetched", "fetch"]

#: Hosts that are looked up at the same time. Ahead of their turn: a name server that does not answer takes no place
#: from a row that could be fetched.
LOOKUPS = 128


async def fetch(
    urls: Sequence[str | None], options: FetchOptions, holds: Holds | None = None
) -> AsyncGenerator[tuple[int, Fetched], None]:
    """Yield (row, Fetched) once for every row, in the order in which answers arrive.

    Equal URLs are fetched once and share their body. At most `concurrency` bodies are held besides the one yielded, the
    large ones in temporary files: nothing new is started while finished ones wait for the consumer. The deadline runs
    on this event loop's clock, so a consumer that computes (decodes, resizes) must do it in a thread, or rows time out
    while the loop stands still.
    Close the generator (`contextlib.aclosing`) when leaving early. `holds` carries the wishes of hosts from one call
    to the next.
    """
    by_host, bad = _plan(urls, options)
    for row, (status, problem) in bad:
        yield row, Fetched(status, storable(problem))
    allowed = options.allow_private_addresses
    client = HTTPClient(user_agent=options.sent_user_agent, allowed=allowed, verify_tls=options.verify_tls)
    resolver = Resolver(allowed, options.timeout_seconds)
    attempt = Attempt(client, resolver, HostTurns(options.per_host), holds or Holds(), options)
    run = _Run(by_host, attempt)
    del by_host  # a finished job carries a body: only the queues of `run` keep jobs
    try:
        async with aclosing(run.finished()) as jobs:
            async for job in jobs:
                result = job.result if job.body is None else replace(job.result, body=job.body.all())
                for row in job.rows:
                    yield row, result
    finally:
        await resolver.close()
        await client.close()


def _plan(
    urls: Sequence[str | None], options: FetchOptions
) -> tuple[dict[str, list[Job]], list[tuple[int, tuple[str, str]]]]:
    """A job for each distinct URL, by host; and the rows without one, with status and error."""
    jobs: dict[WebURL, Job] = {}
    bad = []
    for row, text in enumerate(urls):
        try:
            url = parse_url(text)
        except Exception as problem:  # noqa: BLE001 - a row's URL is the row's affair, whatever a parser makes of it
            bad.append((row, explain(problem, options)))
            continue
        if url in jobs:
            jobs[url].rows.append(row)
        else:
            jobs[url] = Job(url, [row])
    by_host: dict[str, list[Job]] = {}
    for job in jobs.values():
        by_host.setdefault(host_of(job.url), []).append(job)
    return by_host, bad


class _Run:
    """Looks hosts up, starts jobs as turns come free, and gives each job once when it has ended."""

    def __init__(self, by_host: dict[str, list[Job]], attempt: Attempt) -> None:
        self._attempt, self._turns, self._options = attempt, attempt.turns, attempt.options
        self._unfinished = sum(map(len, by_host.values()))
        self._hosts = deque(by_host.items())
        # What has happened: called in the loop below, an event gives the jobs that ended by it.
        self._events: asyncio.Queue[Callable[[], list[Job]]] = asyncio.Queue()
        self._lookups: set[asyncio.Task[list[AddressInfo]]] = set()
        self._running: set[asyncio.Task[Job]] = set()
        self._retrying = 0
        self._held: set[str] = set()

    async def finished(self) -> AsyncGenerator[Job, None]:
        """Finished jobs. Done attempts count as running until they are taken: that is the backpressure."""
        try:
            while self._unfinished:
                self._start()
                for job in self._given_up() or (await self._events.get())():
                    self._unfinished -= 1
                    self._start()
                    yield job
                    await asyncio.sleep(0)  # a full queue never suspends: without this the network would stand still
        finally:
            tasks = [*self._running, *self._lookups]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    def _start(self) -> None:
        while self._hosts and len(self._lookups) < LOOKUPS and self._turns.ready < self._options.concurrency:
            self._look_up(*self._hosts.popleft())
        while len(self._running) < self._options.concurrency and (job := self._turns.take()):
            task = asyncio.create_task(self._attempt(job))
            self._running.add(task)
            task.add_done_callback(lambda done: self._events.put_nowait(lambda: self._attempted(done)))

    def _look_up(self, host: str, jobs: list[Job]) -> None:
        task = asyncio.create_task(self._attempt.resolver.lookup(host))
        self._lookups.add(task)
        task.add_done_callback(lambda done: self._events.put_nowait(lambda: self._looked_up(host, jobs, done)))

    def _looked_up(self, host: str, jobs: list[Job], task: asyncio.Task[list[AddressInfo]]) -> list[Job]:
        self._lookups.discard(task)
        problem = task.exception()
        if isinstance(problem, Exception):
            for job in jobs:
                job.final_url = str(job.url)
                job.end(*explain(problem, self._options))
            return jobs
        self._turns.settle(host, str(task.result()[0][4][0]))
        for job in jobs:
            self._turns.add(host, job)
        return self._hold(host)

    def _attempted(self, task: asyncio.Task[Job]) -> list[Job]:
        self._running.discard(task)
        job = task.result()
        self._respect(job)
        seconds = _seconds_before_retry(job, self._options)
        if seconds is None:
            return [job]
        self._retrying += 1
        asyncio.get_running_loop().call_later(seconds, self._events.put_nowait, lambda: self._again(job))
        return []

    def _again(self, job: Job) -> list[Job]:
        self._retrying -= 1
        host = host_of(job.url)
        self._turns.add(host, job)
        return self._hold(host)

    def _respect(self, job: Job) -> None:
        """A wish of the host's to be left alone, for its other URLs too."""
        seconds = asked_seconds(job.retry_after)
        if job.http_status in (429, 503) and seconds > 0:
            self._attempt.holds.note(job.host, job.result.status, seconds)
            self._hold(job.host)

    def _hold(self, host: str) -> list[Job]:
        """No turn for the host for as long as it wants."""
        seconds = self._attempt.holds.seconds_left(host)
        if seconds:
            self._held.add(host)
            self._turns.hold(host)
            asyncio.get_running_loop().call_later(seconds + 0.001, self._events.put_nowait, lambda: self._hold(host))
        else:
            self._held.discard(host)
            self._turns.release(host)
        return []

    def _given_up(self) -> list[Job]:
        """Jobs of hosts that want to be left alone for too long, once there is nothing else to do."""
        if self._running or self._lookups or self._hosts or self._retrying or self._turns.ready:
            return []
        ended = []
        for host in sorted(self._held):
            seconds = self._attempt.holds.seconds_left(host)
            if seconds > self._options.max_backoff_seconds:
                for job in self._turns.drop(host):
                    job.end(self._attempt.holds.status(host), not_asked(host, seconds))
                    ended.append(job)
        return ended


def _seconds_before_retry(job: Job, options: FetchOptions) -> float | None:
    """Seconds until the next attempt, None for no further one."""
    status = job.result.status
    passing = status in ("timeout", "connect", "http_429") or status.startswith("http_5")
    if not passing or job.attempts > options.retries:
        return None
    longest = options.max_backoff_seconds
    return seconds_to_wait(
        str(job.url), job.attempts, first=options.backoff_seconds, longest=longest, retry_after=job.retry_after
    )
