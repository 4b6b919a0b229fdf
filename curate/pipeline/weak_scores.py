"""Says where rows are judged by a score of lite0-minilm, which shows that a pipeline works and gives no verdicts."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from typing import Any

import pyarrow as pa

from curate.models.names import EMBEDDED
from curate.op import Op, Score
from curate.pipeline.steps import Pipeline
from curate.store.manifest import Keep, Manifest, Table

#: The pipeline that is made for it.
DEMO = "demo"

#: Endings of the columns of score.clip that are no scores.
NO_SCORE = ("_img", "_txt", "_cut", "_status")


def line(column: str) -> str:
    """Measured on 3,500 real pairs, and on 60 of those that were dropped, judged by eye."""
    return (
        f"'{column}' is a score of {EMBEDDED}, which shows that a pipeline works and gives no verdicts: of real pairs "
        "a cut at 0.2 drops 35 %, and 55 of 60 of the dropped captions fit their image. For a set to train on, name a "
        "model, as in score.clip: {model: ViT-L-14/openai}"
    )


def in_pipeline(pipeline: Pipeline) -> list[str]:
    """A line for each such score by which a filter, or an op that looks at all rows, decides; none for the demo."""
    if pipeline.name == DEMO:
        return []
    weak: set[str] = set()
    used: dict[str, None] = {}
    for step in pipeline.steps:
        for op in step.ops(()):
            if not isinstance(op, Score):
                used |= dict.fromkeys(name for name in op.reads() if name in weak)
            weak |= _scores(op)
        used |= dict.fromkeys(name for name in step.decides_by() if name in weak)
    return [line(column) for column in used]


def in_store(manifest: Manifest) -> list[tuple[str, str]]:
    """(step, line) for the tables of a store that were decided so; none where the demo ran."""
    if DEMO in manifest.runs:
        return []
    entries = {name: manifest.tables[folder] for name, folder in manifest.current.items()}
    weak = {column for entry in entries.values() for column in _scores_of(entry)}
    return [(name, line(column)) for name, entry in entries.items() for column in _named(_decides(entry), weak)]


def _scores(op: Op) -> set[str]:
    if getattr(op, "model", "") != EMBEDDED:
        return set()
    return {name for name, kind in op.makes().items() if pa.types.is_floating(kind)}


def _scores_of(entry: Table | Keep) -> list[str]:
    if isinstance(entry, Keep) or entry.options.get("model") != EMBEDDED:
        return []
    return [name for name in entry.columns if name != "uid" and not name.endswith(NO_SCORE)]


def _decides(entry: Table | Keep) -> Any:
    """What of a table names the columns that rows were judged by: a filter's rule, the options of another op."""
    if isinstance(entry, Keep):
        return entry.filter
    return {} if entry.op.startswith("score.") else entry.options


def _named(rule: Any, columns: Iterable[str]) -> list[str]:
    text = json.dumps(rule)
    return [column for column in sorted(columns) if re.search(rf"(?<!\w){re.escape(column)}(?!\w)", text)]
