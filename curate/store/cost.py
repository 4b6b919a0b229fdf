"""What computing a table cost the workers, as the manifest keeps it."""

from __future__ import annotations

from collections import Counter

from pydantic import BaseModel, ConfigDict


class Cost(BaseModel):
    """Sums over all workers and all runs, of the shards that were finished: what an attempt took that failed or was
    killed is not in them, and nothing of a run that was killed while the step was under way (kill -9; after Ctrl-C, or
    when some shards fail, those that were finished are in).

    What a pass spends for several ops at once (to read, to decode, to write) is shared out among them by the seconds
    that each took itself (`Table.seconds`), so that the costs of tables add up.

    rows: that the op had to do, whatever became of them.
    worker_seconds: wall clock of workers, from the begin of a shard to its parts being written.
    model_seconds: wall clock inside the op's `batch`: the model alone, with the way to its device and back.
    setup_seconds: wall clock of the op's `setup`, once in each worker: a model loads.
    cpu_seconds: processor time of the workers' processes, all threads, and of those that decode for them, in shards and
        in `setup`.
    gpu_seconds: by the name of the device, how long workers held it, busy or not, for their shards and the op's
        `setup`, times the part of it that each was lent. Only for ops that ran on CUDA, which share it by
        `model_seconds`.
    bytes: of the parts that were written. A part that is written again, with more rows in it, counts again.
    """

    model_config = ConfigDict(extra="forbid")

    rows: int = 0
    worker_seconds: float = 0.0
    model_seconds: float = 0.0
    setup_seconds: float = 0.0
    cpu_seconds: float = 0.0
    gpu_seconds: dict[str, float] = {}
    bytes: int = 0

    @property
    def model_share(self) -> float:
        """How fast the work went, over how fast the model alone is: 1 where workers do nothing but `batch`."""
        return self.model_seconds / self.worker_seconds if self.worker_seconds else 0.0

    def __add__(self, other: Cost) -> Cost:
        gpu_seconds = Counter(self.gpu_seconds)
        gpu_seconds.update(other.gpu_seconds)
        numbers = {name: getattr(self, name) + getattr(other, name) for name in _NUMBERS}
        return Cost(**numbers, gpu_seconds=dict(gpu_seconds))

    def rounded(self) -> Cost:
        """The same to a millisecond: what the manifest keeps."""
        numbers = {name: round(getattr(self, name), 3) for name in _NUMBERS}
        return Cost(**numbers, gpu_seconds={name: round(seconds, 3) for name, seconds in self.gpu_seconds.items()})


_NUMBERS = [name for name in Cost.model_fields if name != "gpu_seconds"]
