"""What a site's robots.txt means for one URL."""

from __future__ import annotations

from curate.alike.web_url import WebURL
from curate.download.options import FetchOptions
from curate.download.robots_file import Rules
from curate.download.usage import forbidden_use


class Stop(Exception):
    """The end of an attempt, with its status word."""

    def __init__(self, status: str, error: str) -> None:
        super().__init__(error)
        self.status = status


def seen(rules: Rules, url: WebURL) -> tuple[str, str | None]:
    """What a row keeps of its site's robots.txt: whether it allows the URL, and what it says of the use."""
    allowed = "none" if rules.robots.is_absent else "allowed" if rules.allows(url.href) else "forbidden"
    return allowed, "; ".join(f"robots.txt: {line}" for line in rules.usage(url.target)) or None


def check_rules(rules: Rules, url: WebURL, options: FetchOptions) -> None:
    """
    Raises:
        Stop: when the site's robots.txt forbids the URL, or its use.
    """
    if not rules.allows(url.href):
        raise Stop("robots_disallowed", f"{rules.robots.origin}/robots.txt forbids {url.target[:200]}")
    if use := forbidden_use(rules.usage(url.target), options.disallowed_usages):
        raise Stop("disallowed", f"{rules.robots.origin}/robots.txt says no to {use}")
