"""Filter: a named rule that keeps or drops rows by their columns, read from YAML and checked in full."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Annotated, Any

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, ValidationError, field_validator, model_validator
from rich.markup import escape

from curate.catalog import library, load
from curate.errors import CurateError, reworded, unknown
from curate.filter.sql import condition, conjuncts
from curate.filter.top import Top
from curate.library.names import check_name
from curate.library.op_names import op_name
from curate.library.yaml_text import parse
from curate.messages.progress import console
from curate.op import Op
from curate.store.file_hash import file_sha256


def _conditions(value: Any) -> Any:
    """`where` in each of its forms as {reason: SQL}."""
    if value is None:
        return {}
    if isinstance(value, str):
        return {f"fails: {part}": part for part in conjuncts(value)}
    if isinstance(value, list) and all(isinstance(item, (str, Mapping)) for item in value):
        joined: dict[str, str] = {}
        for item in value:
            for reason, sql in _conditions(item).items():
                joined[reason] = f"({joined[reason]}) AND ({sql})" if joined.get(reason, sql) != sql else sql
        return joined
    return value


#: Raised when the same rule gives other verdicts: 2 computes whole numbers without bounds, and ranks in 64 bits.
VERSION = 2

#: YAML cuts `{if: n IN (1, 2), else: few}` at its first comma.
COMMAS = "a condition that holds a comma stands in double quotes"


def _rules(value: Any) -> dict[str, str]:
    """`keep` as {reason: SQL}: a SQL string, or a list of those and of {if: SQL, else: reason}.

    >>> _rules([{"if": "lang = 'en'", "else": "not English"}, "words > 2"])
    {'not English': "lang = 'en'", 'fails: words > 2': 'words > 2'}
    """
    items = value if isinstance(value, list) else [value]
    return dict(_conditions([_one_rule(item) for item in items]))


def _one_rule(item: Any) -> str | dict[str, str]:
    if isinstance(item, str):
        return item
    if not isinstance(item, Mapping) or not {"if", "else"} >= set(item) or not isinstance(item.get("if"), str):
        odd = [str(key) for key in item if key not in ("if", "else")] if isinstance(item, Mapping) else []
        hint = f"; {odd[0]!r} is neither: {COMMAS}" if odd else ""
        raise ValueError(f"a rule is written {{if: words > 2, else: two words or fewer}}, got {item!r}{hint}")
    reason = item.get("else") or f"fails: {item['if']}"
    if not isinstance(reason, str):
        raise ValueError(f"`else` is the reason of a dropped row, in words, got {reason!r}")
    return {reason: item["if"]}


def old_form(where: Any) -> str:
    """How `where: {reason: condition}` is written today, or nothing where `where` has another form.

    >>> old_form({"not English": "lang = 'en'"})
    "keep: [{if: lang = 'en', else: not English}]"
    """
    pairs = [
        pair
        for item in (where if isinstance(where, list) else [where])
        if isinstance(item, Mapping)
        for pair in item.items()
    ]
    rules = [{"if": sql, "else": reason} for reason, sql in pairs]
    lines = [
        yaml.safe_dump(rule, default_flow_style=True, sort_keys=False, width=10_000, allow_unicode=True).strip()
        for rule in rules
    ]
    return f"keep: [{', '.join(lines)}]" if rules else ""


class Example(BaseModel):
    """A literal row and whether the filter keeps it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    row: dict[str, Any]
    keep: bool
    why: str = ""


class Filter(BaseModel):
    """Keeps the rows for which every condition is true and that are in `top`; null drops.

    keep: a list of {if: SQL condition, else: reason}; of a dropped row the ledger names the first one that it fails.
        An empty list keeps every row.
    where: SQL conditions without words of their own, one string (split at its ANDs) or a list. It holds those of `keep`
        too, as {reason: condition}; written so in a file it still loads, and a line shows the form with `keep`.
    subset: a DataComp subset file: only rows stay whose uid is in it, and are taken as often as it is there.
    copies: a column of whole numbers, 0 to 65,535: how often a row is taken; 0 drops it.
    columns: {column: op}: what makes each column that the conditions use and the input does not have.
    reason: a column whose text is the reason, instead of the condition.
    rule, published, requires: for the table of filters in README.md (tools/filters_table.py): the rule in a few words,
        the published result to compare with, and what it takes beside the ops in `columns` (files, other columns).
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    @model_validator(mode="before")
    @classmethod
    def _keep_into_where(cls, spec: Any) -> Any:
        if not isinstance(spec, Mapping):
            return spec
        # A name with nothing behind it asks for nothing: only `keep: []` says that every row stays.
        spec = {name: value for name, value in spec.items() if value is not None or name not in ("keep", "where")}
        if "keep" not in spec:
            return spec
        try:
            rules = _rules(spec["keep"])
        except ValueError as error:
            raise ValueError(f"option 'keep': {error}") from error
        where = spec.get("where")
        first = [] if where is None else where if isinstance(where, list) else [where]
        rest = {name: value for name, value in spec.items() if name != "keep"}
        return rest | {"where": [*first, *({reason: sql} for reason, sql in rules.items())] if first else rules}

    name: str
    about: str = ""
    cite: str = ""
    rule: str = ""
    published: str = ""
    requires: str = ""
    columns: dict[str, Any] = {}
    where: Annotated[dict[str, str], BeforeValidator(_conditions)] = {}
    subset: str = ""
    copies: str = ""
    top: Top | None = None
    reason: str = ""
    examples: tuple[Example, ...] = ()

    @field_validator("where")
    @classmethod
    def _is_sql(cls, conditions: dict[str, str]) -> dict[str, str]:
        for sql in conditions.values():
            condition(sql)
        return conditions

    @model_validator(mode="after")
    def _not_empty(self) -> Filter:
        if self.subset and self.copies:
            raise ValueError("`subset` and `copies` both say how often a row is taken: put them into two filters")
        other = self.top is not None or self.subset or self.copies
        if not self.where and not other and "where" not in self.model_fields_set:
            raise ValueError("give `keep`, `where`, `subset`, `copies` or `top`; `keep: []` keeps every row")
        return self

    @cached_property
    def ops(self) -> tuple[Op, ...]:
        """The ops that make its columns, each once.

        Raises:
            CurateError: when a column is not one that its op makes.
        """
        distinct: dict[str, Op] = {}
        for column, spec in self.columns.items():
            op = load(spec)
            if column not in op.makes():
                raise unknown(f"column made by {op_name(type(op))}", column, op.makes(), f"filter {self.name}")
            # By its options alone: a filter is read where the weights and packages of its ops may not be.
            options = op.model_dump_json(exclude=set(op.how))
            distinct.setdefault(f"{op.table()} {op_name(type(op))} {options}", op)
        return tuple(distinct.values())

    def needs(self) -> tuple[str, ...]:
        """Columns that the decision reads."""
        names = [name for sql in self.where.values() for name in condition(sql).columns]
        names += ["uid"] if self.subset else []
        names += [self.copies] if self.copies else []
        names += [self.top.by, *filter(None, [self.top.within])] if self.top else []
        names += [self.reason] if self.reason else []
        return tuple(dict.fromkeys(names))

    def not_in_subset(self) -> str:
        """The reason of a row whose uid the subset file does not have."""
        return f"not in the subset {PurePosixPath(self.subset).name}"

    def no_copies(self) -> str:
        """The reason of a row that is taken 0 times."""
        return f"0 copies by {self.copies}"

    def spec(self) -> dict[str, Any]:
        """What decides its result; what came later only where it is used."""
        top = self.top.spec() if self.top else None
        spec: dict[str, Any] = {"version": VERSION, "where": dict(self.where), "top": top, "reason": self.reason}
        if self.subset:
            spec["subset"] = {"name": PurePosixPath(self.subset).name, "sha256": file_sha256(self.subset)}
        return spec | ({"copies": self.copies} if self.copies else {})


def read_yaml(path: Path) -> dict[str, Any]:
    """A YAML file that holds a mapping.

    Raises:
        CurateError: when it is missing, not YAML, or not a mapping.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError as error:
        raise CurateError(f"no file '{path}'") from error
    except (UnicodeDecodeError, IsADirectoryError) as error:
        raise CurateError(f"{path} is not YAML: {error}") from error
    except ValueError as error:
        raise CurateError(f"{str(path)!r} cannot be the path of a file: {error}") from error
    try:
        data = parse(text, str(path))
    except CurateError as error:
        if "{if:" in text and "is not YAML" in str(error):
            raise CurateError(f"{error}; {COMMAS}") from error
        raise
    if not isinstance(data, dict):
        raise CurateError(f"{path} must hold a mapping (name: ..., ...), got {type(data).__name__}")
    return data


def load_filter(spec: str | Mapping[str, Any] | Filter, name: str = "filter") -> Filter:
    """A filter by its name, by a YAML file's path, or from a mapping.

    Raises:
        CurateError: for an unknown name, option, op, column or a condition that is not SQL.
    """
    if isinstance(spec, Filter):
        return spec
    where = name
    if isinstance(spec, str):
        known = library("filters")
        path = known.get(spec) or Path(spec)
        if spec not in known and path.suffix not in (".yaml", ".yml"):
            raise unknown("filter", spec, known)
        spec, where = {"name": path.stem, **read_yaml(path)}, str(path.name)
    if not isinstance(spec, Mapping):
        raise CurateError(f"a filter is its name, its YAML file or a mapping (keep: ..., top: ...), got {spec!r}")
    try:
        rule = Filter(**{"name": name, **spec})
        check_name(rule.name, "filter")
    except ValidationError as error:
        if where == "filter" and isinstance(spec.get("name"), str):
            where = spec["name"]
        raise reworded(error, f"filter {where}", ["keep", *Filter.model_fields]) from error
    except ValueError as error:
        raise CurateError(f"filter {where}: {error}") from error
    if today := old_form(spec.get("where")):
        console.print(
            f"[yellow]filter {escape(rule.name)}: a condition says what stays; write [/]{escape(today)}", soft_wrap=True
        )
    assert rule.ops is not None
    return rule
