"""What an op says of all rows together (`Fitted.report` in the manifest), as text and tables to be shown."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

#: Rows shown of each table; the manifest has them all.
MOST_ROWS = 25


@dataclass(frozen=True)
class Lines:
    """One table: cells are text, and `numeric` says which columns are numbers."""

    title: str
    headings: list[str]
    numeric: list[bool]
    rows: list[list[str]]


def sentence(report: Mapping[str, Any]) -> str:
    """Its single values.

    >>> sentence({"t": 20000, "tail_share": 0.0612, "head": [{"entry": "of"}]})
    't 20,000, tail share 0.0612'
    """
    single = {name: value for name, value in report.items() if not isinstance(value, (list, dict))}
    return ", ".join(f"{_words(name)} {shown(value)}" for name, value in single.items())


def tables(report: Mapping[str, Any]) -> list[Lines]:
    """Its lists of rows, each a mapping with the same keys."""
    blocks = []
    for name, rows in report.items():
        if isinstance(rows, list) and rows:
            numeric = [all(isinstance(row[key], (int, float)) for row in rows) for key in rows[0]]
            cells = [[shown(value) for value in row.values()] for row in rows[:MOST_ROWS]]
            blocks.append(Lines(_words(name), [_words(key) for key in rows[0]], numeric, cells))
    return blocks


def _words(name: str) -> str:
    return name.replace("_", " ")


def shown(value: Any) -> str:
    """A value of a table's cell.

    >>> shown(20000), shown(1234.5), shown(0.06123), shown("of")
    ('20,000', '1,234', '0.0612', 'of')
    """
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
    return f"{value:,}" if isinstance(value, int) else str(value)
