"""What ships, and how a name in YAML is found: ops, filters and pipelines by their file, a user's op by import."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from collections.abc import Iterable, Mapping, Sequence
from importlib import resources
from pathlib import Path
from types import ModuleType
from typing import Any

from pydantic import ValidationError

from curate.errors import CurateError, reworded, unknown
from curate.library.names import check_name
from curate.library.op_names import KINDS, op_name
from curate.library.user_code import check_contract, import_users, one_line
from curate.library.yaml_text import in_one_line
from curate.op import Op


def library(kind: str) -> dict[str, Path]:
    """YAML files that ship: {name: path} for `filters` or `pipelines`."""
    installed = Path(str(resources.files("curate"))) / "_library" / kind
    folder = installed if installed.is_dir() else Path(__file__).parent.parent / kind
    return {path.stem: path for path in sorted(folder.glob("*.yaml"))}


def names() -> list[str]:
    """Every op that ships, found by its file."""
    ops = []
    for kind in KINDS:
        package = importlib.import_module(f"curate.{kind}")
        ops += [f"{kind}.{m.name}" for m in pkgutil.iter_modules(package.__path__) if not m.name.startswith("_")]
    return sorted(ops)


def find(name: str) -> type[Op]:
    """The op class that a name in YAML means.

    Raises:
        CurateError: for an unknown name, with the nearest one; or a module that does not hold exactly one op.
    """
    if ":" in name:
        return _of_user(name)
    if name not in names():
        raise unknown("op", name, names())
    module = importlib.import_module(f"curate.{name}")
    own = [
        c
        for c in vars(module).values()
        if inspect.isclass(c) and issubclass(c, Op) and c.__module__ == module.__name__ and not inspect.isabstract(c)
    ]
    if len(own) != 1:
        raise CurateError(f"{module.__name__} must hold exactly one op, found {len(own)}")
    return own[0]


def _of_user(name: str) -> type[Op]:
    module_name, _, class_name = name.partition(":")
    module = import_users(module_name, f"op '{name}'")
    cls = getattr(module, class_name, None)
    if not (inspect.isclass(cls) and issubclass(cls, Op) and not inspect.isabstract(cls)):
        raise CurateError(f"op '{name}': {_no_op(module, class_name, cls)}")
    return cls


def _no_op(module: ModuleType, name: str, thing: Any) -> str:
    """Why a name of a user's module is no op."""
    if inspect.isclass(thing) and issubclass(thing, Op):
        lacking = ", ".join(sorted(thing.__abstractmethods__))
        return f"{module.__name__}.{name} lacks {lacking}: an op defines it"
    if inspect.isfunction(thing):
        above = "put `@score_function(reads=..., makes=...)` of curate.function above it"
        return f"{module.__name__}.{name} is a function: {above}"
    if thing is not None:
        return f"{module.__name__}.{name} is no subclass of Score, Grouped, Linked or Fitted of curate.op"
    ops = [n for n, c in vars(module).items() if inspect.isclass(c) and issubclass(c, Op) and not inspect.isabstract(c)]
    return str(unknown("op", name, ops, module.__name__))


def load(spec: str | Mapping[str, Any] | type[Op] | Op) -> Op:
    """An op from YAML: `score.words`, or `{score.clip: {model: ViT-L-14/openai}}`; in Python also a class, or an op.

    Raises:
        CurateError: for an unknown op or option, or a value that does not fit.
    """
    if isinstance(spec, Op):
        return _checked(spec, op_name(type(spec)))
    options: dict[str, Any] = {}
    if inspect.isclass(spec) and issubclass(spec, Op):
        cls, name = spec, op_name(spec)
    else:
        name, options = split_spec(spec, "op")
        cls = find(name)
    try:
        return _checked(cls(**options), name)
    except ValidationError as error:
        known = [field.alias or option for option, field in cls.model_fields.items()]
        raise reworded(error, name, known) from error
    except CurateError:
        raise
    except Exception as error:
        raise CurateError(f"op '{name}' cannot be made: {one_line(error)}") from error


def _checked(op: Op, name: str) -> Op:
    """The op, when its table can have its name, and when a user's op answers as an op must."""
    if ":" in name:
        check_contract(op, name)
    try:
        check_name(op.table(), "table")
    except ValueError as error:
        hint = "" if op.name else f"; write {{{name}: {{name: ...}}}}"
        raise CurateError(f"{name}: {error}{hint}") from error
    return op


def split_spec(spec: Any, kind: str) -> tuple[str, dict[str, Any]]:
    """`name` or `{name: {option: value}}` as (name, options)."""
    if isinstance(spec, str):
        return spec, {}
    if isinstance(spec, Mapping) and len(spec) == 1:
        ((name, options),) = spec.items()
        if isinstance(name, str) and (options is None or isinstance(options, Mapping)):
            return name, {str(k): v for k, v in (options or {}).items()}
    raise CurateError(f"an {kind} is written `name` or `{{name: {{option: value}}}}`, got {spec!r}")


def about(name: str) -> str:
    """First line of an op's module, read without importing what the op needs."""
    return (inspect.getdoc(importlib.import_module(f"curate.{name}")) or "").partition("\n")[0]


def each_spec(ops: Any) -> list[Any]:
    """Ops in any form that a user may write: one, several, or a mapping of names to options.

    >>> each_spec({"score.words": None, "score.clip": {"model": "ViT-L-14/openai"}})
    [{'score.words': None}, {'score.clip': {'model': 'ViT-L-14/openai'}}]
    """
    if isinstance(ops, Mapping):
        return [{name: options} for name, options in ops.items()]
    return list(ops) if isinstance(ops, Sequence) and not isinstance(ops, str) else [ops]


def load_all(specs: Iterable[Any]) -> list[Op]:
    """Several ops. Two of one table that compute and decide the same are one: the first, with its batch size.

    Raises:
        CurateError: as `load`; for two ops that would write the same table, or drop other rows by it.
    """
    ops: dict[str, Op] = {}
    for spec in specs:
        op = load(spec)
        first = ops.setdefault(op.table(), op)
        if first is not op and (first.spec(), first.decision()) != (op.spec(), op.decision()):
            raise CurateError(
                f"two ops would write table '{op.table()}': give one of them another `name`: {_with_name(op)}"
            )
    return list(ops.values())


def _with_name(op: Op) -> str:
    """An op as YAML has it, with another name for its table."""
    options = op.model_dump(mode="json", exclude_unset=True) | {"name": f"{op.table()}_2"}
    return in_one_line({op_name(type(op)): options})
