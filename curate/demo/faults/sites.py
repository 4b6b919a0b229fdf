"""The hosts of the fault web: names, addresses, and what each says in its robots.txt."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from dataclasses import dataclass

from curate.demo.faults.answers import code, plain, redirect

#: Addresses of the web; the rest of loopback is a private network for it.
NETWORK = "127.64.0.0/10"
FIRST_ADDRESS = 127 << 24 | 64 << 16
DOMAIN = "faults.test"
#: Names that lead out of the web.
ASTRAY = {f"name-of-loopback.{DOMAIN}": "127.0.0.1", f"name-of-metadata.{DOMAIN}": "169.254.169.254"}
#: Names that one address of a shared machine has.
NAMES_OF_ADDRESS = 4

_STAR = b"User-agent: *\nDisallow: /\n"
_HUGE = _STAR + b"# and so on\n" * 170_000

#: Sorts of sites that nobody listens at, or that do not get as far as a request.
UNBOUND, MUTE, RESET = "refused", "mute", "reset"


@dataclass(frozen=True)
class Site:
    """sort: a key of SORTS. host: as it stands in URLs, without the port."""

    host: str
    address: str
    sort: str


@dataclass(frozen=True)
class Sort:
    """
    share: sites, where 1 is a site of each hundred; at least one. robots: the answer to robots.txt, from the port and
    the host of a site that forbids all. forbids: whether nothing else may be asked for.
    """

    share: float = 0.5
    robots: Callable[[int, str], bytes] | None = None
    forbids: bool = False


def _file(text: bytes, headers: bytes = b"") -> Callable[[int, str], bytes]:
    return lambda port, other: plain(text, headers)


SORTS: dict[str, Sort] = {
    "plain": Sort(60),
    "slow": Sort(3),
    "shared": Sort(4),
    "dripping": Sort(4),
    "pausing": Sort(2),
    "pausing_by_date": Sort(2),
    "long_pause": Sort(),
    "robots_allows": Sort(robots=_file(b"User-agent: otherbot\nDisallow: /\n\nUser-agent: *\nDisallow: /private\n")),
    "robots_page": Sort(robots=_file(b"<!doctype html><p>Welcome to our site</p>")),
    "robots_loop": Sort(robots=lambda port, other: redirect("/robots.txt", 301)),
    "robots_403": Sort(robots=lambda port, other: code(403)),
    "robots_delay": Sort(robots=_file(b"User-agent: *\nCrawl-delay: 0.5\n")),
    "robots_star": Sort(1, _file(_STAR), forbids=True),
    "robots_curate": Sort(robots=_file(b"User-agent: *\nAllow: /\n\nUser-Agent: curate\nDisallow: /\n"), forbids=True),
    "robots_path": Sort(robots=_file(b"User-agent: *\nAllow: /\nDisallow: /*.jpg$\n"), forbids=True),
    "robots_mark": Sort(robots=_file(b"\xef\xbb\xbf" + _STAR.replace(b"\n", b"\r\n")), forbids=True),
    "robots_gzip": Sort(robots=_file(gzip.compress(_STAR), b"Content-Encoding: gzip\r\n"), forbids=True),
    "robots_huge": Sort(robots=_file(_HUGE), forbids=True),
    "robots_moved": Sort(robots=lambda port, other: redirect("/moved/robots.txt", 301), forbids=True),
    "robots_moved_away": Sort(robots=lambda port, other: redirect(f"http://{other}:{port}/robots.txt"), forbids=True),
    "robots_usage": Sort(robots=_file(b"User-agent: *\nContent-Usage: train-ai=n\nAllow: /\n"), forbids=True),
    "robots_signal": Sort(robots=_file(b"User-agent: *\nContent-Signal: ai-train=no\nAllow: /\n"), forbids=True),
    "robots_500": Sort(robots=lambda port, other: code(500), forbids=True),
    "robots_429": Sort(robots=lambda port, other: code(429), forbids=True),
    "robots_silent": Sort(forbids=True),
    "not_tls": Sort(forbids=True),
    UNBOUND: Sort(),
    RESET: Sort(),
    MUTE: Sort(),
}

#: What stands at /moved/robots.txt.
MOVED = plain(_STAR)


def sites_of(count: int, named: bool) -> list[Site]:
    """So many hosts; of each sort one at least.

    named: whether hosts have names below DOMAIN, and machines several; else each has an address of its own, and is it.
    """
    numbers = {name: max(1, round(count * sort.share / 100)) for name, sort in SORTS.items()}
    numbers["plain"] += count - sum(numbers.values())
    if numbers["plain"] < 1:
        raise SystemExit(f"a fault web needs {count - numbers['plain'] + 1} hosts at least, got {count}")
    sites: list[Site] = []
    for sort, number in numbers.items():
        for one in range(number):
            address = _address(len(sites) - (one % NAMES_OF_ADDRESS if named and sort == "shared" else 0))
            host = f"{sort.replace('_', '-')}-{one}.{DOMAIN}" if named else address
            sites.append(Site(host, address, sort))
    return sites


def _address(number: int) -> str:
    """The last byte is never 0 or 255: programs take these for networks.

    >>> _address(0), _address(254)
    ('127.64.0.1', '127.64.1.1')
    """
    value = FIRST_ADDRESS + number // 254 * 256 + number % 254 + 1
    return ".".join(str(value >> shift & 255) for shift in (24, 16, 8, 0))
