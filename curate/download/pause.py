"""A pause that a host asked for, as one worker knows it."""

from __future__ import annotations

import time
from dataclasses import dataclass


@dataclass(frozen=True)
class Pause:
    """status: the answer that the host gave with its wish. until: seconds of time.monotonic."""

    status: str
    until: float

    @classmethod
    def of(cls, status: str, seconds: float) -> Pause:
        """One that begins now."""
        return cls(status, time.monotonic() + seconds)

    def seconds_left(self) -> float:
        """Negative once it is over."""
        return self.until - time.monotonic()
