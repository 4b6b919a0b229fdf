"""Waits before another attempt at a server that failed: doubling, spread out, and never sooner than it asked for."""

import email.utils
import time
import zlib


def seconds_to_wait(key: str, failures: int, *, first: float, longest: float, retry_after: str | None) -> float | None:
    """Seconds until the next attempt after the n-th failure, None when the server asks for more than `longest`.

    Giving up is politer than to come back earlier than it said. The spread (half to one and a half) comes from the
    key, so that a rerun behaves alike.

    >>> seconds_to_wait("http://a/", 1, first=1, longest=30, retry_after="7")
    7.0
    """
    asked = asked_seconds(retry_after)
    if asked > longest:
        return None
    spread = 0.5 + zlib.crc32(f"{key} {failures}".encode("utf-8", "replace")) / 2**32
    return max(asked, min(first * 2.0 ** (failures - 1) * spread, longest))


def asked_seconds(retry_after: str | None) -> float:
    """Retry-After is a number of seconds or an HTTP date; anything else asks for nothing."""
    if retry_after is None:
        return 0.0
    if retry_after.strip().isdecimal():
        return float(retry_after)
    try:
        return max(0.0, email.utils.parsedate_to_datetime(retry_after).timestamp() - time.time())
    except Exception:  # noqa: BLE001 - the standard library has more errors for odd dates than it names
        return 0.0
