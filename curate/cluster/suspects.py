"""Finding the rows of a shard that kill the process that works on them."""

from __future__ import annotations

import numpy as np

from curate.store.store import Store

#: Status of a row whose image or caption killed the process that worked on it.
DEADLY = "killed_its_worker"

#: A row is blamed when its worker died so often while the row was worked on alone: once may be a kill from outside.
KILLS = 2


class Suspects:
    """Finds the rows of a shard that kill their worker: it leaves a note of what it is about to try, and the next
    attempt reads it. A chunk that was being tried is taken row by row; a row that killed twice alone is set aside.

    session: of the run that tries. What an earlier run was trying when it was stopped says nothing.
    """

    def __init__(self, store: Store, folder: str, shard: int, session: str = ""):
        self.store, self.name, self.session = store, f"{folder}/.trying-{shard:05d}.json", session
        try:
            note = store.read_json(self.name)
        except FileNotFoundError:
            note = {}
        self.deadly: set[int] = set(note.get("deadly", ()))
        self.fine: set[int] = set(note.get("split", ()))
        self.kills: dict[int, int] = {int(row): count for row, count in note.get("kills", {}).items()}
        trying: list[int] = note.get("trying", []) if note.get("session") == session else []
        self.fine.update(trying)
        if len(trying) == 1:
            row = trying[0]
            self.kills[row] = self.kills.get(row, 0) + 1
            if self.kills[row] >= KILLS:
                self.deadly.add(row)

    def split(self, chunks: list[np.ndarray]) -> list[np.ndarray]:
        """Chunks in which something died as single rows, and known deadly rows by themselves."""
        alone = self.fine | self.deadly
        cut: list[np.ndarray] = []
        for rows in chunks:
            if alone.isdisjoint(rows.tolist()):
                cut.append(rows)
            else:
                cut += [rows[i : i + 1] for i in range(len(rows))]
        return cut

    def trying(self, rows: np.ndarray) -> None:
        self._note([] if rows[0] in self.deadly else rows.tolist())

    def acquit(self) -> None:
        """What was being tried is not to blame for the end of the last attempt."""
        try:
            note = self.store.read_json(self.name)
        except FileNotFoundError:
            return
        note["trying"] = []
        self.store.write_json(self.name, note)

    def clear(self) -> None:
        self.store.remove(self.name)

    def _note(self, trying: list[int]) -> None:
        note = {
            "session": self.session,
            "trying": trying,
            "split": sorted(self.fine),
            "deadly": sorted(self.deadly),
            "kills": self.kills,
        }
        self.store.write_json(self.name, note)
