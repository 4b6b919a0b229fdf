"""A worker's way to what all workers of a run know of hosts: in this process, or an actor of Ray."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import time
from collections import Counter
from typing import Any

from curate.download.failing import Streaks
from curate.download.options import FetchOptions
from curate.download.robots_file import Robots
from curate.download.robots_reader import SiteRules
from curate.download.run_hosts import Ask, Reply, RunHosts
from curate.download.tally import Tally

#: Seconds between two visits to an actor, at least; and how many times as long as a visit takes, so that an actor with
#: very many workers is asked less often by each.
PACE_SECONDS, PACE_OF_VISIT = 0.02, 4.0
#: Seconds after which a worker comes by, whatever happens: it may have turns at a host that asked others for a pause,
#: and what came of its rows is counted.
HEARTBEAT_SECONDS = 1.0


class Desk:
    """
    hosts: a RunHosts, or a Ray actor of one. rules: of the robots.txt files that this worker knows. seen: the files
    that this worker has read itself, until somebody stores them. streaks: attempts without an answer. unasked: rows
    that were not asked for as their host does not answer, by host, until somebody takes them. tally: what came of rows
    since the last visit.
    """

    def __init__(self, hosts: Any, options: FetchOptions) -> None:
        self.hosts = hosts
        self.worker = secrets.token_hex(8)
        self.rules = SiteRules(options.user_agent_token)
        self.seen: list[Robots] = []
        self.streaks = Streaks()
        self.unasked: Counter[str] = Counter()
        self.tally = Tally()
        self.is_here = isinstance(hosts, RunHosts)
        self._seconds, self._hurries = 0.0, False
        self._nap: asyncio.Future[None] | None = None

    async def visit(self, ask: Ask) -> Reply:
        if self.is_here:
            reply: Reply = self.hosts.visit(ask)
            return reply
        began, self._hurries = time.monotonic(), False
        reply = await self.hosts.visit.remote(ask)
        self._seconds = 0.8 * self._seconds + 0.2 * (time.monotonic() - began)
        return reply

    async def rest(self) -> None:
        """Until the next visit may be made."""
        if not self.is_here and not self._hurries:
            self._nap = asyncio.get_running_loop().create_future()
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self._nap, max(PACE_SECONDS, PACE_OF_VISIT * self._seconds))

    def hurry(self) -> None:
        """The next visit does not wait: what is to be said matters to all workers now."""
        self._hurries = True
        if self._nap and not self._nap.done():
            self._nap.set_result(None)
