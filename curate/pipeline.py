"""Pipeline: an end-to-end run as YAML, checked in full before any work, and the run itself."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from curate.check import check
from curate.cluster import Cluster
from curate.download import DownloadOptions, download
from curate.errors import CurateError, Findings, findings_of, reworded, unknown
from curate.filter import Filter, library, load_filter, read_yaml
from curate.lease import leased
from curate.memory import memory_size
from curate.names import check_name
from curate.op import load_all
from curate.progress import console
from curate.read import read
from curate.read_options import ReadOptions
from curate.scoring import annotate
from curate.select import funnel, nothing_left, select
from curate.steps import NO_IMAGE, VERBS, Pipeline, Step, lacking_ops
from curate.store import Store
from curate.view import View
from curate.write import WriteOptions, write
from curate.yaml_text import parse

#: What a pipeline file may hold.
KEYS = ("name", "about", "set", "memory", "steps")

_VARIABLE = re.compile(r"\$\{(\w+)\}")


@dataclass(frozen=True)
class Opened:
    """A pipeline's file, its content, its variables' values, and its steps with these filled in, not yet checked."""

    path: Path
    data: dict[str, Any]
    values: dict[str, Any]
    steps: list[Any]


def open_pipeline(source: str | Path, variables: Mapping[str, str]) -> Opened:
    """
    Raises:
        CurateError: for a file that is no pipeline, an unknown variable, or one without a value.
    """
    path = Path(source)
    known = library("pipelines")
    if path.suffix not in (".yaml", ".yml"):
        if str(source) not in known:
            raise unknown("pipeline", str(source), known)
        path = known[str(source)]
    data = read_yaml(path)
    where = path.name
    for key in data:
        if key not in KEYS:
            raise unknown("key", str(key), KEYS, where)
    values = _variables(data.get("set") or {}, variables, where)
    steps = _filled(data.get("steps"), values, where)
    if not isinstance(steps, list) or not steps:
        raise CurateError(f"{where}: `steps` must be a list of `- verb: ...`")
    return Opened(path, data, values, steps)


def load_pipeline(source: str | Path, variables: Mapping[str, str] | None = None, elsewhere: bool = False) -> Pipeline:
    """A pipeline by name or by its file, with `--set` variables filled in and every step checked.

    elsewhere: it will run on other machines: whether its input can be read and its root written is for them to see.

    Raises:
        CurateError: for all that can be seen to be wrong before work starts, one line each.
    """
    opened = open_pipeline(source, variables or {})
    where, data = opened.path.name, opened.data
    try:
        name = check_name(str(data.get("name", opened.path.stem)), "pipeline")
    except ValueError as error:
        raise CurateError(f"{where}: {error}") from error
    faults: list[str] = []
    checked = [_step_or_fault(step, f"{where}, step {number}", faults) for number, step in enumerate(opened.steps, 1)]
    pipeline = Pipeline(
        name=name,
        about=str(data.get("about", "")),
        root=str(opened.values["root"]),
        memory=memory_size(data["memory"], f"{where}: memory") if data.get("memory") else None,
        steps=tuple(_named([step for step in checked if step is not None])),
    )
    # What follows a step that cannot be read may lack only that step's columns.
    faults += check(pipeline, where, known_steps=checked.index(None) if None in checked else None, elsewhere=elsewhere)
    if faults:
        raise Findings(list(dict.fromkeys(faults)))
    return pipeline


def _variables(defaults: Any, given: Mapping[str, str], where: str) -> dict[str, Any]:
    if not isinstance(defaults, Mapping):
        raise CurateError(f"{where}: `set` must map variables to their defaults (empty for required)")
    for name in given:
        if name not in defaults and name != "root":
            raise unknown("variable", name, {*defaults, "root"}, f"{where}, --set")
    values = {**defaults, **{name: parse(text, f"--set {name}={text}") for name, text in given.items()}}
    lacking = [name for name, value in values.items() if value is None]
    lacking += ["root"] if "root" not in values else []
    if lacking:
        root = " (root: the folder of the store)" if "root" in lacking else ""
        raise CurateError(f"{where} needs {' '.join(f'--set {name}=...' for name in lacking)}{root}")
    if isinstance(values["root"], (list, dict)):
        raise CurateError(f"{where}: root is a folder or a URL, got {values['root']!r}")
    # As it was typed: YAML makes a number of 1e5 and False of `no`.
    text = given.get("root", "") if not isinstance(values["root"], str) else values["root"]
    return values | {"root": text or str(values["root"])}


def _filled(node: Any, values: Mapping[str, Any], where: str) -> Any:
    """The tree with `${variable}` replaced; one that is a whole value keeps its type."""
    if isinstance(node, Mapping):
        return {key: _filled(value, values, where) for key, value in node.items()}
    if isinstance(node, list):
        return [_filled(item, values, where) for item in node]
    if not isinstance(node, str):
        return node
    for name in _VARIABLE.findall(node):
        if name not in values:
            raise unknown("variable", name, values, where)
    whole = _VARIABLE.fullmatch(node)
    if whole:
        return values[whole[1]]
    return _VARIABLE.sub(lambda match: str(values[match[1]]), node)


def _step_or_fault(step: Any, where: str, faults: list[str]) -> Step | None:
    try:
        return _step(step, where)
    except CurateError as error:
        faults.extend(findings_of(error))
        return None


def _step(step: Any, where: str) -> Step:
    if not isinstance(step, Mapping) or len(step) != 1:
        raise CurateError(f"{where}: a step is one `verb: what`, got {step!r}")
    ((verb, what),) = step.items()
    if verb not in VERBS:
        raise unknown("step", str(verb), VERBS, where)
    try:
        if verb == "annotate":
            ops = load_all(what if isinstance(what, list) else [what], f"{where}: ")
            return Step(verb=verb, name=", ".join(op.table() for op in ops), do=tuple(ops))
        if verb == "filter":
            rule = load_filter(what, "filter")
            return Step(verb=verb, name=rule.name, do=rule)
    except CurateError as error:
        raise CurateError(f"{where}: {error}") from error
    kinds: dict[str, type[ReadOptions | DownloadOptions | WriteOptions]]
    kinds = {"read": ReadOptions, "download": DownloadOptions, "write": WriteOptions}
    options = kinds[verb]
    try:
        return Step(verb=verb, name=str(verb), do=options(**(what or {})))
    except ValidationError as error:
        raise reworded(error, f"{where}: {verb}", options.model_fields) from error
    except TypeError as error:
        raise CurateError(f"{where}: {verb} takes options (name: value), got {what!r}") from error


def _named(steps: list[Step]) -> list[Step]:
    """Filter steps with names of their own: the ledger names the step that dropped a row."""
    seen: dict[str, int] = {"download": 1}
    named = []
    for step in steps:
        if step.verb == "filter":
            seen[step.name] = number = seen.get(step.name, 0) + 1
            named.append(step.model_copy(update={"name": f"{step.name}_{number}"}) if number > 1 else step)
        else:
            named.append(step)
    return named


def run(pipeline: Pipeline, cluster: Cluster) -> dict[str, Any]:
    """Do every step, or what is left of it; returns {"rows", "funnel", "written", "seconds"}.

    Raises:
        CurateError: when a step cannot end; all that was done is kept, and the same call goes on from there.
    """
    store = Store(pipeline.root)
    with leased(store, f"curate run {pipeline.name}"):
        return _run(pipeline, store, cluster)


def _run(pipeline: Pipeline, store: Store, cluster: Cluster) -> dict[str, Any]:
    view = View(store) if pipeline.steps[0].verb == "read" else View.of(store)
    cluster.memory = cluster.memory or pipeline.memory
    written: dict[str, Any] = {}
    seconds: dict[str, float] = {}
    for step in pipeline.steps:
        began = time.monotonic()
        if isinstance(step.do, ReadOptions):
            view = read(store, step.do, cluster)
        elif isinstance(step.do, DownloadOptions):
            view = download(view, step.do, cluster)
            view, counts = select(view, NO_IMAGE)
            _say(counts, "download", store.url)
        elif isinstance(step.do, Filter):
            view = annotate(view, lacking_ops(step.do, set(view.columns)), cluster)
            view, counts = select(view, step.do, step.name)
            _say(counts, step.name, store.url)
        elif isinstance(step.do, WriteOptions):
            written = write(view, step.do, cluster)
        else:
            view = annotate(view, step.do, cluster)
        label = f"{step.verb} {step.name}" if step.verb in ("annotate", "filter") else step.verb
        seconds[label] = round(seconds.get(label, 0) + time.monotonic() - began, 2)
    manifest = store.manifest()
    manifest["runs"].pop(pipeline.name, None)
    manifest["runs"][pipeline.name] = {"keep": view.keep, "written": written, "seconds": seconds}
    store.save(manifest)
    rows = sum(group["rows"] for group in manifest["inputs"])
    return {"rows": rows, "funnel": funnel(manifest, view.keep), "written": written, "seconds": seconds}


def _say(counts: dict[str, Any], name: str, root: str) -> None:
    """
    Raises:
        CurateError: when no row is left: the steps after it have nothing to do.
    """
    if nothing := nothing_left(counts, name, root):
        raise CurateError(nothing)
    dropped = counts["entered"] - counts["kept"]
    console.print(f"[dim]{name}: {counts['entered']:,} rows in, {dropped:,} dropped, {counts['kept']:,} left")
