"""SQL of one row as a tree: what the parser reads, before anything is known of its columns."""

from __future__ import annotations

from typing import Any

from sqlglot import exp, parser
from sqlglot import tokens as sql_tokens
from sqlglot.dialects.dialect import Dialect
from sqlglot.errors import SqlglotError
from sqlglot.tokenizer_core import TokenType

from curate.filter.sql_values import ConditionError

SUBQUERY = "a condition looks at one row, a subquery at others; see `top`"

#: Node of a comparison to its sign.
COMPARED: dict[type[exp.Expression], str] = {
    exp.EQ: "=",
    exp.NEQ: "!=",
    exp.LT: "<",
    exp.LTE: "<=",
    exp.GT: ">",
    exp.GTE: ">=",
}


class Conditions(Dialect):
    """SQL in which every function keeps its name: which ones there are is for `sql_functions` to say."""

    NUMBERS_CAN_BE_UNDERSCORE_SEPARATED = True

    class Tokenizer(sql_tokens.Tokenizer):
        IDENTIFIERS = ['"', "`"]  # noqa: RUF012
        KEYWORDS = {  # noqa: RUF012
            **sql_tokens.Tokenizer.KEYWORDS,
            "XOR": TokenType.XOR,
            "~": TokenType.RLIKE,
            "//": TokenType.DIV,
        }

    class Parser(parser.Parser):
        FUNCTIONS = {}  # noqa: RUF012
        FUNCTION_PARSERS = {  # noqa: RUF012
            name: parser.Parser.FUNCTION_PARSERS[name] for name in ("CAST", "TRY_CAST", "EXTRACT")
        }
        DISJUNCTION = {**parser.Parser.DISJUNCTION, TokenType.XOR: exp.Xor}  # noqa: RUF012
        FACTOR = {**parser.Parser.FACTOR, TokenType.DIV: exp.IntDiv}  # noqa: RUF012


def tree(sql: str) -> exp.Expression:
    if not sql.strip():
        raise ConditionError(f"not a SQL condition: {sql!r} is empty")
    try:
        # In parentheses no word begins a statement; a line of its own, since a comment may stand last.
        trees = Dialect.get_or_raise(Conditions).parse(f"({sql}\n)")
    except (SqlglotError, RecursionError) as error:
        raise ConditionError(f"not a SQL condition: {sql!r}{_place(error)}") from error
    if len(trees) == 1 and isinstance(trees[0], (exp.Query, exp.Subquery)):
        raise ConditionError(f"{sql!r}: {SUBQUERY}")
    if len(trees) != 1 or not isinstance(trees[0], exp.Paren):
        raise ConditionError(f"not a SQL condition: {sql!r}: its parentheses do not match, or it holds a comma")
    return trees[0].this  # type: ignore[no-any-return]


def _place(error: BaseException) -> str:
    if isinstance(error, RecursionError):
        return ": nested too deeply"
    places = getattr(error, "errors", None) or [{}]
    before, word = places[0].get("start_context") or "", places[0].get("highlight") or ""
    if word.strip() == ")" and not (places[0].get("end_context") or "").strip():
        return ": something is missing at its end"
    return f": it cannot be read at {word!r}, after {before.lstrip('(')[-30:].strip()!r}" if word else ""


def tokens(sql: str) -> list[Any]:
    return Dialect.get_or_raise(Conditions).tokenize(sql)


def written(node: exp.Expression) -> str:
    return node.sql(dialect=Conditions, comments=False)


def joined_by_and(tree: exp.Expression, inside: bool = False) -> list[exp.Expression]:
    """inside: also what stands in parentheses."""
    parts, waiting = [], [tree]
    while waiting:
        node = waiting.pop()
        if isinstance(node, exp.And):
            waiting += [node.expression, node.this]
        elif inside and isinstance(node, exp.Paren):
            waiting.append(node.this)
        else:
            parts.append(node)
    return parts
