"""A recipe with the conditions that are asked for besides it: `curate filter STORE RECIPE --where ...`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from curate.errors import CurateError
from curate.filter.rule import Filter, load_filter
from curate.filter.sql import condition
from curate.filter.sql_values import ConditionError
from curate.library.names import check_name


def with_conditions(
    recipe: str | Mapping[str, Any] | None,
    where: str | None = None,
    top: str | Mapping[str, Any] | None = None,
    name: str | None = None,
    subset: str | None = None,
) -> Filter:
    """A filter that ships, of a file, or as a file has it; the rows must also meet `where`, and `top` and `subset` take
    the place of the recipe's. Without a recipe, `where`, `top` and `subset` are all of it.

    name: of the filter; by default the recipe's, or `custom`.

    Raises:
        CurateError: when there is none of the four, or one cannot be read.
    """
    more = {name: value for name, value in (("top", top), ("subset", subset)) if value is not None}
    if recipe is None and where is None and not more:
        raise CurateError("name a filter, or give `where`, `top` or `subset`; `curate list` shows the filters")
    spec: dict[str, Any] = {"name": name or "custom"}
    if recipe is not None:
        rule = load_filter(recipe, "custom")
        if where is None and not more:
            return rule.model_copy(update={"name": _checked(name or rule.name)})
        rules = [{"if": sql, "else": reason} for reason, sql in rule.where.items()]
        spec = rule.model_dump(exclude={"where"}) | ({"name": name} if name else {}) | {"keep": rules}
    if where is not None:
        try:
            condition(where)
        except ConditionError as error:
            raise CurateError(f"where: {error}") from error
        spec["keep"] = [*spec.get("keep", []), where]
    return load_filter(spec | more)


def _checked(name: str) -> str:
    try:
        return check_name(name, "filter")
    except ValueError as error:
        raise CurateError(f"filter {name}: {error}") from error
