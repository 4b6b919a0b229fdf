"""How many rows that are prepared may be in memory at a time: those of one chunk at work, and as many beside it."""

from __future__ import annotations

import threading

#: Chunks whose rows are in memory at a time: the one that is worked on, and one ahead of it.
CHUNKS = 2


class NoRoom(Exception):
    """What waits for room is no longer needed: whoever asked for it has stopped."""


class Room:
    """Counts the rows in hand, of one shard or of two that follow each other."""

    def __init__(self) -> None:
        self._rows = 0
        self._changed = threading.Condition()

    def take(self, holder: Share, rows: int, most: int) -> None:
        """Wait until there are no more than `most` rows with these; rows that find none in hand always have room.

        Raises:
            NoRoom: when the holder stops before that.
        """
        with self._changed:
            self._changed.wait_for(lambda: holder.stopped or not self._rows or self._rows + rows <= most)
            if holder.stopped:
                raise NoRoom
            self._rows += rows
            holder.rows += rows

    def give(self, holder: Share, rows: int) -> None:
        """These rows are done with."""
        with self._changed:
            self._rows -= rows
            holder.rows -= rows
            self._changed.notify_all()

    def stop(self, holder: Share) -> None:
        """All of its rows are done with, and it gets no more."""
        with self._changed:
            holder.stopped = True
            self._rows -= holder.rows
            holder.rows = 0
            self._changed.notify_all()


class Share:
    """What one shard has of the room."""

    def __init__(self, room: Room, most: int):
        self.room, self.most = room, most
        self.rows, self.stopped = 0, False

    def take(self, rows: int) -> None:
        """As `Room.take`."""
        self.room.take(self, rows, self.most)

    def give(self, rows: int) -> None:
        """As `Room.give`."""
        self.room.give(self, rows)

    def stop(self) -> None:
        """As `Room.stop`."""
        self.room.stop(self)
