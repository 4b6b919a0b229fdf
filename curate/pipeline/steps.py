"""Steps: a pipeline as it was read, each step a verb with its checked options."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Literal

from pydantic import BaseModel, ConfigDict

from curate.download.step import DownloadOptions
from curate.errors import CurateError
from curate.filter.rule import Filter
from curate.op import Op, Score
from curate.read.options import ReadOptions
from curate.write.step import WriteOptions

Verb = Literal["read", "download", "annotate", "filter", "write"]
VERBS: tuple[Verb, ...] = ("read", "download", "annotate", "filter", "write")

#: Rows whose image could not be had leave here, with their download status as the reason.
NO_IMAGE = Filter(name="download", where={"no image": "status = 'success'"}, reason="status")


class Step(BaseModel):
    """One verb with what it is to do, already checked."""

    model_config = ConfigDict(frozen=True, arbitrary_types_allowed=True)

    verb: Verb
    name: str
    do: ReadOptions | DownloadOptions | WriteOptions | Filter | tuple[Op, ...]


class Pipeline(BaseModel):
    """Steps over one store. memory: bytes that one worker of a whole-dataset step may use."""

    model_config = ConfigDict(frozen=True)

    name: str
    about: str = ""
    root: str
    memory: int | None = None
    steps: tuple[Step, ...]


def ops_of(pipeline: Pipeline) -> list[Op]:
    """Every op of its steps and filters."""
    return [op for step in pipeline.steps for op in needed_ops(step, set())]


def needed_ops(step: Step, columns: set[str]) -> Sequence[Op]:
    if isinstance(step.do, Filter):
        return lacking_ops(step.do, columns)
    return step.do if isinstance(step.do, tuple) else ()


def lacking_ops(rule: Filter, columns: set[str]) -> list[Op]:
    """The filter's ops that have to run before it: a score that is there already (from the input, or an earlier step)
    is taken as it is; what was judged over all rows is judged again over those that are in now."""

    def there(op: Op) -> bool:
        return isinstance(op, Score) and set(rule.columns) & set(op.makes()) <= columns

    return [op for op in rule.ops if not there(op)]


def summary(pipeline: Pipeline) -> str:
    """What a check of it has looked at."""
    first, ops = pipeline.steps[0].do, ops_of(pipeline)
    begin = f"input {first.input} can be read" if isinstance(first, ReadOptions) else f"store {pipeline.root} has rows"
    filters = sum(isinstance(step.do, Filter) for step in pipeline.steps)
    return (
        f"{begin}; root {pipeline.root} can be written; {len(ops)} ops: options, files, weights, packages; "
        f"the conditions of {filters} filters; every column that a step reads"
    )


def on_all_nodes(pipeline: Pipeline) -> Pipeline:
    """The same with a root that means the same folder to the workers of a cluster: they do not run where the user does.

    Raises:
        CurateError: for a relative root inside a job, whose folder is deleted with it.
    """
    if "://" in pipeline.root or os.path.isabs(pipeline.root):
        return pipeline
    here = os.path.abspath(pipeline.root)
    if "/working_dir_files/" in here:
        raise CurateError(
            f"root '{pipeline.root}' is a relative path: here that is the temporary folder of a job, which is deleted. "
            "Name storage that every node sees: --set root=s3://BUCKET/..., or an absolute path that is mounted on all"
        )
    return pipeline.model_copy(update={"root": here})
