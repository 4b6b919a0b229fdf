"""robots.txt of a site (RFC 9309): what it lets us ask for, how often, and what it says of the use."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from curate.download.robots_tag import OWN, product
from curate.download.usage import usage_lines, usage_of

#: Bytes of a file that are read; RFC 9309 asks for 500 KiB at least.
MOST_BYTES = 512 * 1024


@dataclass(frozen=True)
class Robots:
    """A site's robots.txt as it was read.

    status: `success`; where there is none `http_<code>`; or what went wrong, as `timeout`, `http_503`: then nothing may
        be asked of the site. text: of the file, cut at MOST_BYTES. error: what went wrong, in words.
    retrieved: seconds since 1970, when it was read.
    """

    origin: str
    status: str
    text: str = ""
    error: str = ""
    retrieved: float = field(default_factory=time.time)

    @property
    def failed(self) -> bool:
        """Whether nobody knows what the file says: another answer than yes or no is a no for now (RFC 9309 2.3.1.4)."""
        return self.status != "success" and not self.is_absent

    @property
    def is_absent(self) -> bool:
        """Whether there is none: all may be asked for. 429 is a wish to be left alone, not an absent file."""
        if self.status == "too_many_redirects":
            return True
        return self.status.startswith("http_") and not self.status.startswith("http_5") and self.status != "http_429"


class Rules:
    """What a robots.txt says to us: to `token` and to `curate` by name, else to all robots.

    >>> rules = Rules(Robots("http://a", "success", "User-agent: *\\nDisallow: /private\\nCrawl-delay: 2"), None)
    >>> rules.allows("http://a/private/1.jpg"), rules.allows("http://a/1.jpg"), rules.delay
    (False, True, 2.0)
    """

    def __init__(self, robots: Robots, token: str | None) -> None:
        self.robots = robots
        named = [product(token)] if token else []
        # `curate` beside another token: only where the file names it, for a group of the token goes before `*`.
        own = not named or f"user-agent: {OWN}" in " ".join(robots.text.lower().split())
        self.names = [*named, *([OWN] if own else [])]

    @cached_property
    def _file(self) -> Any:
        from protego import Protego

        return Protego.parse(self.robots.text)

    @cached_property
    def _usage(self) -> list[tuple[str, str]]:
        return usage_lines(self.robots.text, self.names)

    @cached_property
    def delay(self) -> float:
        """Seconds between two requests that the file asks for."""
        delays = [self._file.crawl_delay(name) for name in self.names] if self.robots.text else []
        return max((float(delay) for delay in delays if delay), default=0.0)

    def allows(self, url: str) -> bool:
        return not self.robots.text or all(self._file.can_fetch(url, name) for name in self.names)

    def usage(self, target: str) -> list[str]:
        """The Content-Usage and Content-Signal lines for a path with its query."""
        return usage_of(self._usage, target) if self._usage else []
