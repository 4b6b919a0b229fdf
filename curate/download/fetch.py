"""Fetch a shard's URLs: one status per row, never an exception, under limits of time, size, host and address.

What img2dataset's fetcher lacks, seen on a real server: a deadline over the whole answer (a slow drip outlasts a
socket timeout), a size limit, back-off (it asks three times for a 404), a limit per host, refusal of private addresses.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Container, Sequence
from contextlib import aclosing
from dataclasses import replace

from curate.alike.web_url import WebURL, host_of, parse_url, without_blanks
from curate.download.attempt import Fetched, Job, explain, storable
from curate.download.desk import Desk
from curate.download.fetch_run import FetchRun
from curate.download.http_client import HTTPClient
from curate.download.options import FetchOptions
from curate.download.resolver import Resolver
from curate.download.run_hosts import RunHosts
from curate.download.stored_files import protocol_of, read_files

__all__ = ["FetchOptions", "Fetched", "fetch"]


async def fetch(
    urls: Sequence[str | None], options: FetchOptions, desk: Desk | None = None
) -> AsyncGenerator[tuple[int, Fetched], None]:
    """Yield (row, Fetched) once for every row, in the order in which answers arrive.

    Equal URLs are fetched once and share their body. At most `concurrency` bodies are held besides the one yielded, the
    large ones in temporary files: nothing new is started while finished ones wait for the consumer. The deadline runs
    on this event loop's clock, so a consumer that computes (decodes, resizes) must do it in a thread, or rows time out
    while the loop stands still.
    Close the generator (`contextlib.aclosing`) when leaving early. `desk` carries what is known of hosts from one call
    to the next, and from one worker to the others.
    """
    files = _files(urls, options)
    of_files = {row for rows in files.values() for row in rows}
    by_host, bad = _plan(urls, options, of_files)
    for row, (status, problem) in bad:
        yield row, Fetched(status, storable(problem))
    async with aclosing(read_files(files, options)) as answers:
        async for row, answer in answers:
            yield row, answer
    allowed = options.allow_private_addresses
    client = HTTPClient(user_agent=options.sent_user_agent, allowed=allowed, verify_tls=options.verify_tls)
    resolver = Resolver(allowed, options.timeout_seconds, options.nameservers)
    run = FetchRun(by_host, client, resolver, desk or Desk(RunHosts(**options.of_hosts), options), options)
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


def _files(urls: Sequence[str | None], options: FetchOptions) -> dict[str, list[int]]:
    """Rows by the file that they name, of file systems that the user named."""
    files: dict[str, list[int]] = {}
    for row, text in enumerate(urls) if options.allow_filesystems else ():
        if text is not None and protocol_of(text, options):
            files.setdefault(without_blanks(text), []).append(row)
    return files


def _plan(
    urls: Sequence[str | None], options: FetchOptions, others: Container[int]
) -> tuple[dict[str, list[Job]], list[tuple[int, tuple[str, str]]]]:
    """A job for each distinct URL, by host; and the rows without one, with status and error.

    others: rows that are no web URLs.
    """
    jobs: dict[WebURL, Job] = {}
    bad = []
    for row, text in enumerate(urls):
        if row in others:
            continue
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
