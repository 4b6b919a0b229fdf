"""A step as YAML has it, `- verb: what`, into the step that is done: names in full, options checked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from pydantic import ValidationError

from curate.catalog import load_all
from curate.download.options import DownloadOptions
from curate.errors import CurateError, reworded, unknown
from curate.filter.rule import load_filter
from curate.library.op_names import DECIDE, KINDS, op_name
from curate.library.yaml_text import in_one_line
from curate.op import Op, Score
from curate.pipeline.steps import AnnotateStep, DecideStep, DownloadStep, FilterStep, ReadStep, Step, WriteStep
from curate.read.options import ReadOptions
from curate.write.step import WriteOptions

#: Verbs whose step is a list of ops.
OPS = ("annotate", *KINDS)

VERBS = ("read", "download", "annotate", "score", "filter", "dedupe", "balance", "write")


def in_full(step: Any) -> Any:
    """A step's YAML with its ops as a list, and named in full; anything else as it is.

    >>> in_full({"dedupe": [{"exact": {"by": "url"}}, "lab.ops:Twins"]})
    {'dedupe': [{'dedupe.exact': {'by': 'url'}}, 'lab.ops:Twins']}
    >>> in_full({"score": {"words": None, "clip": {"model": "ViT-L-14/openai"}}})
    {'score': [{'score.words': None}, {'score.clip': {'model': 'ViT-L-14/openai'}}]}
    """
    if not isinstance(step, Mapping) or len(step) != 1:
        return step
    ((verb, what),) = step.items()
    if verb not in OPS:
        return step
    items = [{name: options} for name, options in what.items()] if isinstance(what, Mapping) else what
    return {verb: [_named_in_full(item, verb) for item in (items if isinstance(items, list) else [items])]}


def _named_in_full(item: Any, verb: str) -> Any:
    if isinstance(item, Mapping):
        return {_named_in_full(name, verb): options for name, options in item.items()}
    short = isinstance(item, str) and verb in KINDS and "." not in item and ":" not in item
    return f"{verb}.{item}" if short else item


def steps_of(step: Any, where: str) -> list[Step]:
    """What a step of a pipeline's file does: one step, or one for each op of `dedupe` and `balance`, each over the rows
    that the one before it left.

    step: as `in_full` has it.

    Raises:
        CurateError: for a step that is none, and for its ops, rules and options.
    """
    if not isinstance(step, Mapping) or len(step) != 1:
        raise CurateError(f"{where}: a step is one `verb: what`, got {step!r}")
    ((verb, what),) = step.items()
    if verb not in VERBS:
        raise unknown("step", str(verb), VERBS, where)
    try:
        if verb in OPS:
            ops = load_all(what)
            return [decided(op, verb) for op in ops] if verb in DECIDE else [annotated(ops, verb)]
        if verb == "filter":
            rule = load_filter(what, "filter")
            return [FilterStep(verb, rule.name, rule)]
    except CurateError as error:
        raise CurateError(f"{where}: {error}") from error
    return [_with_options(verb, what, where)]


def annotated(ops: Sequence[Op], verb: str = "annotate") -> AnnotateStep:
    return AnnotateStep(verb, ", ".join(op.table() for op in ops), tuple(ops))


def decided(op: Op, verb: str) -> DecideStep:
    """The step in which an op's own decision drops rows.

    Raises:
        CurateError: for an op that decides nothing, or stands under another verb.
    """
    name = op_name(type(op))
    options = op.model_dump(mode="json", exclude_unset=True)
    spec = in_one_line([{name: options} if options else name])
    kind = name.partition(".")[0]
    if kind in DECIDE and kind != verb and op.decision():
        raise CurateError(f"{verb}: {name} is no op of `{verb}:`; write `- {kind}: {spec}`")
    if not op.decision():
        other = "score" if isinstance(op, Score) else "annotate"
        raise CurateError(
            f"{verb}: {name} makes {', '.join(op.makes())} and does not say which rows go: write `- {other}: {spec}`; "
            f"rows go by its columns in a `filter:` step, or by another op in a `{verb}:` step"
        )
    try:
        rule = load_filter({"name": op.table(), **op.decision()})
    except CurateError as error:
        raise CurateError(f"{verb}: {name}: its `decision`: {error}") from error
    return DecideStep(verb, rule.name, rule, op)


def _with_options(verb: str, what: Any, where: str) -> Step:
    kinds: dict[str, tuple[Any, type[ReadOptions | DownloadOptions | WriteOptions]]] = {
        "read": (ReadStep, ReadOptions),
        "download": (DownloadStep, DownloadOptions),
        "write": (WriteStep, WriteOptions),
    }
    step, options = kinds[verb]
    try:
        parsed: Step = step(verb, verb, options(**(what or {})))
    except ValidationError as error:
        raise reworded(error, f"{where}: {verb}", options.model_fields) from error
    except TypeError as error:
        raise CurateError(f"{where}: {verb} takes options (name: value), got {what!r}") from error
    return parsed


def with_own_names(steps: Sequence[Step]) -> list[Step]:
    """Steps that drop rows with names of their own: the ledger names the step that dropped a row."""
    taken = {"download"}
    named = []
    for step in steps:
        name, number = step.name, 1
        while step.decides_by() and name in taken:
            number += 1
            name = f"{step.name}_{number}"
        taken |= {name} if step.decides_by() else set()
        named.append(replace(step, name=name))
    return named
