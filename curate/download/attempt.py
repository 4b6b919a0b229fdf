"""One attempt at one URL: its turn at each host, redirects, limits, and the status that comes of it."""

from __future__ import annotations

import asyncio
import ssl
import time
from dataclasses import dataclass, field

from curate.alike.web_url import BadURL, WebURL, host_of, parse_url
from curate.download.address import AddressRefused
from curate.download.answer_body import Truncated
from curate.download.coding import TooLarge
from curate.download.holds import Holds
from curate.download.host_turns import HostTurns
from curate.download.http_client import Answer, HTTPClient
from curate.download.options import FetchOptions
from curate.download.resolver import DNSError, Resolver
from curate.download.robots_tag import TDM, is_disallowed, is_reserved
from curate.download.spooled import Spooled

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

    `seconds` is the time spent on the network over all attempts, without waits for a busy host or a retry.
    """

    status: str
    error: str | None = None
    body: bytes | None = None
    content_type: str | None = None
    http_status: int | None = None
    seconds: float = 0.0
    final_url: str | None = None


class Stop(Exception):
    """The end of an attempt, with its status word."""

    def __init__(self, status: str, error: str) -> None:
        super().__init__(error)
        self.status = status


@dataclass(slots=True)
class Job:
    """One distinct URL of the shard, and what its attempts have found so far; `host` is the one asked last."""

    url: WebURL
    rows: list[int]
    attempts: int = 0
    seconds: float = 0.0
    host: str = ""
    final_url: str | None = None
    http_status: int | None = None
    content_type: str | None = None
    retry_after: str | None = None
    result: Fetched = field(default_factory=lambda: Fetched("error"))
    body: Spooled | None = None

    def end(self, status: str, error: str | None, body: Spooled | None = None) -> None:
        """`result` has no body yet: `body` stays where it is until it is asked for."""
        self.body = body
        words = [storable(text) for text in (error, self.content_type, self.final_url)]
        self.result = Fetched(status, words[0], None, words[1], self.http_status, self.seconds, words[2])


@dataclass(frozen=True, slots=True)
class Attempt:
    """What the attempts of a shard share; called with a job whose turn at its host has come."""

    client: HTTPClient
    resolver: Resolver
    turns: HostTurns[Job]
    holds: Holds
    options: FetchOptions

    async def __call__(self, job: Job) -> Job:
        """The job with its result; never an exception."""
        job.attempts += 1
        try:
            body = await self._follow(job)
        except Exception as problem:  # noqa: BLE001 - whatever a server does is the row's status
            job.end(*explain(problem, self.options))
        else:
            job.end("success", None, body)
        return job

    async def _follow(self, job: Job) -> Spooled:
        """The body at the end of the redirects. The deadline's clock stands still while a host's turn is awaited."""
        url, before = job.url, job.seconds
        for hop in range(self.options.max_redirects + 1):
            host = job.host = host_of(url)
            job.final_url = str(url)
            job.http_status = job.content_type = job.retry_after = None
            if hop:  # the first turn was taken when the job was handed out
                await self._turn(host, job, before)
            started = time.perf_counter()
            try:
                answer = await asyncio.wait_for(self._hop(url, job), self._seconds_left(job, before))
            finally:
                job.seconds += time.perf_counter() - started
                self.turns.leave(host)
            if isinstance(answer, Spooled):
                return answer
            url = answer
        raise Stop("too_many_redirects", f"more than {self.options.max_redirects} redirects, the last one to {url}")

    def _seconds_left(self, job: Job, before: float) -> float:
        return self.options.timeout_seconds - (job.seconds - before)

    async def _turn(self, host: str, job: Job, before: float) -> None:
        """A turn at the host that a redirect leads to."""
        started = time.perf_counter()
        try:
            infos = await asyncio.wait_for(self.resolver.lookup(host), self._seconds_left(job, before))
        finally:
            job.seconds += time.perf_counter() - started
        self.turns.settle(host, str(infos[0][4][0]))
        while seconds := self.holds.seconds_left(host):
            if seconds > self.options.max_backoff_seconds:
                raise Stop(self.holds.status(host), not_asked(host, seconds))
            await asyncio.sleep(seconds)
        await self.turns.enter(host)

    async def _hop(self, url: WebURL, job: Job) -> Spooled | WebURL:
        """One request: the body, or the URL that it redirects to."""
        infos = await self.resolver.lookup(host_of(url))  # known: the turn is at its address
        async with self.client.get(url, infos) as answer:
            head = answer.head
            job.http_status, job.content_type = head.status, head.first("content-type")
            target = head.location()
            if head.status in _REDIRECTS and target is not None:
                return parse_url(target, url)
            if head.status not in (200, 203):  # 202 is a challenge page, 206 a part of the file
                job.retry_after = head.first("retry-after")
                raise Stop(f"http_{head.status}", head.reason)
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


def not_asked(host: str, seconds: float) -> str:
    return f"not asked: {host} asked for a pause of {seconds:.0f} s more"


def storable(text: str | None) -> str | None:
    """Text that a column of strings takes."""
    return text and text.encode("utf-8", "replace").decode()
