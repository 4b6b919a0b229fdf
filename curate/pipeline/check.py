"""Checking a pipeline: columns followed from step to step, files, weights and folders tried, before any work."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from typing import Any

import pyarrow as pa
from rich.markup import escape

from curate.cluster.suspects import DEADLY
from curate.download.statuses import STATUS as FETCHED
from curate.download.step import COLUMNS as IMAGE_COLUMNS
from curate.download.step import DownloadOptions
from curate.errors import CurateError, findings_of, unknown
from curate.filter.rule import Filter
from curate.filter.step import check_columns, types_of
from curate.messages.progress import console
from curate.models.made_by import faults_in_order
from curate.op import Op, op_name
from curate.pictures.resize import STATUS as STORED
from curate.pipeline.place_check import folder_fault, op_faults
from curate.pipeline.steps import Pipeline, Step, needed_ops
from curate.pipeline.weak_scores import in_pipeline
from curate.read.options import ReadOptions
from curate.read.source import open_source
from curate.store.image_columns import IMAGE_FIELDS
from curate.store.store import Store
from curate.store.view import View
from curate.write.step import WriteOptions

_IMAGE_TYPES = {name: IMAGE_FIELDS.get(name) for name in IMAGE_COLUMNS}


def check(pipeline: Pipeline, where: str, known_steps: int | None = None, elsewhere: bool = False) -> list[str]:
    """Follow the columns from step to step without doing any work; returns the faults, one line each.

    known_steps: only so many first steps have all the columns that they are to have.
    elsewhere: see `load_pipeline`.
    """
    faults: list[str] = []
    if not elsewhere and (fault := folder_fault(pipeline.root, "root")):
        faults.append(fault)
    columns, images = None, True
    ordered: list[tuple[str, Op]] = []
    if known_steps != 0:
        try:
            columns, images = _columns_at_start(pipeline)
        except CurateError as error:
            if not (elsewhere and _cannot_be_seen(pipeline)):
                faults += findings_of(error)
    for number, step in enumerate(pipeline.steps, 1):
        if known_steps is not None and number > known_steps:
            columns, images = None, True
        place = f"{where}: {step.verb} ({step.name})"
        if step.verb == "read":
            if number > 1:
                faults.append(f"{where}, step {number}: `read` can only be the first step")
            continue
        if step.verb == "download":
            images = True
            columns = None if columns is None else columns | _IMAGE_TYPES
        faults += _step_faults(step, place, columns, images)
        if columns is not None:
            ops = needed_ops(step, set(columns))
            ordered += [(place, op) for op in ops]
            columns |= {name: kind for op in ops for name, kind in op.makes().items()}
        if isinstance(step.do, WriteOptions) and step.do.to and not elsewhere:
            faults += filter(None, [folder_fault(step.do.to, f"{place}: to")])
    # What makes a column is told only where every column is there.
    faults = faults or (faults_in_order(ordered, _makers_at_start(pipeline)) if columns is not None else [])
    for line in in_pipeline(pipeline):
        console.print(f"[yellow]{escape(f'{where}: {line}')}")
    return faults


def _cannot_be_seen(pipeline: Pipeline) -> bool:
    """Whether the input lies where only the cluster looks: a URL, or a path that is not there on this machine."""
    first = pipeline.steps[0].do
    place = first.place if isinstance(first, ReadOptions) else pipeline.root
    return "://" in place or os.path.isabs(place)


def _columns_at_start(pipeline: Pipeline) -> tuple[dict[str, Any], bool]:
    """The columns before the second step with their types where these are known, and whether there are images."""
    first = pipeline.steps[0]
    if not isinstance(first.do, ReadOptions):
        view = View.of(Store(pipeline.root))
        return types_of(view, view.columns) or dict.fromkeys(view.columns), view.images is not None
    source = open_source(first.do)
    columns = dict.fromkeys([*source.mapping, *source.fields]) | _types_of_input(source.schemas)
    columns |= dict.fromkeys(("uid", "url", "text"), pa.string())
    images = source.has_images or source.format == "webdataset"
    return columns | (_IMAGE_TYPES if images else {}), images


def _types_of_input(schemas: list[pa.Schema]) -> dict[str, Any]:
    """The types of columns that have one in all files, and stay as they are when they are read."""
    types: dict[str, set[pa.DataType]] = {}
    for field in (field for schema in schemas for field in schema):
        types.setdefault(field.name, set()).add(field.type)
    one = {name: next(iter(kinds)) for name, kinds in types.items() if len(kinds) == 1}
    return {name: kind for name, kind in one.items() if not pa.types.is_nested(kind) and not pa.types.is_null(kind)}


def _retry_faults(options: DownloadOptions, place: str) -> list[str]:
    """Statuses that no download gives: nothing would be tried again, without a word."""
    known = sorted({*FETCHED, *STORED, DEADLY} - {"success"})
    return [
        f"{place}: {unknown('status', status, known, 'retry')}"
        for status in options.retry
        if status not in known and not re.fullmatch(r"http_[1-5]\d\d", status)
    ]


def _makers_at_start(pipeline: Pipeline) -> dict[str, Mapping[str, Any]]:
    """For each column of a store that a pipeline goes on with, the spec of the op that made it."""
    if isinstance(pipeline.steps[0].do, ReadOptions):
        return {}
    view = View.of(Store(pipeline.root))
    manifest = view.store.manifest()
    return {name: manifest.spec_of(folder) for name, folder in view.columns.items()}


def _step_faults(step: Step, place: str, columns: dict[str, Any] | None, images: bool) -> list[str]:
    """What one step lacks; columns: those before it, None when they are not known."""
    if step.verb == "write" and not images:
        return [f"{place}: there are no images to write: download comes first"]
    faults = _retry_faults(step.do, place) if isinstance(step.do, DownloadOptions) else []
    have = columns
    for op in needed_ops(step, set(columns or ())):
        wrong = op_faults(op)
        faults += [f"{place}: {fault}" for fault in wrong]
        if wrong and have is None:
            continue
        for name in op.reads():
            if name == "image" and not images:
                faults.append(f"{place}: {op_name(type(op))} reads images: download comes first")
            elif name != "image" and have is not None and name not in have:
                faults.append(str(unknown("column", name, have, f"{place}: {op_name(type(op))} reads it")))
        have = None if have is None else have | op.makes()
    if have is None:
        return faults
    try:
        if isinstance(step.do, Filter):
            check_columns(step.do, have)
        elif isinstance(step.do, WriteOptions):
            faults += [str(unknown("column", n, have, place)) for n in step.do.columns or () if n not in have]
    except CurateError as error:
        faults += [f"{place}: {finding}" for finding in findings_of(error)]
    return faults
