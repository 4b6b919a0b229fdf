"""Fetch a shard's URLs: one status per row, never an exception, under limits of time, size, host and address.

What img2dataset's fetcher lacks, seen on a real server: a deadline over the whole answer (a slow drip outlasts a
socket timeout), a size limit, back-off (it asks three times for a 404), a limit per host, refusal of private addresses.
"""

import asyncio
import ssl
import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Annotated

import aiohttp
from pydantic import BaseModel, ConfigDict, Field, IPvAnyNetwork, field_validator
from yarl import URL

from curate.web.address import AddressRefused
from curate.web.backoff import seconds_to_wait
from curate.web.host_turns import HostTurns
from curate.web.http_session import http_session
from curate.web.robots_tag import TDM, is_disallowed, is_reserved
from curate.web.web_url import BadURL, WebURL, host_of, parse_url

STATUS = {
    "success": "the whole body arrived",
    "bad_url": "null, empty, no host, or not http(s), in the row or in a redirect",
    "address_refused": "the host is a loopback, private, link-local, reserved or multicast address",
    "dns": "the host name does not resolve",
    "connect": "no connection: refused, reset or unreachable",
    "tls": "the certificate or the TLS handshake failed",
    "timeout": "no whole answer within timeout_seconds",
    "truncated": "the connection ended before the declared length",
    "too_large": "more than max_bytes, declared or received",
    "empty": "the body has no bytes",
    "disallowed": "an X-Robots-Tag or TDM-Reservation header forbids the use",
    "too_many_redirects": "more than max_redirects redirects",
    "http_<code>": "the server answered with that code: http_404, http_503, ...",
    "error": "anything else; the message says what",
}
_REDIRECTS = frozenset({301, 302, 303, 307, 308})


_STATUS_OF: list[tuple[tuple[type[Exception], ...], str]] = [  # the first that fits: later ones are more general
    ((aiohttp.ClientConnectorDNSError,), "dns"),
    ((ssl.SSLError, aiohttp.ClientSSLError), "tls"),
    ((BadURL, aiohttp.InvalidURL, UnicodeError), "bad_url"),  # UnicodeError: a host that no DNS query can carry
    ((aiohttp.ClientConnectionError, OSError), "connect"),
]


class FetchOptions(BaseModel):
    """How a shard is fetched. Names and defaults are img2dataset's where it has the option."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    timeout_seconds: float = Field(default=10, gt=0)  # one attempt as a whole: DNS, connect, redirects, body
    retries: int = Field(default=0, ge=0)  # only after timeout, connect, http_429 and http_5xx
    backoff_seconds: float = Field(default=1, ge=0)  # before the first retry; doubles each time
    max_backoff_seconds: float = Field(
        default=30, ge=0
    )  # a longer Retry-After is not waited for: the row keeps its status
    max_bytes: int = Field(default=50_000_000, gt=0)
    concurrency: int = Field(default=64, gt=0)
    per_host: int = Field(default=16, gt=0)
    user_agent: Annotated[str, Field(min_length=1)] = "Mozilla/5.0 (compatible; curate; image-text dataset builder)"
    user_agent_token: str | None = None  # who runs the crawl: sent with the user agent, matched in X-Robots-Tag
    user_agent_contact: str | None = (
        None  # where its people are reached (a page or an address): sent with the user agent
    )
    disallowed_header_directives: tuple[str, ...] = ("noai", "noimageai", "noindex", "noimageindex", TDM)
    allow_private_addresses: tuple[IPvAnyNetwork, ...] = ()
    max_redirects: int = Field(default=5, ge=0)
    verify_tls: bool = True

    @field_validator("user_agent", "user_agent_token", "user_agent_contact")
    @classmethod
    def _fits_a_header(cls, value: str | None) -> str | None:
        if value is not None and not (value.isascii() and value.isprintable()):
            raise ValueError(f"only printable ASCII can be sent in a header, got {value!r}")
        return value

    @field_validator("disallowed_header_directives")
    @classmethod
    def _lower_case(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(directive.strip().lower() for directive in value)

    @property
    def sent_user_agent(self) -> str:
        """The User-Agent header: who asks, for whom, and where they are reached."""
        token = f" ({self.user_agent_token})" if self.user_agent_token else ""
        contact = f" (+{self.user_agent_contact})" if self.user_agent_contact else ""
        return self.user_agent + token + contact


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


class _Stop(Exception):
    def __init__(self, status: str, error: str) -> None:
        super().__init__(error)
        self.status = status


@dataclass(slots=True)
class _Job:
    """One distinct URL of the shard, and what its attempts have found so far."""

    url: WebURL
    rows: list[int]
    attempts: int = 0
    seconds: float = 0.0
    final_url: str | None = None
    http_status: int | None = None
    content_type: str | None = None
    retry_after: str | None = None
    result: Fetched = field(default_factory=lambda: Fetched("error"))


async def fetch(urls: Sequence[str | None], options: FetchOptions) -> AsyncGenerator[tuple[int, Fetched], None]:
    """Yield (row, Fetched) once for every row, in the order in which answers arrive.

    Equal URLs are fetched once and share their body. At most `concurrency` bodies are held besides the one yielded:
    nothing new is started while finished ones wait for the consumer. The deadline runs on this event loop's clock, so
    a consumer that computes (decodes, resizes) must do it in a thread, or rows time out while the loop stands still.
    Close the generator (`contextlib.aclosing`) when leaving early.
    """
    turns: HostTurns[_Job] = HostTurns(options.per_host)
    distinct, bad = _plan(urls, turns, options)
    for row, (status, problem) in bad:
        yield row, Fetched(status, _storable(problem))
    opened = http_session(
        user_agent=options.sent_user_agent,
        allowed=options.allow_private_addresses,
        verify_tls=options.verify_tls,
        dns_threads=options.concurrency,
    )
    async with opened as session, aclosing(_run(session, turns, distinct, options)) as done:
        async for job in done:
            for row in job.rows:
                yield row, job.result


def _plan(
    urls: Sequence[str | None], turns: HostTurns[_Job], options: FetchOptions
) -> tuple[int, list[tuple[int, tuple[str, str]]]]:
    """Queue a job for each distinct URL; how many, and the rows without one. `turns` alone keeps the jobs: a finished
    job carries a body, so any other list of them would hold the whole shard in memory.
    """
    jobs: dict[WebURL, _Job] = {}
    bad = []
    for row, text in enumerate(urls):
        try:
            url = parse_url(text)
        except Exception as problem:  # noqa: BLE001 - a row's URL is the row's affair, whatever a parser makes of it
            bad.append((row, _explain(problem, options)))
            continue
        if url in jobs:
            jobs[url].rows.append(row)
        else:
            jobs[url] = _Job(url, [row])
    for job in jobs.values():
        turns.add(host_of(job.url), job)
    return len(jobs), bad


async def _run(
    session: aiohttp.ClientSession, turns: HostTurns[_Job], left: int, options: FetchOptions
) -> AsyncGenerator[_Job, None]:
    """Finished jobs. Done tasks count as running until they are taken: that is the backpressure."""
    events: asyncio.Queue[asyncio.Task[_Job] | None] = asyncio.Queue()  # None: a retry has become due
    running: set[asyncio.Task[_Job]] = set()

    def start() -> None:
        while len(running) < options.concurrency and (job := turns.take()):
            task = asyncio.create_task(_attempt(session, turns, job, options))
            running.add(task)
            task.add_done_callback(events.put_nowait)

    def again(job: _Job) -> None:
        turns.add(host_of(job.url), job)
        events.put_nowait(None)

    try:
        while left:
            start()
            task = await events.get()
            if task is None:
                continue
            running.discard(task)
            job = task.result()
            wait_seconds = _wait_before_retry(job, options)
            if wait_seconds is not None:
                asyncio.get_running_loop().call_later(wait_seconds, again, job)
                continue
            left -= 1
            start()
            yield job
            await asyncio.sleep(0)  # a full queue never suspends: without this the network would stand still
    finally:
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)


async def _attempt(session: aiohttp.ClientSession, turns: HostTurns[_Job], job: _Job, options: FetchOptions) -> _Job:
    job.attempts += 1
    body = None
    try:
        body = await _follow(session, turns, job, options)
        status, error = "success", None
    except Exception as problem:  # noqa: BLE001 - whatever a server does is the row's status
        status, error = _explain(problem, options)
    words = [_storable(text) for text in (error, job.content_type, job.final_url)]
    job.result = Fetched(status, words[0], body, words[1], job.http_status, job.seconds, words[2])
    return job


def _storable(text: str | None) -> str | None:
    """Headers come with lone surrogates for bytes that are not UTF-8; a column of strings would refuse them."""
    return text and text.encode("utf-8", "replace").decode()


async def _follow(session: aiohttp.ClientSession, turns: HostTurns[_Job], job: _Job, options: FetchOptions) -> bytes:
    """The body at the end of the redirects. The deadline's clock stands still while a host's turn is awaited."""
    url, clock = job.url, job.seconds
    for hop in range(options.max_redirects + 1):
        host = host_of(url)
        if hop:  # the first turn was taken when the job was handed out
            await turns.enter(host)
        started = time.perf_counter()
        try:
            job.final_url = str(url)
            job.http_status = job.content_type = job.retry_after = None
            left_seconds = options.timeout_seconds - (job.seconds - clock)
            answer = await asyncio.wait_for(_hop(session, url, job, options), left_seconds)
        finally:
            job.seconds += time.perf_counter() - started
            turns.leave(host)
        if isinstance(answer, bytes):
            return answer
        url = answer
    raise _Stop("too_many_redirects", f"more than {options.max_redirects} redirects, the last one to {url}")


async def _hop(session: aiohttp.ClientSession, url: WebURL, job: _Job, options: FetchOptions) -> bytes | WebURL:
    """One request: the body, or the URL that it redirects to."""
    async with session.get(URL(url.href, encoded=True), allow_redirects=False) as response:
        headers = response.headers
        job.http_status, job.content_type = response.status, headers.get("Content-Type")
        if response.status in _REDIRECTS and "Location" in headers:
            return parse_url(headers["Location"], url)
        if response.status not in (200, 203):  # 202 is a challenge page, 206 a part of the file
            job.retry_after = headers.get("Retry-After")
            raise _Stop(f"http_{response.status}", response.reason or "")
        tags, directives = headers.getall("X-Robots-Tag", []), options.disallowed_header_directives
        if is_disallowed(tags, directives, options.user_agent_token):
            raise _Stop("disallowed", f"X-Robots-Tag: {', '.join(tags)}"[:300])
        if TDM in directives and is_reserved(headers.getall("TDM-Reservation", [])):
            raise _Stop("disallowed", "TDM-Reservation: 1")
        if (response.content_length or 0) > options.max_bytes:
            raise _Stop("too_large", f"{response.content_length} bytes declared, at most {options.max_bytes} taken")
        chunks, size = [], 0
        try:
            async for chunk in response.content.iter_any():
                chunks.append(chunk)
                size += len(chunk)
                if size > options.max_bytes:
                    raise _Stop("too_large", f"more than {options.max_bytes} bytes received")
        except (aiohttp.ClientPayloadError, aiohttp.ClientConnectionError, ConnectionError) as problem:
            raise _Stop("truncated", f"ended after {size} bytes: {problem}") from problem
        if not size:
            raise _Stop("empty", "the body has no bytes")
        return b"".join(chunks)


def _explain(problem: Exception, options: FetchOptions) -> tuple[str, str]:
    """The status word and the message of a failed attempt."""
    message = f"{type(problem).__name__}: {problem}"[:300]  # of a foreign error: it may quote the whole answer
    match problem:
        case BadURL():
            return "bad_url", str(problem)
        case _Stop():
            return problem.status, str(problem)
        case asyncio.TimeoutError():
            return "timeout", f"no whole answer within {options.timeout_seconds:g} s"
        case aiohttp.ClientConnectorError(os_error=AddressRefused()):
            return "address_refused", f"{problem.host}: {problem.os_error}"
    return next((word for kinds, word in _STATUS_OF if isinstance(problem, kinds)), "error"), message


def _wait_before_retry(job: _Job, options: FetchOptions) -> float | None:
    """Seconds until the next attempt, None for no further one."""
    status = job.result.status
    passing = status in ("timeout", "connect", "http_429") or status.startswith("http_5")
    if not passing or job.attempts > options.retries:
        return None
    longest = options.max_backoff_seconds
    return seconds_to_wait(
        str(job.url), job.attempts, first=options.backoff_seconds, longest=longest, retry_after=job.retry_after
    )
