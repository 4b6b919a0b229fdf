"""A number with what it counts."""

from __future__ import annotations


def counted(number: int, thing: str) -> str:
    """
    >>> counted(1, "row"), counted(0, "row"), counted(1640, "row")
    ('1 row', '0 rows', '1,640 rows')
    """
    return f"{number:,} {thing}{'' if number == 1 else 's'}"
