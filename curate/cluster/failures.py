"""Items of a step that fail: each is set aside by itself, but a step in which everything fails ends."""

from __future__ import annotations

from curate.errors import CurateError

#: So many items that fail one after the other, with none done between, have a cause that the others share.
IN_A_ROW = 10


class Failures:
    """reasons: of the items that were set aside. items: of the whole step."""

    def __init__(self, label: str, items: int):
        self._label, self._items = label, items
        self.reasons: dict[int, str] = {}
        self._since_success: set[int] = set()

    def done(self) -> None:
        """An item was done: those that failed have causes of their own."""
        self._since_success.clear()

    def attempt_failed(self, item: int, why: str, workers: int = 1) -> None:
        """
        Raises:
            CurateError: when it is the last of so many in a row.
        """
        self._since_success.add(item)
        # Each worker may be at an item of its own when storage, say, fails for a moment.
        in_a_row = len(self._since_success)
        if in_a_row >= max(IN_A_ROW, 2 * workers):
            raise CurateError(
                f"{self._label}: {in_a_row} shards failed one after the other and none was done between, so the step "
                f"ends here; shard {item}: {why}. What is done stays: mend the cause and run the same command again"
            )

    def set_aside(self, item: int, why: str) -> None:
        self.reasons[item] = why

    def check(self) -> None:
        """
        Raises:
            CurateError: when items were set aside, at the end of a step.
        """
        if not self.reasons:
            return
        first = min(self.reasons)
        raise CurateError(
            f"{self._label}: {len(self.reasons)} of {self._items} shards failed and were set aside: "
            f"{sorted(self.reasons)[:10]}; shard {first}: {self.reasons[first]}. The others are done: "
            "mend the cause and run the same command again"
        )
