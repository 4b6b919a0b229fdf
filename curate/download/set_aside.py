"""The rows of a shard whose hosts do not answer: they wait until nothing else is to be done, then a few try again."""

from __future__ import annotations

import asyncio
import time
from collections import Counter, deque

from curate.download.attempt import Job
from curate.download.failing import REST_SECONDS, SIGNS, TRIALS, Failure, Streaks
from curate.download.robots_check import Stop
from curate.download.run_hosts import Site
from curate.download.site_turns import SiteTurns

#: What may wait for a turn: a job, or a job's redirect.
Item = Job | asyncio.Future[None]


class SetAside:
    """
    turns: of the shard. streaks: of the worker. unasked: rows that end without being asked for, counted by host.
    failing: what is to be told to all workers, as `Ask.failing`; answering: likewise. tried: hosts and addresses that
    rows of this shard tried at its end.
    """

    def __init__(self, turns: SiteTurns[Item], streaks: Streaks, unasked: Counter[str]) -> None:
        self._turns, self._streaks, self._unasked = turns, streaks, unasked
        self._failures: dict[str, Failure] = {}
        self._jobs: dict[Site, deque[Job]] = {}
        self.failing: dict[str, tuple[str, str, bool]] = {}
        self.answering: set[str] = set()
        self.tried: set[str] = set()

    @property
    def has_news(self) -> bool:
        return bool(self.failing or self.answering)

    # ---- what came of attempts ----

    def heard(self, site: Site, status: str, error: str) -> None:
        """An attempt at the site, or at its robots.txt, has ended."""
        if status in SIGNS:
            for key in site.keys:
                # One that is tried at the end is judged when all rows that try it are back.
                if self._streaks.failed(key) and not (key in self._failures and self._failures[key].rests):
                    tried = key in self._failures or key in self.tried
                    self.failing[key] = status, error, tried
                    self._set_aside(key, Failure(status, error, time.monotonic() + REST_SECONDS, tried))
        elif status != "robots_disallowed":  # known before: nothing was asked
            for key in site.keys:
                self._streaks.answered(key)
                if self._failures.pop(key, None):
                    self.answering.add(key)
                    self.failing.pop(key, None)
                    self._bring_back()

    def learn(self, key: str, status: str, error: str, seconds: float, tried: bool) -> None:
        """What other workers have seen."""
        self._streaks.is_on_trial(key)
        if seconds > 0:
            self._set_aside(key, Failure(status, error, time.monotonic() + seconds, tried))

    def _set_aside(self, key: str, failure: Failure) -> None:
        self._failures[key] = failure
        for site in self._turns.at(key):
            for item in self._turns.drop(site):
                if isinstance(item, Job):
                    self._jobs.setdefault(site, deque()).append(item)
                elif not item.done():
                    item.set_exception(Stop(failure.status, failure.error))

    def _bring_back(self) -> None:
        for site in [site for site in self._jobs if self._failure(site) is None]:
            for job in self._jobs.pop(site):
                self._turns.add(site, job)

    # ---- rows that would ask ----

    def _failure(self, site: Site) -> Failure | None:
        """Why the site's rows wait, None when they do not."""
        return next((self._failures[key] for key in site.keys if key in self._failures), None)

    def takes(self, site: Site, job: Job) -> bool:
        """Whether the job has to wait for the end of the shard."""
        if self._failure(site) is None:
            return False
        self._jobs.setdefault(site, deque()).append(job)
        return True

    def check(self, site: Site) -> None:
        """
        Raises:
            Stop: for a redirect to a site that is set aside and has not rested.
        """
        failure = self._failure(site)
        if failure and failure.rests:
            raise Stop(failure.status, failure.error)

    # ---- when nothing else is to be done ----

    def at_end(self) -> list[Job]:
        """Rows of hosts that may be tried get a turn; the others end, as the host's last attempt ended or as their own
        did."""
        due = [key for key, failure in self._failures.items() if not (failure.tried and failure.rests)]
        due = [key for key in due if key not in self.tried]
        self.tried.update(due)
        tries: Counter[str] = Counter()
        for key in due:
            self._try(key, tries)
        if tries:
            return []
        ended = []
        for site, jobs in self._jobs.items():
            failure = self._failure(site)
            assert failure
            for key in self.tried.intersection(site.keys) & self._failures.keys():
                self.failing[key] = failure.status, failure.error, True
            for job in jobs:
                if not job.attempts:
                    job.asks(job.url)
                    job.end(failure.status, failure.error)
                    self._unasked[site.host] += len(job.rows)
                ended.append(job)
        self._jobs.clear()
        return ended

    def _try(self, key: str, tries: Counter[str]) -> None:
        """Give a few rows back to the turns. tries: how many each key has."""
        for site in [site for site in self._jobs if key in site.keys]:
            jobs = self._jobs[site]
            while jobs and tries[key] < TRIALS:
                self._turns.add(site, jobs.popleft())
                tries.update(site.keys)
            if not jobs:
                del self._jobs[site]
