"""What ships, a line each, and one op, filter or pipeline in full: `curate list`, `curate list NAME`."""

from __future__ import annotations

import importlib
import inspect
import typing
from typing import Any

from pydantic.fields import FieldInfo
from rich.markup import escape
from rich.table import Table

from curate.catalog import about, find, library, load, names
from curate.errors import CurateError, unknown
from curate.filter.rule import load_filter, read_yaml
from curate.library.op_names import DECIDE, op_name
from curate.messages.terminal import out
from curate.op import Op
from curate.read import inputs


def print_library() -> None:
    """Everything that ships, by its first docstring line and its paper."""
    sections: dict[str, list[tuple[str, str, str]]] = {
        "ops (score, dedupe, balance, annotate; curate score)": [(n, about(n), find(n).cite) for n in names()],
        "filters (filter; curate filter)": [
            (n, rule.about, rule.cite) for n, rule in ((n, load_filter(n)) for n in library("filters"))
        ],
        "pipelines (curate run)": [
            (n, str(read_yaml(path).get("about", "")), "") for n, path in library("pipelines").items()
        ],
        "inputs (read)": [
            (n, (importlib.import_module(m.__name__).__doc__ or "").partition("\n")[0], "")
            for n, m in inputs.formats().items()
        ],
    }
    for title, rows in sections.items():
        table = Table(box=None, pad_edge=False, show_header=False, title=f"[bold]{title}[/]", title_justify="left")
        for column in range(3):
            table.add_column(no_wrap=column == 0, overflow="fold", style="dim" if column == 2 else "")
        for row in rows:
            table.add_row(*(escape(cell.strip()) for cell in row))
        out.print(table)
        out.print()


def print_one(name: str) -> None:
    """An op with its text, columns and options; a filter or a pipeline as its file has it.

    Raises:
        CurateError: for a name that nothing has.
    """
    files = library("filters") | library("pipelines")
    if name in files:
        out.say(f"# {files[name]}\n{files[name].read_text(encoding='utf-8').rstrip()}")
    elif ":" in name or name in names():
        for heading, line in _op_lines(name, find(name)):
            out.say(f"{heading:<8} {line}" if heading else line)
    else:
        raise unknown("op, filter or pipeline", name, [*names(), *files])


def _op_lines(name: str, op: type[Op]) -> list[tuple[str, str]]:
    """(heading, line) of all that an author and a YAML file say of an op."""
    lines = [("", name)] if ":" in name else [("", f"{name}: {about(name)}")]
    lines += [("", ""), ("", inspect.cleandoc(op.__doc__ or "(it has no docstring)")), ("", "")]
    try:
        ready = load(name)
        lines += [("table", ready.table()), ("reads", ", ".join(ready.reads()))]
        lines += [("makes", ", ".join(f"{column}: {kind}" for column, kind in ready.makes().items()))]
        lines += decision_lines(ready)
    except CurateError as error:
        lines += [("columns", f"depend on its options ({error})")]
    lines += [("option", _option(*field)) for field in op.model_fields.items()]
    return lines + ([("cite", op.cite)] if op.cite else [])


def decision_lines(op: Op) -> list[tuple[str, str]]:
    """(heading, line) of which rows a `dedupe:` or `balance:` step keeps by the op's columns, and why the others go."""
    decision = op.decision()
    if not decision:
        return []
    rule = load_filter({"name": op.table(), **decision})
    kind = op_name(type(op)).partition(".")[0]
    verbs = f"`{kind}:`" if kind in DECIDE else " or ".join(f"`{verb}:`" for verb in DECIDE)
    lines = [("keeps", f"{sql}, else: {reason}") for reason, sql in rule.where.items()]
    lines += [("reason", f"for each row in {rule.reason}")] if rule.reason else []
    return [*lines, ("step", f"'{rule.name}' of {verbs}")]


def _option(name: str, field: FieldInfo) -> str:
    default = "" if field.is_required() else f" = {field.get_default(call_default_factory=True)!r}"
    return f"{field.alias or name}: {_type(field.annotation)}{default}"


def _type(kind: Any) -> str:
    if typing.get_origin(kind) is None and isinstance(kind, type):
        return kind.__name__
    return str(kind).replace("typing.", "")
