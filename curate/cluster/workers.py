"""Ray actors that do the items of one task: a lost worker is replaced, an item that keeps failing is set aside.

Plain Ray actors, not Ray Data: the unit is a shard that is written whole by its worker, so nothing flows between
operators, and a shard that kills its worker must be counted here (Ray Data retries a lost worker without end).
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterator, Sequence
from typing import Any, Generic, TypeVar

from rich.markup import escape

from curate.cluster.crew import Crew, Needs, end
from curate.cluster.failures import Failures
from curate.cluster.task import Task, job_of, reason
from curate.errors import CurateError
from curate.messages.progress import console

T = TypeVar("T")

#: An item that failed this often is set aside; the run goes on and ends with an error that names it.
ATTEMPTS = 3

#: The same where the job looks for the rows to blame: each that kills its worker takes two attempts to be found.
CAREFUL_ATTEMPTS = 24

#: Seconds after which idle workers with other needs go, when no worker of this step has started: it may lack the room.
ROOM_SECONDS = 30.0

#: Lost nodes that an item survives: they are no fault of its rows, but a run must end.
LOST_NODES = 20


def packed(task: Task[Any]) -> bytes:
    """A task as it travels to workers.

    Raises:
        CurateError: when something in it cannot travel.
    """
    from ray import cloudpickle

    try:
        data: bytes = cloudpickle.dumps(task)
    except Exception as error:
        name = type(job_of(task)).__name__
        raise CurateError(f"{name} cannot be sent to workers: {error}. Make what cannot travel in `setup`") from error
    return data


class Workers(Generic[T]):
    """The workers of one task, which take its items one after the other.

    crew: lends the workers. failures: counts what fails, and ends the step where everything does.
    """

    def __init__(self, crew: Crew, needs: Needs, task: Task[T], items: Sequence[int], failures: Failures):
        import ray

        self.crew, self.needs, self.failures = crew, needs, failures
        self.allowed = CAREFUL_ATTEMPTS if hasattr(job_of(task), "careful") else ATTEMPTS
        self.task = ray.put(packed(task))
        self.todo = deque(items)
        self.attempts: dict[int, int] = {}
        # Items whose node was lost, how often, and those among them whose next attempt is still to come.
        self.lost: dict[int, int] = {}
        self.acquitted: set[int] = set()
        # Items that were under way together when their worker died: one of them is to blame, and nobody knows which.
        self.alone: set[int] = set()
        # How many items each worker got.
        self.numbers: Counter[Any] = Counter()
        self.hired: list[Any] = []
        self.new: list[Any] = []
        # What each worker has to do, in the order in which it does it: an item, or None while it starts. A worker that
        # no node has room for yet gets no item, so the run does not wait for nodes that never come.
        self.ordered: dict[Any, tuple[int | None, Any]] = {}

    def run(self, size: int) -> Iterator[tuple[int, T]]:
        """(item, report) as they are done, by `size` workers."""
        import ray

        self.crew.make_room(self.needs, size)
        for _ in range(size):
            self._add()
        while self.todo or any(item is not None for item, _ in self.ordered.values()):
            ready, _ = ray.wait(list(self.ordered), num_returns=1, timeout=self._patience())
            if not ready:
                self.crew.let_others_go(self.needs)
                continue
            worker = self.ordered[ready[0]][1]
            yield from self._answers(worker)
            if worker in self.hired:
                self._feed(worker)

    def end(self) -> None:
        """Give back the workers that have nothing to do; end those that are at an item, or wait for room."""
        for worker in self.hired:
            if any(other is worker for _, other in self.ordered.values()):
                end(worker)
            else:
                self.crew.keep(self.needs, worker)

    def _patience(self) -> float | None:
        """Seconds to wait for an answer. No node may have room for any worker while others are idle: they go then."""
        return ROOM_SECONDS if all(item is None for item, _ in self.ordered.values()) else None

    def _add(self) -> None:
        worker, new = self.crew.hire(self.needs)
        self.hired.append(worker)
        if new:
            self.new.append(worker)
        self.ordered[worker.take.remote(self.task)] = (None, worker)

    def _feed(self, worker: Any) -> None:
        """Two items per worker: the next one waits there while the driver looks at the last, or is begun. An item that
        is under suspicion runs alone: whether it kills its worker is then beyond doubt."""
        while self.todo:
            ordered = [item for item, other in self.ordered.values() if other is worker]
            suspects = [item for item in (*ordered, self.todo[0]) if item in self.attempts or item in self.alone]
            if len(ordered) >= (1 if suspects else 2):
                return
            item = self.todo.popleft()
            acquitted = item in self.acquitted
            self.acquitted.discard(item)
            attempt = max(self.attempts.get(item, 0), int(item in self.alone))
            self.ordered[worker.do.remote(item, attempt, acquitted, self.numbers[worker])] = (item, worker)
            self.numbers[worker] += 1

    def _answers(self, worker: Any) -> Iterator[tuple[int, T]]:
        """What a worker has done, in its order: when it dies, the first item without an answer is to blame for it, and
        the one that waited behind goes back."""
        import ray
        from ray.exceptions import RayError, RayTaskError

        answers = [ref for ref, (_, other) in self.ordered.items() if other is worker]
        for number, ref in enumerate(answers):
            if not ray.wait([ref], timeout=0)[0]:
                return
            item = self.ordered.pop(ref)[0]
            try:
                report = ray.get(ref)
            except RayTaskError as error:
                if isinstance(error.cause, CurateError):
                    raise error.cause from None
                self._blame(item, error.cause)
            except RayError as error:
                behind = [self.ordered[later][0] for later in answers[number + 1 :]]
                if item is not None and _node_was_lost(error) and self.lost.get(item, 0) < LOST_NODES:
                    self._acquit(item)
                elif item is not None and behind and self.needs.calls > 1:
                    self._part([item, *behind], error)
                elif item is not None or any(new is worker for new in self.new):
                    self._blame(item, error)
                # Else it died while it was idle, and another one comes.
                self._replace(worker, answers[number + 1 :])
                return
            else:
                if item is not None:
                    yield item, report

    def _replace(self, worker: Any, behind: Sequence[Any]) -> None:
        """behind: answers that a dead worker still owed."""
        for ref in behind:
            item = self.ordered.pop(ref)[0]
            if item is not None:
                self.todo.appendleft(item)
        self.hired.remove(worker)
        self._add()

    def _acquit(self, item: int) -> None:
        """Its node is gone: the item goes back, and the attempt does not count."""
        self.lost[item] = self.lost.get(item, 0) + 1
        self.acquitted.add(item)
        self.todo.append(item)
        console.print(f"[yellow]shard {item}: its node was lost; it goes to another worker")

    def _part(self, items: Sequence[int | None], cause: BaseException) -> None:
        """Their worker died while it was at all of these: the first goes back here, the others as they do always."""
        self.alone.update(item for item in items if item is not None)
        self.todo.append(next(item for item in items if item is not None))
        names = " and ".join(map(str, items))
        console.print(f"[yellow]shards {names} were under way together: {escape(reason(cause))}; each goes on alone")

    def _blame(self, item: int | None, cause: BaseException) -> None:
        if item is None:
            raise CurateError(f"a worker cannot start: {reason(cause)}")
        self.attempts[item] = self.attempts.get(item, 0) + 1
        self.failures.attempt_failed(item, reason(cause), len(self.hired))
        if self.attempts[item] >= self.allowed:
            self.failures.set_aside(item, reason(cause))
            return
        console.print(f"[yellow]shard {item}: {escape(reason(cause))}; attempt {self.attempts[item] + 1} follows")
        self.todo.append(item)


def _node_was_lost(error: BaseException) -> bool:
    """Whether a worker ended with its node, and not by what it worked on."""
    from ray.exceptions import NodeDiedError

    return isinstance(error, NodeDiedError) or "node has died" in str(error) or "node was terminated" in str(error)
