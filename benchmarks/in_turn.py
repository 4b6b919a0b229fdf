"""Ways to do one thing, measured in turn: a slow minute of the machine falls on all of them."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from typing import Any


def processor_seconds(ways: Mapping[str, Callable[[], Any]], rounds: int, warm: int = 0) -> dict[str, float]:
    """Median seconds of the processor of each way. warm: rounds before them that do not count, where a way compiles."""
    times: dict[str, list[float]] = {name: [] for name in ways}
    for number in range(warm + rounds):
        for name, way in ways.items():
            start = time.process_time()
            way()
            if number >= warm:
                times[name].append(time.process_time() - start)
    return {name: statistics.median(taken) for name, taken in times.items()}
