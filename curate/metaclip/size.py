"""From a wanted number of captions to the threshold t: the expected size grows with t, so it is bracketed and narrowed.

Each pass over the pool evaluates the expected size at many thresholds at once (`expected_rows`); four passes find the
exact t for counts up to 10^8.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from curate.errors import CurateError

POINTS_PER_PASS = 63


class SizeSearch:
    """The whole t whose expected number of kept captions is nearest to `rows`; the lower of equally near ones.

    while search.points:
        search.narrow(expected_rows(pool, counts, search.points))
    search.t
    """

    def __init__(self, rows: float, highest: int) -> None:
        """`highest`: a t that keeps all that match."""
        self.rows = rows
        self._low, self._high = 0, highest
        self._expected = {0: 0.0}
        #: Thresholds whose expected sizes are asked for next; none when t is found.
        self.points = self._between()

    def narrow(self, sizes: Sequence[float] | np.ndarray) -> None:
        """Take the expected sizes at `points`, not falling.

        Raises:
            CurateError: when fewer captions than `rows` match anything.
        """
        self._expected |= dict(zip(self.points, map(float, sizes), strict=True))
        if not 0 < self.rows <= self._expected[self._high]:
            largest = self._expected[self._high]
            raise CurateError(f"{self.rows:,} rows wanted, but {largest:,.0f} match an entry: no t gives that many")
        tried = [self._low, *self.points, self._high]
        self._high = min(t for t in tried if self._expected[t] >= self.rows)
        self._low = max(t for t in tried if t < self._high)
        self.points = self._between()

    @property
    def t(self) -> int:
        low, high = self._low, self._high
        near = low > 0 and self.rows - self._expected[low] <= self._expected[high] - self.rows
        return low if near else high

    @property
    def size(self) -> float:
        """The expected number of kept captions at `t`."""
        return self._expected[self.t]

    def _between(self) -> list[int]:
        """Thresholds within the bracket, evenly by ratio; at first its upper end too."""
        low, high = self._low, self._high
        points = list(range(low + 1, high))
        if len(points) > POINTS_PER_PASS:
            inner = np.geomspace(max(low, 1), high, POINTS_PER_PASS + 2)[1:-1]
            points = sorted({min(max(int(t), low + 1), high - 1) for t in inner})
        return points if high in self._expected else [*points, high]
