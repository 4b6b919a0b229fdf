"""Conditions: SQL about the columns of one row, read into a tree, checked, and decided by polars.

Three-valued: a comparison with null is null, AND, OR and NOT as in SQL. Whole numbers are compared and computed without
bounds, whatever the types of the columns; `/` gives a double, `//` and `%` cut towards zero; division by zero and NaN
are null. A number that is compared with a float32 column is rounded to float32, as the column's values were. What a
condition may hold is listed in `sql_nodes` and `sql_functions`; all else is refused: aggregates, windows, subqueries,
clocks, dice.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any

import polars as pl
from sqlglot import exp
from sqlglot.tokenizer_core import TokenType

from curate.filter.sql_nodes import Types, value_of
from curate.filter.sql_tree import COMPARED, Conditions, joined_by_and, tokens, tree, written
from curate.filter.sql_values import NAMES, ConditionError

_BACKWARDS = {"<": ">", "<=": ">=", ">": "<", ">=": "<=", "=": "="}


@dataclass(frozen=True)
class Condition:
    """A condition over the columns of one row.

    >>> condition("words > 2 AND lang = 'en'").columns
    ('words', 'lang')
    """

    sql: str
    tree: exp.Expression

    @cached_property
    def columns(self) -> tuple[str, ...]:
        """The columns that it reads, each once."""
        return tuple(dict.fromkeys(column.name for column in self.tree.find_all(exp.Column, bfs=False)))

    @cached_property
    def quoted(self) -> frozenset[str]:
        """Those that stand in double quotes: a text that was meant may be among them."""
        return frozenset(c.name for c in self.tree.find_all(exp.Column) if c.this.args.get("quoted"))

    def expression(self, types: Types) -> pl.Expr:
        """What polars computes: true, false or null for every row.

        Raises:
            ConditionError: for what these types cannot decide, a text compared with a number, a number as a condition.
        """
        try:
            value = value_of(self.tree, types)
        except RecursionError as error:
            raise ConditionError(f"nested too deeply: {self.sql[:80]!r}") from error
        except ConditionError as error:
            raise ConditionError(f"{self.sql!r}: {error}") from error
        if value.kind not in ("truth", "any", "null"):
            hint = ": compare it" if value.kind != "other" else ""
            raise ConditionError(f"{self.sql!r} is {NAMES[value.kind]}, no condition{hint}")
        decision = value.expr if value.kind == "truth" else pl.lit(None, pl.Boolean)
        # A constant, and polars' when-then without a true row, give a single value: this makes it one per row.
        return pl.when(pl.int_range(pl.len()) >= 0).then(decision)

    def compared(self) -> list[tuple[str, str, float]]:
        """The columns that it compares with a number each, by its ANDs: (column, relation, number).

        >>> condition("words BETWEEN 3 AND 20 AND 0.2 <= match AND width <= 3 * height").compared()
        [('words', '>=', 3.0), ('words', '<=', 20.0), ('match', '>=', 0.2)]
        """
        return [limit for part in joined_by_and(self.tree, inside=True) for limit in _limits(part)]


@lru_cache(maxsize=1024)
def decided(sql: str, types: tuple[tuple[str, pl.DataType], ...]) -> pl.Expr:
    """`Condition.expression`, kept from shard to shard."""
    return condition(sql).expression(dict(types))


@lru_cache(maxsize=1024)
def condition(sql: str) -> Condition:
    """A SQL condition, checked as far as it can be without the types of the columns.

    Raises:
        ConditionError: for what is not SQL, or not the SQL of one row.
    """
    read = Condition(sql, tree(sql))
    _refuse_texts_in_double_quotes(read)
    read.expression({})
    return read


def conjuncts(sql: str) -> list[str]:
    """The conditions that a SQL condition joins by AND at its top level, as they are written.

    >>> conjuncts("a > 1 AND (b = 2 OR c = 3) AND d BETWEEN 1 AND 2 AND e = 'x AND y'")
    ['a > 1', '(b = 2 OR c = 3)', 'd BETWEEN 1 AND 2', "e = 'x AND y'"]
    """
    parts = joined_by_and(tree(sql))
    texts = _pieces(sql)
    if len(texts) != len(parts) or any(tree(text) != part for text, part in zip(texts, parts, strict=True)):
        return [part.sql(dialect=Conditions, comments=False) for part in parts]
    return texts


def _pieces(sql: str) -> list[str]:
    """The text between the ANDs that stand outside of parentheses, CASE and BETWEEN."""
    pieces: list[list[Any]] = [[]]
    depth, between = 0, False
    for token in tokens(sql):
        kind = token.token_type
        depth += (kind in (TokenType.L_PAREN, TokenType.CASE)) - (kind in (TokenType.R_PAREN, TokenType.END))
        if not depth and kind == TokenType.BETWEEN:
            between = True
        elif not depth and kind == TokenType.AND and between:
            between = False
        elif not depth and kind == TokenType.AND:
            pieces.append([])
            continue
        pieces[-1].append(token)
    return [sql[piece[0].start : piece[-1].end + 1] for piece in pieces if piece]


def _refuse_texts_in_double_quotes(read: Condition) -> None:
    """`lang == "en"` is Python's way: in SQL a text stands in single quotes, a column in double ones."""
    if not any(token.text == "==" for token in tokens(read.sql)):
        return
    for node in read.tree.find_all(exp.EQ):
        meant = node.expression
        if isinstance(node.this, exp.Column) and isinstance(meant, exp.Column) and meant.name in read.quoted:
            hint = f"{written(node.this)} = '{meant.name}'"
            raise ConditionError(f"{read.sql!r}: write = for ==, and a text in single quotes: {hint}")


def _number(node: exp.Expression) -> float | None:
    if isinstance(node, exp.Neg):
        inner = _number(node.this)
        return None if inner is None else -inner
    return float(node.this) if isinstance(node, exp.Literal) and not node.is_string else None


def _limits(part: exp.Expression) -> list[tuple[str, str, float]]:
    if isinstance(part, exp.Between) and isinstance(part.this, exp.Column):
        low, high = _number(part.args["low"]), _number(part.args["high"])
        name = part.this.name
        return [(name, ">=", low), (name, "<=", high)] if low is not None and high is not None else []
    sign = COMPARED.get(type(part), "!=")
    if sign == "!=":
        return []
    left, right = _number(part.this), _number(part.expression)
    if isinstance(part.this, exp.Column) and right is not None:
        return [(part.this.name, sign, right)]
    if isinstance(part.expression, exp.Column) and left is not None:
        return [(part.expression.name, _BACKWARDS[sign], left)]
    return []
