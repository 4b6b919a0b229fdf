"""Reading the robots.txt of a site, and keeping in a worker what files said."""

from __future__ import annotations

from collections import OrderedDict

from curate.alike.web_url import host_of, parse_url
from curate.download.http_client import HTTPClient
from curate.download.resolver import Resolver
from curate.download.robots_file import MOST_BYTES, Robots, Rules

#: Files whose rules a worker keeps at hand: a shard's, most times.
AT_HAND = 20_000
#: Redirects of a robots.txt that are followed (RFC 9309 2.3.1.2).
REDIRECTS = 5

_REDIRECTS = frozenset({301, 302, 303, 307, 308})


class SiteRules:
    """What a worker knows of robots.txt files. read: those that it has read and has told nobody of yet."""

    def __init__(self, token: str | None) -> None:
        self._token = token
        self._rules: OrderedDict[str, Rules] = OrderedDict()
        self.read: list[Robots] = []

    def of(self, origin: str) -> Rules | None:
        return self._rules.get(origin)

    def learn(self, robots: Robots) -> Rules:
        rules = self._rules[robots.origin] = Rules(robots, self._token)
        self._rules.move_to_end(robots.origin)
        if len(self._rules) > AT_HAND:
            self._rules.popitem(last=False)
        return rules


async def read_robots(origin: str, client: HTTPClient, resolver: Resolver) -> Robots:
    """A site's robots.txt, MOST_BYTES of it at most (RFC 9309 2.5): what follows is not received. Its redirects are
    followed, to other hosts too, one small request each.

    Raises:
        Exception: whatever `client` and `resolver` raise.
    """
    url = parse_url(f"{origin}/robots.txt")
    for _ in range(REDIRECTS + 1):
        infos = await resolver.lookup(host_of(url))
        async with client.get(url, infos) as answer:
            target = answer.head.location()
            if answer.status in _REDIRECTS and target is not None:
                url = parse_url(target, url)
                continue
            if answer.status not in (200, 203):
                return Robots(origin, f"http_{answer.status}", error=answer.head.reason)
            data = await answer.read_first(MOST_BYTES)
        return Robots(origin, "success", data.decode("utf-8-sig", "replace"))
    return Robots(origin, "too_many_redirects", error=f"more than {REDIRECTS} redirects, the last one to {url}")
