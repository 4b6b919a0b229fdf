"""Every kind of row in the fault web: its share, what a good downloader makes of it, and how often it may ask."""

from __future__ import annotations

from dataclasses import dataclass

from curate.demo.faults.answers import BROKEN, ODD
from curate.demo.faults.pictures import FILES

#: What is asked for again: the others would answer alike.
RETRIED = ("timeout", "connect", "http_429", "http_5")


@dataclass(frozen=True)
class Kind:
    """
    status: what the row ends with. about: a few words for reports. share: rows, where 1 is a row of each 200.
    site: the sort of site that its rows are at. asked: requests for the URL in one attempt; 0 where it must not be
        asked for. fails: attempts that are answered 503 before one is served. again: whether one may be lost.
        named: a kind of webs whose hosts have names.
    """

    status: str
    about: str
    share: float = 1.0
    site: str = "plain"
    asked: int = 1
    fails: int = 0
    again: bool = False
    named: bool = False

    def most_asked(self, retries: int) -> int:
        """Requests that a run may make for the URL."""
        again = self.again or self.fails or self.status.startswith(RETRIED)
        return self.asked * (1 + retries if again else 1)


def _at_sites() -> dict[str, Kind]:
    """Kinds whose site as a whole decides; sort of site and kind have one name."""
    sites = {
        "robots_allows": ("success", "robots.txt that forbids others only", 1),
        "robots_page": ("success", "a web page in the place of robots.txt", 1),
        "robots_loop": ("success", "robots.txt that is redirected for ever", 1),
        "robots_403": ("success", "robots.txt that answers 403", 1),
        "robots_delay": ("success", "robots.txt with Crawl-delay: 0.5", 1),
        "robots_star": ("robots_disallowed", "robots.txt that forbids all robots", 0),
        "robots_curate": ("robots_disallowed", "robots.txt that forbids curate", 0),
        "robots_path": ("robots_disallowed", "robots.txt that forbids *.jpg$", 0),
        "robots_mark": ("robots_disallowed", "robots.txt with a byte order mark", 0),
        "robots_gzip": ("robots_disallowed", "robots.txt packed though nobody asked", 0),
        "robots_huge": ("robots_disallowed", "robots.txt of 2 MB, forbidding at its begin", 0),
        "robots_moved": ("robots_disallowed", "robots.txt behind a redirect", 0),
        "robots_moved_away": ("robots_disallowed", "robots.txt at another host", 0),
        "robots_usage": ("disallowed", "Content-Usage: train-ai=n in robots.txt", 0),
        "robots_signal": ("disallowed", "Content-Signal: ai-train=no in robots.txt", 0),
        "robots_500": ("http_500", "robots.txt that answers 500", 0),
        "robots_429": ("http_429", "robots.txt that answers 429", 0),
        "robots_silent": ("timeout", "robots.txt that never comes", 0),
        "refused": ("connect", "nobody listens", 0),
        "reset": ("connect", "accepts and resets", 0),
        "mute": ("timeout", "accepts and says nothing", 0),
        "not_tls": ("tls", "https, answered without TLS", 0),
        "long_pause": ("http_429", "429 with Retry-After: 3600", 1),
    }
    return {name: Kind(status, about, site=name, asked=asked) for name, (status, about, asked) in sites.items()}


def _kinds() -> dict[str, Kind]:
    kinds = {
        "ok": Kind("success", "picture", 60),
        "slow": Kind("success", "picture of a slow host", 10, site="slow"),
        "shared": Kind("success", "picture of one of many names of an address", 5, site="shared"),
        "pausing": Kind("success", "picture of a host that asks for a pause", 4, site="pausing", again=True),
        "pausing_by_date": Kind("success", "the same, with 503 and a date", 4, site="pausing_by_date", again=True),
        "fails_once": Kind("success", "503, then a picture", 3, fails=1),
        "fails_often": Kind("http_503", "503, more often than is asked", fails=99),
        "redirect": Kind("success", "redirect to a picture", 3),
        "redirect_away": Kind("success", "redirect to another host", 3),
        "redirect_thrice": Kind("success", "three redirects in a row", 1),
        "redirect_loop": Kind("too_many_redirects", "redirect to itself", 1, asked=6),
        "redirect_long": Kind("too_many_redirects", "seven redirects in a row", 1),
        "redirect_metadata": Kind("address_refused", "redirect to a cloud's metadata service", 1),
        "redirect_loopback": Kind("address_refused", "redirect to this machine", 1),
        "redirect_file": Kind("bad_url", "redirect to file:///etc/passwd", 1),
        "redirect_forbidden": Kind("robots_disallowed", "redirect to what a robots.txt forbids", 1),
        "redirect_refused": Kind("connect", "redirect to where nobody listens", 1),
        "silent": Kind("timeout", "no answer", 1, site="dripping"),
        "drip": Kind("timeout", "a byte now and then", 20, site="dripping"),
        "header_drip": Kind("timeout", "a header now and then, without end", 1, site="dripping"),
        "header_flood": Kind("error", "headers without end", 1),
        "large_declared": Kind("too_large", "1 GB, as declared", 1),
        "large": Kind("too_large", "1 GB, not declared", 1),
        "large_chunked": Kind("too_large", "1 GB in chunks", 1),
        "port_refused": Kind("connect", "a port at which nobody listens", 1, asked=0),
        "dns_missing": Kind("dns", "a name that there is not", 2, asked=0, named=True),
        "dns_servfail": Kind("dns", "a name whose server fails", 1, asked=0, named=True),
        "dns_unanswered": Kind("dns", "a name whose server says nothing", 2, asked=0, named=True),
        "name_of_loopback": Kind("address_refused", "a name that leads to this machine", 1, asked=0, named=True),
        "name_of_metadata": Kind("address_refused", "a name of a cloud's metadata service", 1, asked=0, named=True),
        "bad_url": Kind("bad_url", "no URL, or none of http", 3, asked=0),
        "private": Kind("address_refused", "an address of a private network", 1, asked=0),
        "loopback": Kind("address_refused", "this machine's own address", 1, asked=0),
    }
    kinds |= _at_sites()
    kinds |= {f"odd_{name}": Kind("success", f"picture with {about}", 0.5) for name, (about, _) in ODD.items()}
    kinds |= {name: Kind(status, about) for name, (status, about, _) in {**BROKEN, **FILES}.items()}
    return kinds


KINDS: dict[str, Kind] = _kinds()
