"""Finding the rows of a shard that kill the process that works on them."""

from __future__ import annotations

import json

import numpy as np

from curate.store import Store


class Suspects:
    """Finds the rows of a shard that kill their worker: it leaves a note of what it is about to try, and the next
    attempt reads it. A chunk that was being tried is taken row by row; a row that was being tried is set aside."""

    def __init__(self, store: Store, folder: str, shard: int):
        self.store, self.name = store, f"{folder}/.trying-{shard:05d}.json"
        try:
            note = json.loads(store.read_bytes(self.name))
        except FileNotFoundError:
            note = {"trying": [], "split": [], "deadly": []}
        self.deadly: set[int] = set(note["deadly"])
        self.fine: set[int] = set(note["split"])
        if len(note["trying"]) == 1:
            self.deadly.add(note["trying"][0])
        else:
            self.fine.update(note["trying"])

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
        trying = [] if rows[0] in self.deadly else rows.tolist()
        note = {"trying": trying, "split": sorted(self.fine), "deadly": sorted(self.deadly)}
        self.store.write_bytes(self.name, json.dumps(note).encode())

    def clear(self) -> None:
        self.store.remove(self.name)
