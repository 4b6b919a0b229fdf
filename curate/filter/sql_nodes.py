"""What a condition means: the value of each node of its tree. What is not listed here is refused."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import polars as pl
from sqlglot import exp

from curate.filter.sql_casts import cast
from curate.filter.sql_compare import compare, joined
from curate.filter.sql_functions import NOT_THE_SAME_TWICE, call, like, matches, part_of_time
from curate.filter.sql_numbers import arithmetic, negated
from curate.filter.sql_tree import COMPARED, SUBQUERY, joined_by_and, written
from curate.filter.sql_values import (
    NAMES,
    ConditionError,
    Value,
    float_literal,
    null,
    of_column,
    truth,
    unknown_value,
    whole_literal,
)

#: Column names to their types; None where a type is not known.
Types = Mapping[str, "pl.DataType | None"]

_ARITHMETIC: dict[type[exp.Expression], str] = {
    exp.Add: "+",
    exp.Sub: "-",
    exp.Mul: "*",
    exp.Div: "/",
    exp.IntDiv: "//",
    exp.Mod: "%",
}

#: Arguments of a node that change nothing here.
_IDLE_ARGUMENTS = {"safe", "typed", "_type", "coalesce", "ignore_nulls"}


def value_of(node: exp.Expression, types: Types) -> Value:
    """A node's value by its kind; kinds that are not listed are refused, and so are arguments that no reader knows."""
    reader = _READERS.get(type(node))
    if reader is None:
        raise _refused(node)
    known, read = reader
    odd = [
        k for k, v in node.args.items() if v not in (None, False, []) and k not in known and k not in _IDLE_ARGUMENTS
    ]
    if odd:
        raise _refused(node) if node.find(exp.Query) else ConditionError(f"{written(node)} is not known to conditions")
    return read(node, types)


def _refused(node: exp.Expression) -> ConditionError:
    words = written(node)
    if isinstance(node, (exp.Query, exp.Subquery, exp.Exists, exp.Any, exp.All)) or node.find(exp.Query):
        return ConditionError(SUBQUERY)
    if isinstance(node, exp.Window):
        return ConditionError("a condition looks at one row, OVER at others; see `top`")
    if isinstance(node, exp.Func) and NOT_THE_SAME_TWICE & set(words.upper().replace("(", " ").split()):
        return ConditionError(f"{words} has another value at each run")
    return ConditionError(f"{words} is not known to conditions")


def _column(node: exp.Expression, types: Types) -> Value:
    name, words = node.name, written(node)
    if isinstance(node.this, exp.Star):
        raise ConditionError("* is no column")
    dtype = types.get(name)
    return unknown_value(words) if dtype is None else of_column(name, dtype, words)


def _literal(node: exp.Expression, types: Types) -> Value:
    words = written(node)
    if node.is_string:
        return Value("text", pl.lit(node.this, pl.String), words, literal=node.this)
    try:
        return whole_literal(int(node.this), words)
    except ValueError:
        return float_literal(float(node.this), words)


def truth_of(node: exp.Expression, types: Types) -> pl.Expr:
    value = value_of(node, types)
    if value.kind not in ("truth", "any", "null"):
        raise ConditionError(f"{value.words} is {NAMES[value.kind]}, no condition: compare it")
    return value.expr if value.kind == "truth" else pl.lit(None, pl.Boolean)


def _and(node: exp.Expression, types: Types) -> Value:
    return truth(pl.all_horizontal(truth_of(part, types) for part in joined_by_and(node)), written(node))


def _or(node: exp.Expression, types: Types) -> Value:
    parts, waiting = [], [node]
    while waiting:
        part = waiting.pop()
        if isinstance(part, exp.Xor):
            raise ConditionError(f"{written(node)}: OR and XOR together need parentheses")
        if isinstance(part, exp.Or):
            waiting += [part.expression, part.this]
        else:
            parts.append(truth_of(part, types))
    return truth(pl.any_horizontal(parts), written(node))


def _negated(node: exp.Expression, types: Types) -> Value:
    value = value_of(node.this, types)
    return replace(negated(value), words=written(node))


def _compared(node: exp.Expression, types: Types) -> Value:
    a, b = value_of(node.this, types), value_of(node.expression, types)
    sign = COMPARED[type(node)]
    for one, other in ((a, b), (b, a)):
        if one.kind == "null" and one.words == "NULL":
            form = "IS NULL" if sign == "=" else "IS NOT NULL"
            raise ConditionError(f"nothing is {sign} NULL: write {other.words} {form}")
    return compare(sign, a, b)


def _between(node: exp.Expression, types: Types) -> Value:
    value = value_of(node.this, types)
    low, high = value_of(node.args["low"], types), value_of(node.args["high"], types)
    return truth(compare(">=", value, low).expr & compare("<=", value, high).expr, written(node))


def _in(node: exp.Expression, types: Types) -> Value:
    value = value_of(node.this, types)
    if not node.expressions:
        raise ConditionError(f"{value.words} IN () has nothing in its parentheses")
    items = [value_of(item, types) for item in node.expressions]
    equal = [compare("=", value, item).expr for item in items]
    if value.kind == "text" and all(isinstance(item.literal, str) for item in items):
        equal = [value.expr.is_in([item.literal for item in items])]
    return truth(pl.any_horizontal(equal), written(node))


def _is(node: exp.Expression, types: Types) -> Value:
    words = written(node)
    if isinstance(node.expression, exp.Null):
        value = value_of(node.this, types)
        expr = value.raw if value.kind == "null" and value.raw is not None else value.expr
        if value.beyond:
            expr = compare("=", value, value).expr
        return truth(expr.is_null(), words)
    if not isinstance(node.expression, exp.Boolean):
        raise ConditionError(f"{words} is not known to conditions")
    return truth(truth_of(node.this, types).eq_missing(pl.lit(bool(node.expression.this))), words)


def _same(node: exp.Expression, types: Types) -> Value:
    """IS NOT DISTINCT FROM: equal, or both null."""
    a, b = value_of(node.this, types), value_of(node.expression, types)
    equal = compare("=", a, b).expr.fill_null(False) | (_is_null(a) & _is_null(b))
    return truth(equal if isinstance(node, exp.NullSafeEQ) else ~equal, written(node))


def _is_null(value: Value) -> pl.Expr:
    if value.beyond:
        return compare("=", value, value).expr.is_null()
    return (value.raw if value.kind == "null" and value.raw is not None else value.expr).is_null()


def _function(node: exp.Expression, types: Types) -> Value:
    return call(node.name, [value_of(part, types) for part in node.expressions])


def _case(node: exp.Expression, types: Types) -> Value:
    subject = value_of(node.this, types) if node.this else None
    branches = node.args["ifs"]
    results = [value_of(branch.args["true"], types) for branch in branches]
    rest = value_of(node.args["default"], types) if node.args.get("default") else null()
    checks = []
    for branch in branches:
        if subject is None:
            checks.append(truth_of(branch.this, types))
        else:
            checks.append(compare("=", subject, value_of(branch.this, types)).expr)

    def chosen(parts: list[pl.Expr]) -> pl.Expr:
        *firsts, last = parts
        for check, part in zip(reversed(checks), reversed(firsts), strict=True):
            last = pl.when(check).then(part).otherwise(last)
        return last

    return joined([*results, rest], chosen, written(node))


def _if(node: exp.Expression, types: Types) -> Value:
    check = truth_of(node.this, types)
    yes = value_of(node.args["true"], types)
    no = value_of(node.args["false"], types) if node.args.get("false") else null()
    return joined([yes, no], lambda x: pl.when(check).then(x[0]).otherwise(x[1]), written(node))


def _pattern(node: exp.Expression, types: Types) -> Value:
    value, pattern = value_of(node.this, types), value_of(node.expression, types)
    if isinstance(node, exp.RegexpLike):
        fits = matches(value, pattern)
    else:
        fits = like(value, pattern, isinstance(node, exp.ILike))
    fits = fits if fits.kind == "truth" else truth(pl.lit(None, pl.Boolean), fits.words)
    return truth(~fits.expr, written(node)) if node.args.get("negate") else fits


def _arithmetic(node: exp.Expression, types: Types) -> Value:
    value = arithmetic(_ARITHMETIC[type(node)], value_of(node.this, types), value_of(node.expression, types))
    return replace(value, words=written(node))


def _nested(node: exp.Expression, types: Types) -> Value:
    return value_of(node.this, types)


def _not(node: exp.Expression, types: Types) -> Value:
    return truth(~truth_of(node.this, types), written(node))


def _xor(node: exp.Expression, types: Types) -> Value:
    if isinstance(node.this, exp.Or):
        raise ConditionError(f"{written(node)}: OR and XOR together need parentheses")
    return truth(operator.xor(truth_of(node.this, types), truth_of(node.expression, types)), written(node))


def _joined_texts(node: exp.Expression, types: Types) -> Value:
    parts = node.expressions or [node.this, node.expression]
    return call("CONCAT", [value_of(part, types) for part in parts])


def _extract(node: exp.Expression, types: Types) -> Value:
    return part_of_time(node.this.name.upper(), value_of(node.expression, types))


def _cast(node: exp.Expression, types: Types) -> Value:
    return cast(value_of(node.this, types), node.args["to"], written(node))


_Reader = Callable[[Any, Types], Value]
_TWO = {"this", "expression"}

#: Node: (the arguments that its reader knows, the reader). The list of all that a condition may hold.
_READERS: dict[type[exp.Expression], tuple[set[str], _Reader]] = {
    exp.Column: ({"this"}, _column),
    exp.Literal: ({"this", "is_string"}, _literal),
    exp.Boolean: ({"this"}, lambda node, types: truth(pl.lit(bool(node.this)), written(node))),
    exp.Null: (set(), lambda node, types: null()),
    exp.Paren: ({"this"}, _nested),
    exp.And: (_TWO, _and),
    exp.Or: (_TWO, _or),
    exp.Xor: (_TWO, _xor),
    exp.Not: ({"this"}, _not),
    exp.Neg: ({"this"}, _negated),
    exp.Between: ({"this", "low", "high"}, _between),
    exp.In: ({"this", "expressions"}, _in),
    exp.Is: (_TWO, _is),
    exp.NullSafeEQ: (_TWO, _same),
    exp.NullSafeNEQ: (_TWO, _same),
    exp.Like: ({*_TWO, "negate"}, _pattern),
    exp.ILike: ({*_TWO, "negate"}, _pattern),
    exp.RegexpLike: ({*_TWO, "negate"}, _pattern),
    exp.DPipe: (_TWO, _joined_texts),
    exp.Concat: ({"expressions"}, _joined_texts),
    exp.Case: ({"this", "ifs", "default"}, _case),
    exp.If: ({"this", "true", "false"}, _if),
    exp.Cast: ({"this", "to"}, _cast),
    exp.TryCast: ({"this", "to"}, _cast),
    exp.Extract: (_TWO, _extract),
    exp.Anonymous: ({"this", "expressions"}, _function),
    **dict.fromkeys(COMPARED, (_TWO, _compared)),
    **dict.fromkeys(_ARITHMETIC, (_TWO, _arithmetic)),
}
