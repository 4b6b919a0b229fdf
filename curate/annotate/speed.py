"""How fast a pass went, and how fast the models alone would have been: a line once it has ended."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Sequence
from functools import reduce

from curate.annotate.one_shard import ShardReport
from curate.messages.counted import counted
from curate.messages.progress import console
from curate.store.cost import Cost


class Speed:
    """What workers told of their shards, added up. tables: names of those that the pass fills."""

    def __init__(self, tables: Sequence[str], clock: Callable[[], float] = time.monotonic):
        self.tables, self._clock, self._since = tables, clock, clock()
        self.rows = 0
        #: By folder.
        self.seconds: Counter[str] = Counter()
        self.costs: dict[str, Cost] = {}
        self._workers: set[str] = set()
        self._began = self._ended = 0.0

    def add(self, report: ShardReport) -> None:
        """Count a shard, as soon as it is finished."""
        if not report.costs:
            return
        self._began = min(report.began, self._began or report.began)
        self._ended = max(report.ended, self._ended)
        self._workers.add(report.worker)
        self.rows += report.rows
        self.seconds.update(report.seconds)
        for folder, cost in report.costs.items():
            self.costs[folder] = self.costs.get(folder, Cost()) + cost

    def line(self) -> str:
        """`clip: 1,640 rows, 14 rows/s on 2 workers; the op alone 19 rows/s (0.74)`; empty where no row was computed.

        The first rate is rows by the wall clocks of the workers, from the begin of the first shard to the end of the
        last one: to start workers and to load models is not in it. The share in brackets is the seconds of all workers
        inside `batch` by their seconds at shards, and the second rate is the first one by that share: what it would be
        if workers did nothing else.
        """
        if not self.rows:
            return ""
        total = reduce(Cost.__add__, self.costs.values(), Cost())
        rate = self.rows / self._wall_seconds()
        workers = counted(len(self._workers), "worker")
        speed = f"{', '.join(self.tables)}: {counted(self.rows, 'row')}, {shown(rate)} rows/s on {workers}"
        alone = "the ops alone" if len(self.tables) > 1 else "the op alone"
        if not total.model_seconds:
            return f"{speed}; {alone} had no row to look at"
        return f"{speed}; {alone} {shown(rate / total.model_share)} rows/s ({total.model_share:.2f})"

    def _wall_seconds(self) -> float:
        """From the first shard's begin to the last one's end: on clocks that may have been set meanwhile, so that only
        what lies within the seconds of this process is believed."""
        here = max(self._clock() - self._since, 1e-9)
        seconds = self._ended - self._began
        return seconds if 0 < seconds <= here else here

    def say(self) -> None:
        """Print the line, if there is one."""
        if line := self.line():
            console.say(line)


def shown(rate: float) -> str:
    """A rate for people: two digits at least.

    >>> shown(0.034), shown(7.04), shown(1234.5)
    ('0.034', '7.0', '1,234')
    """
    return f"{rate:,.0f}" if rate >= 9.95 else f"{rate:.1f}" if rate >= 1 else f"{rate:.2g}"
