"""Checking a pipeline: columns followed from step to step, files, weights and folders tried, before any work."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import pyarrow as pa
from rich.markup import escape

from curate.alike.against_old import itself_among_old
from curate.errors import CurateError, findings_of, unknown
from curate.filter.step import types_of
from curate.library.op_names import op_name
from curate.messages.progress import console
from curate.models.made_by import faults_in_order
from curate.op import Op
from curate.pipeline.place_check import folder_fault, op_faults
from curate.pipeline.steps import IMAGE_TYPES, Known, Pipeline
from curate.pipeline.weak_scores import in_pipeline
from curate.read.source import open_source
from curate.refuse.list_check import list_faults
from curate.store.store import Store
from curate.store.view import View


def check(pipeline: Pipeline, where: str, known_steps: int | None = None, elsewhere: bool = False) -> list[str]:
    """Follow the columns from step to step without doing any work; returns the faults, one line each.

    known_steps: only so many first steps have all the columns that they are to have.
    elsewhere: see `load_pipeline`.
    """
    faults: list[str] = []
    if not elsewhere and (fault := folder_fault(pipeline.root, "root")):
        faults.append(fault)
    faults += _list_faults(pipeline, where, elsewhere)
    known = Known(None, True)
    ordered: list[tuple[str, Op]] = []
    if known_steps != 0:
        try:
            known = _known_at_start(pipeline)
        except CurateError as error:
            if not (elsewhere and _cannot_be_seen(pipeline)):
                faults += findings_of(error)
    for number, step in enumerate(pipeline.steps, 1):
        if known_steps is not None and number > known_steps:
            known = replace(known, columns=None, images=True)
        if step.verb == "read":
            faults += [f"{where}, step {number}: `read` can only be the first step"] if number > 1 else []
            continue
        place = f"{where}: {step.verb} ({step.name})"
        ops = step.ops(known.names())
        ordered += [(place, op) for op in ops] if known.columns is not None else []
        faults_of_ops, known = _ops_faults(ops, known, pipeline.root)
        faults += [f"{place}: {fault}" for fault in [*faults_of_ops, *step.check(known)]]
        known = step.after(known)
    if not elsewhere:
        faults += filter(None, [folder_fault(folder, f"{where}: write (write): to") for folder in pipeline.writes_to])
    # What makes a column is told only where every column is there.
    faults = faults or (faults_in_order(ordered, _makers_at_start(pipeline)) if known.columns is not None else [])
    for line in in_pipeline(pipeline):
        console.print(f"[yellow]{escape(f'{where}: {line}')}")
    return faults


def _list_faults(pipeline: Pipeline, where: str, elsewhere: bool) -> list[str]:
    """What is wrong with the opt-out lists of all steps; with those that this machine can see."""
    return [
        f"{where}: {step.verb} ({step.name}): {fault}"
        for step in pipeline.steps
        for fault in list_faults([file for file in step.opt_out() if not (elsewhere and _is_far(file))])
    ]


def _is_far(place: str) -> bool:
    return "://" in place or os.path.isabs(place)


def _cannot_be_seen(pipeline: Pipeline) -> bool:
    """Whether the input lies where only the cluster looks: a URL, or a path that is not there on this machine."""
    place = pipeline.reads.place if pipeline.reads else pipeline.root
    return _is_far(place)


def _known_at_start(pipeline: Pipeline) -> Known:
    """What is known of the rows that are read, or that the store has."""
    if not pipeline.reads:
        view = View.of(Store(pipeline.root))
        return Known(types_of(view, view.columns) or dict.fromkeys(view.columns), view.images is not None)
    source = open_source(pipeline.reads)
    columns = dict.fromkeys([*source.mapping, *source.fields]) | _types_of_input(source.schemas)
    columns |= dict.fromkeys(("uid", "url", "text"), pa.string())
    images = source.has_images or source.format == "webdataset"
    return Known(columns | (IMAGE_TYPES if images else {}), images)


def _types_of_input(schemas: list[pa.Schema]) -> dict[str, Any]:
    """The types of columns that have one in all files, and stay as they are when they are read."""
    types: dict[str, set[pa.DataType]] = {}
    for field in (field for schema in schemas for field in schema):
        types.setdefault(field.name, set()).add(field.type)
    one = {name: next(iter(kinds)) for name, kinds in types.items() if len(kinds) == 1}
    return {name: kind for name, kind in one.items() if not pa.types.is_nested(kind) and not pa.types.is_null(kind)}


def _makers_at_start(pipeline: Pipeline) -> dict[str, Mapping[str, Any]]:
    """For each column of a store that a pipeline goes on with, the spec of the op that made it."""
    if pipeline.reads:
        return {}
    view = View.of(Store(pipeline.root))
    manifest = view.store.manifest()
    return {name: manifest.spec_of(folder) for name, folder in view.columns.items()}


def _ops_faults(ops: Sequence[Op], known: Known, root: str) -> tuple[list[str], Known]:
    """What ops that run one after the other on the store under `root` lack, and what is known once they have run."""
    faults: list[str] = []
    for op in ops:
        wrong = itself_among_old(op, root) or op_faults(op)
        faults += wrong
        if not (wrong and known.columns is None):
            faults += _lacking(op, known)
            known = known.adding(op.makes())
    return faults, known


def _lacking(op: Op, known: Known) -> list[str]:
    """What an op reads that is not there."""
    name = op_name(type(op))
    images = [f"{name} reads images: download comes first"] if "image" in op.reads() and not known.images else []
    if known.columns is None:
        return images
    columns = [column for column in op.reads() if column != "image" and column not in known.columns]
    return images + [str(unknown("column", column, known.columns, f"{name} reads it")) for column in columns]
