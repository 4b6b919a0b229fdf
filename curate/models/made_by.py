"""What made the columns that an op reads: another model's, or an older version's, are refused by name."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from curate.catalog import find, names
from curate.errors import CurateError
from curate.library.op_names import op_name
from curate.op import Op

Specs = Mapping[str, Mapping[str, Any]]


def refuse_older(op: Op, made_by: Specs) -> None:
    """
    made_by: for each column that `op` reads the spec of the op that made it, as Op.check_reads has it.

    Raises:
        CurateError: for a column that an op of ours made when its results were others.
    """
    for column, spec in made_by.items():
        name = str(spec.get("op") or "")
        if name not in names():
            continue
        now = find(name).version
        if spec["version"] < now:
            raise CurateError(
                f"{op_name(type(op))}: column '{column}' was made by version {spec['version']} of {name}, and version "
                f"{now} makes other values: run {_written(spec)} again first"
            )


def refuse_other_models(op: Op, model: str, weights: str, made_by: Specs) -> None:
    """
    Raises:
        CurateError: for a column that was made with another image-text model than `op` has, or by an older version.
    """
    refuse_older(op, made_by)
    for column, spec in made_by.items():
        other = (spec.get("options") or {}).get("model")
        if other is not None and (other, spec["weights"]) != (model, weights):
            maker = f"model {other}" if other != model else f"other weights of {other} ({spec['weights']})"
            raise CurateError(
                f"{op_name(type(op))}: column '{column}' was made by {spec['op']} with {maker}, this op has {model}: "
                f"numbers of two models do not go together; run {spec['op']}: {{model: {model}}} first, or give this "
                f"op `model: {other}`"
            )


def refuse_another_maker(op: Op, column: str, made_by: Specs, file: str, maker: Op) -> None:
    """
    maker: the op that made the values of `file`, as it made those of `column`.

    Raises:
        CurateError: when `column` was made by another.
    """
    ours, theirs = made_by.get(column, {}), maker.spec()
    if _told_apart(ours) and _told_apart(ours) != _told_apart(theirs):
        raise CurateError(
            f"{op_name(type(op))}: column '{column}' was made by {_named(ours)}, '{file}' by {_named(theirs)}: their "
            "values mean other things"
        )


def faults_in_order(ops: Iterable[tuple[str, Op]], known: Specs) -> list[str]:
    """Columns that the next of some ops would refuse, found before the first runs; each fault begins with its place.

    ops: (place, op). known: for columns that are there already the spec of the op that made them.
    """
    specs, faults = dict(known), []
    for place, op in ops:
        try:
            op.check_reads({name: specs.get(name, {}) for name in op.reads() if name != "image"})
        except CurateError as error:
            faults.append(f"{place}: {error}")
        specs |= dict.fromkeys(op.makes(), op.spec())
    return faults


def _written(spec: Mapping[str, Any]) -> str:
    model = (spec.get("options") or {}).get("model")
    return f"{spec['op']}: {{model: {model}}}" if model else str(spec["op"])


def _told_apart(spec: Mapping[str, Any]) -> tuple[Any, ...]:
    """What of a spec decides what values mean: all but the column's name. Empty for a column of the input."""
    if not spec.get("op"):
        return ()
    options = {name: value for name, value in spec["options"].items() if name != "name"}
    return spec["op"], options, spec["version"], spec["weights"], spec.get("decoding")


def _named(spec: Mapping[str, Any]) -> str:
    """An op with the options that tell it from another of its kind.

    >>> _named({"op": "score.clip", "options": {"model": "ViT-L-14/openai", "name": "match"}})
    "score.clip (model 'ViT-L-14/openai')"
    """
    options = ", ".join(f"{n} {v!r}" for n, v in spec["options"].items() if n in ("model", "kind", "windows"))
    return f"{spec['op']} ({options})" if options else str(spec["op"])
