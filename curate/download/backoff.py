"""Waits before another attempt at a server that failed: doubling, spread out, and never sooner than it asked for."""

import email.utils
import time
import zlib


def seconds_to_wait(key: str, failures: int, *, first: float, longest: float, asked: float = 0.0) -> float | None:
    """Seconds until the next attempt after the n-th failure, None when the server asked for more than `longest`.

    Giving up is politer than to come back earlier than it said. The spread (half to one and a half) comes from the
    key, so that a rerun behaves alike.

    >>> seconds_to_wait("http://a/", 1, first=1, longest=30, asked=7.0)
    7.0
    """
    if asked > longest:
        return None
    spread = 0.5 + zlib.crc32(f"{key} {failures}".encode("utf-8", "replace")) / 2**32
    return max(asked, min(first * 2.0 ** (failures - 1) * spread, longest))


def asked_seconds(retry_after: str | None, date: str | None = None) -> float:
    """Retry-After is a number of seconds or an HTTP date; anything else asks for nothing.

    date: the answer's own. With it the clock of this machine, which may be wrong or jump, does not matter.

    >>> asked_seconds("Wed, 21 Oct 2015 07:28:20 GMT", date="Wed, 21 Oct 2015 07:28:00 GMT")
    20.0
    """
    if retry_after is None:
        return 0.0
    if retry_after.strip().isdecimal():
        return float(retry_after)
    try:
        return max(0.0, _timestamp(retry_after) - (_timestamp(date) if date else time.time()))
    except Exception:  # noqa: BLE001 - the standard library has more errors for odd dates than it names
        return 0.0


def _timestamp(date: str) -> float:
    return email.utils.parsedate_to_datetime(date).timestamp()
