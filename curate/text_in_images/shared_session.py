"""SharedSession: one model on a GPU for many threads; what they ask for at a time, of one shape, is one batch."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future

import numpy as np

#: Rows in, as many rows out.
Run = Callable[[np.ndarray], np.ndarray]


class SharedSession:
    """Called as the model itself, from any thread; `run` is called by one thread at a time.

    While a batch is worked on, other threads' rows gather. Only rows of one shape are put together, and none is padded,
    so a row's result does not depend on its neighbours but for the last bits of its sums. A batch is filled up to 1, 2,
    4, 8 ... rows with copies of its last one: a GPU chooses its kernels by shape, and sees few.

    most: rows of a batch; one call with more is run as it is.
    """

    def __init__(self, run: Run, most: int = 32):
        self._run, self._most = run, most
        self._turn = threading.Lock()
        self._gathering = threading.Lock()
        self._waiting: list[tuple[np.ndarray, Future[np.ndarray]]] = []

    def __call__(self, rows: np.ndarray) -> np.ndarray:
        asked: Future[np.ndarray] = Future()
        with self._gathering:
            self._waiting.append((rows, asked))
        with self._turn:
            if not asked.done():  # else whoever had the turn before took it along
                self._work(self._taken(asked))
        return asked.result()

    def _taken(self, own: Future[np.ndarray]) -> list[tuple[np.ndarray, Future[np.ndarray]]]:
        """A caller's own rows, and those of the same shape that wait, as many as a batch has."""
        with self._gathering:
            first = next(pair for pair in self._waiting if pair[1] is own)
            batch, size = [first], len(first[0])
            for pair in self._waiting:
                fits = pair is not first and pair[0].shape[1:] == first[0].shape[1:]
                if fits and size + len(pair[0]) <= self._most:
                    batch.append(pair)
                    size += len(pair[0])
            taken = {id(asked) for _, asked in batch}
            self._waiting = [pair for pair in self._waiting if id(pair[1]) not in taken]
        return batch

    def _work(self, batch: list[tuple[np.ndarray, Future[np.ndarray]]]) -> None:
        try:
            results = self._run(_filled_up(np.concatenate([rows for rows, _ in batch])))
        except Exception as error:  # noqa: BLE001 - raised where each is asked for
            if len(batch) == 1:
                batch[0][1].set_exception(error)
                return
            for pair in batch:  # one bad image, or a batch too large for the memory, costs no other its value
                self._work([pair])
            return
        start = 0
        for rows, asked in batch:
            asked.set_result(results[start : start + len(rows)])
            start += len(rows)


def _filled_up(rows: np.ndarray) -> np.ndarray:
    """With copies of the last one, to a power of two.

    >>> _filled_up(np.array([7, 8, 9])).tolist()
    [7, 8, 9, 9]
    """
    more = (1 << (len(rows) - 1).bit_length()) - len(rows)
    return np.concatenate([rows, np.repeat(rows[-1:], more, axis=0)]) if more else rows
