"""One attempt at one URL: its turn at each host, redirects, limits, and the status that comes of it."""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field

from curate.alike.web_url import BadURL, WebURL, host_of, parse_url
from curate.download.address import AddressRefused
from curate.download.answer_body import Truncated
from curate.download.backoff import asked_seconds, seconds_to_wait
from curate.download.coding import TooLarge
from curate.download.desk import Desk
from curate.download.http_client import Answer, HTTPClient
from curate.download.options import FetchOptions
from curate.download.resolver import AddressInfo, DNSError, Resolver
from curate.download.robots_check import Stop, check_rules, seen
from curate.download.robots_file import Robots
from curate.download.robots_reader import read_robots
from curate.download.robots_tag import TDM, is_disallowed, is_reserved
from curate.download.run_hosts import Site
from curate.download.spooled import Spooled
from curate.download.usage import FIELDS, forbidden_use

_REDIRECTS = frozenset({301, 302, 303, 307, 308})

_STATUS_OF: list[tuple[type[Exception], str]] = [  # the first that fits: later ones are more general
    (BadURL, "bad_url"),
    (DNSError, "dns"),
    (AddressRefused, "address_refused"),
    (TooLarge, "too_large"),
    (Truncated, "truncated"),
    (ssl.SSLError, "tls"),
    (OSError, "connect"),
]


@dataclass(frozen=True, slots=True)
class Fetched:
    """What came of one URL. `status` is a word of STATUS; `body` is None unless it is `success`.

    `seconds` is the time spent on the network over all attempts, without waits for a busy host or a retry; `attempts`
    how often the URL was asked for. `robots`, `x_robots` and `content_usage` are what the host said, as it was seen:
    whether its robots.txt allows the URL (`allowed`, `forbidden`, `none`), and the headers. `retrieved` is when the
    answer came, in seconds since 1970, and `server_date` the server's own Date.
    """

    status: str
    error: str | None = None
    body: bytes | None = None
    content_type: str | None = None
    http_status: int | None = None
    seconds: float = 0.0
    final_url: str | None = None
    attempts: int = 0
    robots: str | None = None
    x_robots: str | None = None
    content_usage: str | None = None
    retrieved: float | None = None
    server_date: str | None = None


class NotYet(Exception):
    """Nothing was asked for: the site's robots.txt was read with the job's turn, or could not be read yet."""


@dataclass(slots=True)
class Job:
    """One distinct URL of the shard, and what its attempts have found so far; `host` is the one asked last, `site` that
    of its turn, None where the last attempt had none."""

    url: WebURL
    rows: list[int]
    attempts: int = 0
    seconds: float = 0.0
    host: str = ""
    site: Site | None = None
    final_url: str | None = None
    http_status: int | None = None
    content_type: str | None = None
    #: Seconds for which the host asked to be left alone.
    retry_after: float = 0.0
    robots: str | None = None
    x_robots: str | None = None
    content_usage: str | None = None
    retrieved: float | None = None
    server_date: str | None = None
    result: Fetched = field(default_factory=lambda: Fetched("error"))
    body: Spooled | None = None

    def asks(self, url: WebURL) -> None:
        """What came of an earlier hop or attempt is over."""
        self.host, self.final_url = host_of(url), str(url)
        self.http_status = self.content_type = self.retrieved = self.server_date = None
        self.retry_after = 0.0
        self.robots = self.x_robots = self.content_usage = None

    def answered(self, answer: Answer) -> None:
        head = answer.head
        self.http_status, self.content_type = head.status, head.first("content-type")
        self.retrieved, self.server_date = time.time(), head.first("date")
        self.x_robots = "; ".join(head.all("x-robots-tag")) or None
        usages = [self.content_usage or "", *(value for name in FIELDS for value in head.all(name))]
        self.content_usage = "; ".join(filter(None, usages)) or None

    def end(self, status: str, error: str | None, body: Spooled | None = None) -> None:
        """`result` has no body yet: `body` stays where it is until it is asked for."""
        self.body = body
        self.result = Fetched(
            status,
            storable(error),
            content_type=storable(self.content_type),
            http_status=self.http_status,
            seconds=self.seconds,
            final_url=storable(self.final_url),
            attempts=self.attempts,
            robots=self.robots,
            x_robots=storable(self.x_robots),
            content_usage=storable(self.content_usage),
            retrieved=self.retrieved,
            server_date=storable(self.server_date),
        )


@dataclass(frozen=True, slots=True)
class Attempt:
    """What the attempts of a shard share; called with a job whose turn at its site has come.

    enter: waits for a turn at a site. leave: ends it; with True it may serve the site's next job. heard: is told how an
    attempt at a site ended, or the reading of its robots.txt: status and error.
    """

    client: HTTPClient
    resolver: Resolver
    desk: Desk
    options: FetchOptions
    enter: Callable[[Site], Awaitable[None]]
    leave: Callable[[Site, bool], None]
    heard: Callable[[Site, str, str], None]

    async def __call__(self, job: Job, site: Site) -> bool:
        """Whether the job has ended, with its result; False when it has to wait for the site's robots.txt."""
        job.attempts += 1
        try:
            body = await self._follow(job, site)
        except NotYet:
            job.attempts -= 1
            return False
        except Exception as problem:  # noqa: BLE001 - whatever a server does is the row's status
            job.end(*explain(problem, self.options))
        else:
            job.end("success", None, body)
        if job.site:
            self.heard(job.site, job.result.status, job.result.error or "")
        return True

    async def _follow(self, job: Job, site: Site) -> Spooled:
        """The body at the end of the redirects. The deadline's clock stands still while a turn is awaited."""
        url, before = job.url, job.seconds
        for hop in range(self.options.max_redirects + 1):
            job.asks(url)
            job.site = None
            if hop:
                site = await self._turn(url, job, before)
            elif not self._knows(site):
                await self._read(site)
                raise NotYet
            job.site = site
            started = time.perf_counter()
            try:
                self._check_robots(url, site, job)
                answer = await asyncio.wait_for(self._hop(url, job), self._seconds_left(job, before))
            finally:
                job.seconds += time.perf_counter() - started
                self.leave(site, True)
            if isinstance(answer, Spooled):
                return answer
            url = answer
        raise Stop("too_many_redirects", f"more than {self.options.max_redirects} redirects, the last one to {url}")

    def _seconds_left(self, job: Job, before: float) -> float:
        return self.options.timeout_seconds - (job.seconds - before)

    async def _turn(self, url: WebURL, job: Job, before: float) -> Site:
        """A turn at the site that a redirect leads to."""
        started = time.perf_counter()
        try:
            infos = await asyncio.wait_for(self.resolver.lookup(host_of(url)), self._seconds_left(job, before))
        finally:
            job.seconds += time.perf_counter() - started
        site = site_of(url, infos)
        await self.enter(site)
        while not self._knows(site):
            await self._read(site)
            await self.enter(site)
        return site

    def _knows(self, site: Site) -> bool:
        return not self.options.respect_robots_txt or self.desk.rules.of(site.origin) is not None

    async def _read(self, site: Site) -> None:
        """Read the site's robots.txt with the turn that is there, which ends. All hear of it at the next visit, and
        only then is the site asked again."""
        try:
            reading = read_robots(site.origin, self.client, self.resolver)
            robots = await asyncio.wait_for(reading, self.options.timeout_seconds)
        except Exception as problem:  # noqa: BLE001 - whatever a server does is what is known of its file
            status, error = explain(problem, self.options)
            robots = Robots(site.origin, status, error=error)
        finally:
            self.leave(site, False)
        self.desk.rules.read.append(robots)
        self.desk.seen.append(robots)
        self.heard(site, robots.status, robots.error)
        if not robots.failed:
            self.desk.rules.learn(robots)

    def _check_robots(self, url: WebURL, site: Site, job: Job) -> None:
        rules = self.desk.rules.of(site.origin) if self.options.respect_robots_txt else None
        if rules is not None:
            job.robots, job.content_usage = seen(rules, url)
            check_rules(rules, url, self.options)

    async def _hop(self, url: WebURL, job: Job) -> Spooled | WebURL:
        """One request: the body, or the URL that it redirects to."""
        infos = await self.resolver.lookup(host_of(url))  # known: the turn is at its address
        async with self.client.get(url, infos) as answer:
            job.answered(answer)
            head = answer.head
            target = head.location()
            if head.status in _REDIRECTS and target is not None:
                return parse_url(target, url)
            if head.status not in (200, 203):  # 202 is a challenge page, 206 a part of the file
                job.retry_after = asked_seconds(head.first("retry-after"), head.first("date"))
                pause = head.status in (429, 503) and job.retry_after > 0
                raise Stop(f"http_{head.status}", wants_a_pause(host_of(url)) if pause else head.reason)
            self._check_opt_outs(answer)
            body = await answer.read(self.options.max_bytes)
        if not body.size:
            raise Stop("empty", "the body has no bytes")
        return body

    def _check_opt_outs(self, answer: Answer) -> None:
        tags, directives = answer.head.all("x-robots-tag"), self.options.disallowed_header_directives
        if is_disallowed(tags, directives, self.options.user_agent_token):
            raise Stop("disallowed", f"X-Robots-Tag: {', '.join(tags)}"[:300])
        if TDM in directives and is_reserved(answer.head.all("tdm-reservation")):
            raise Stop("disallowed", "TDM-Reservation: 1")
        for name in FIELDS:
            if use := forbidden_use(answer.head.all(name), self.options.disallowed_usages):
                raise Stop("disallowed", f"{name.title()}: no to {use}")


def site_of(url: WebURL, infos: Sequence[AddressInfo]) -> Site:
    """Where a URL's turns are counted. Of several addresses the first in their order as texts: every worker takes the
    same one, in whatever order its name server gives them."""
    return Site(f"{url.scheme}://{url.authority}", host_of(url), min(str(info[4][0]) for info in infos))


def explain(problem: Exception, options: FetchOptions) -> tuple[str, str]:
    """The status word and the message of a failed attempt."""
    if isinstance(problem, Stop):
        return problem.status, str(problem)
    if isinstance(problem, asyncio.TimeoutError):
        return "timeout", f"no whole answer within {options.timeout_seconds:g} s"
    status = next((word for kind, word in _STATUS_OF if isinstance(problem, kind)), "error")
    own = isinstance(problem, BadURL | DNSError | AddressRefused | TooLarge | Truncated)
    # Of a foreign error the beginning: it may quote the whole answer.
    return status, str(problem) if own else f"{type(problem).__name__}: {problem}"[:300]


def seconds_before_retry(job: Job, options: FetchOptions) -> float | None:
    """Seconds until the next attempt, None for no further one."""
    status = job.result.status
    passing = status in ("timeout", "connect", "http_429") or status.startswith("http_5")
    if not passing or job.attempts > options.retries:
        return None
    longest = options.max_backoff_seconds
    return seconds_to_wait(
        str(job.url), job.attempts, first=options.backoff_seconds, longest=longest, asked=job.retry_after
    )


def wants_a_pause(host: str) -> str:
    """The message of a row whose host said so: the same whether this row was asked for or not, since which rows are is
    another matter in every run. `fetches.attempts` tells."""
    return f"{host} asked for a pause"


def storable(text: str | None) -> str | None:
    """Text that a column of strings takes."""
    return text and text.encode("utf-8", "replace").decode()
