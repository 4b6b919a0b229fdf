"""The table of filters in README.md, made from `filters/*.yaml`: `python tools/filters_table.py` writes it anew.

A line for each file: `rule` (else the first sentence of `about`), `cite`, `published`, and what it needs: the ops that
make its columns, and `requires`.
"""

from __future__ import annotations

from pathlib import Path

from curate.catalog import library
from curate.filter.rule import Filter, load_filter
from curate.library.op_names import op_name
from curate.op import Op

README = Path(__file__).parent.parent / "README.md"

#: What stands around the table in README.md.
FIRST, LAST = "<!-- made by tools/filters_table.py -->", "<!-- end of the filters -->"

HEAD = ("name", "rule", "paper", "published result", "needs")


def needs(rule: Filter) -> str:
    """Ops with their model, each once, and what else has to be there."""
    parts = [_op(op) for op in rule.ops] + ([rule.requires] if rule.requires else [])
    return ", ".join(dict.fromkeys(parts)) or "nothing"


def _op(op: Op) -> str:
    model = getattr(op, "model", "")
    return f"{op_name(type(op))} {model}".strip()


def line(rule: Filter) -> str:
    """The filter's line of the table."""
    words = rule.rule or rule.about.partition(". ")[0].rstrip(".")
    cells = (f"`{rule.name}`", words, rule.cite, rule.published, needs(rule))
    return f"| {' | '.join(' '.join(cell.split()).replace('|', '/') for cell in cells)} |"


def table() -> str:
    """All filters that ship, by name."""
    rules = [load_filter(name) for name in library("filters")]
    head = [f"| {' | '.join(HEAD)} |", f"|{' --- |' * len(HEAD)}"]
    return "\n".join([*head, *map(line, rules)])


def with_table(text: str) -> str:
    """README.md with the table as the files have it.

    >>> with_table(f"a {FIRST} old {LAST} b").startswith(f"a {FIRST}")
    True
    """
    before, first, rest = text.partition(FIRST)
    _, last, after = rest.partition(LAST)
    if not first or not last:
        raise SystemExit(f"README.md has no lines '{FIRST}' and '{LAST}'")
    return f"{before}{FIRST}\n{table()}\n{LAST}{after}"


if __name__ == "__main__":
    README.write_text(with_table(README.read_text(encoding="utf-8")), encoding="utf-8")
