"""A shard that is at work, or about to be: what each op has to do in it, what they read, its chunks."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pyarrow as pa

from curate.annotate.ahead import Ahead, Chunk
from curate.annotate.op_run import OpRun
from curate.annotate.room import Room
from curate.arrays.arrow_columns import flat
from curate.cluster.suspects import DEADLY, Suspects
from curate.op import Score
from curate.store.images import ImageReader
from curate.store.view import View

#: A chunk, and the columns that ops read of it.
_AtWork = tuple[Chunk, dict[str, pa.Array]]


class OpenShard:
    """One pass over a shard by ops that have work in it.

    threads: that decode and prepare. room: for the rows that are prepared, shared with the shards beside this one.
    """

    def __init__(
        self,
        view: View,
        shard: int,
        runs: Sequence[OpRun],
        *,
        threads: int = 2,
        suspects: Suspects | None = None,
        room: Room | None = None,
    ):
        self.runs, self.suspects = runs, suspects
        fresh = {name for run in runs for name in run.op.makes()}
        self._stored = sorted({name for run in runs for name in run.op.reads()} - fresh - {"image"})
        self._table: pa.Table | None = None
        #: The identity of the shard's records; "" where nothing that is read tells it.
        self.records = ""
        if self._stored:
            table, self.records = view.rows(shard, self._stored)
            self._table = table.combine_chunks()
        self._chunks = chunks_of(runs)
        if suspects:
            self._chunks = suspects.split(self._chunks)
        images = view.images if any("image" in run.op.reads() for run in runs) else None
        self.ahead = Ahead(
            {run.folder: run.op for run in runs},
            {run.folder: run.todo for run in runs},
            reader=ImageReader(view.store, images, shard) if images else None,
            texts=flat(self._table["text"]) if self._table is not None and "text" in self._stored else None,
            threads=threads,
            suspects=suspects,
            room=room,
        )

    def begin(self, then: Callable[[], None] | None = None) -> None:
        """Prepare the first rows before it is the shard's turn. then: called when the last ones are under way."""
        self.ahead.begin(self._chunks, then)

    def run(self) -> None:
        """Let each op do what it has to, chunk after chunk; where one can, it begins with the next chunk before it
        waits for what it began with."""
        begun: _AtWork | None = None
        try:
            for chunk in self.ahead(self._chunks):
                at_work = chunk, self._columns(chunk)
                # Looking for a row that kills, only one chunk is at work.
                begins = not self.suspects and self._begins(*at_work)
                if begun is not None:
                    self._do(*begun)
                begun = at_work if begins else None
                if not begins:
                    self._do(*at_work)
                # Its images go before the ones behind it come.
                del chunk, at_work
            if begun is not None:
                self._do(*begun)
        finally:
            # Now, since the error of a shard may keep its chunks alive: the next one waits for their room.
            self.close()

    def _columns(self, chunk: Chunk) -> dict[str, pa.Array]:
        if self._table is None:
            return {}
        taken = self._table if len(chunk.rows) == len(self._table) else self._table.take(pa.array(chunk.rows))
        return {name: flat(taken[name]) for name in self._stored}

    def _begins(self, chunk: Chunk, columns: dict[str, pa.Array]) -> bool:
        """Whether any op has begun with a chunk: one that reads nothing that the ops of this pass make."""
        able = [run for run in self.runs if run.can_begin and {*run.op.reads()} <= {*self._stored, "image"}]
        return sum(run.begin(chunk, columns) for run in able) > 0

    def _do(self, chunk: Chunk, columns: dict[str, pa.Array]) -> None:
        deadly = DEADLY if self.suspects is not None and chunk.rows[0] in self.suspects.deadly else ""
        for run in self.runs:
            columns |= run.do(chunk, columns, deadly)

    def close(self) -> None:
        """What is under way ends, the rest is not begun."""
        self.ahead.close()

    def rows(self) -> int:
        """That any op had to do."""
        return int(np.logical_or.reduce([run.todo for run in self.runs]).sum()) if self.runs else 0

    def seconds(self) -> dict[str, float]:
        """By folder, what each op took itself; see `ShardReport`."""
        return {run.folder: run.seconds + self.ahead.preparing_seconds[run.folder] for run in self.runs}


def chunks_of(runs: Sequence[OpRun]) -> list[np.ndarray]:
    """Rows of the shard that any op has to do, cut into chunks."""
    rows = np.flatnonzero(np.logical_or.reduce([run.todo for run in runs])) if runs else np.array([], np.int64)
    size = _rows_at_a_time([run.op for run in runs])
    return [rows[start : start + size] for start in range(0, len(rows), size)]


def _rows_at_a_time(ops: Sequence[Score]) -> int:
    """Rows of a chunk. Where an op keeps images at their full size, no more than it asks for: two chunks of them are
    in memory."""
    seeing = [op for op in ops if "image" in op.reads()]
    keeping = [op.rows_at_a_time() for op in seeing if "image" not in op.prepares()]
    return max(keeping or [op.rows_at_a_time() for op in seeing or ops] or [1])
