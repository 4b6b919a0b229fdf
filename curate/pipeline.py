"""Pipeline: an end-to-end run as YAML, checked in full before any work, and the run itself."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from curate.cluster import Cluster
from curate.download import COLUMNS as IMAGE_COLUMNS
from curate.download import DownloadOptions, download
from curate.errors import CurateError, reworded, unknown
from curate.filter import Filter, library, load_filter, read_yaml
from curate.memory import memory_size
from curate.op import Op, Score, load_all
from curate.progress import console
from curate.read import read
from curate.scoring import annotate
from curate.select import check_columns, funnel, select
from curate.source import ReadOptions, open_source
from curate.store import Store
from curate.view import View
from curate.write import WriteOptions, write

Verb = Literal["read", "download", "annotate", "filter", "write"]
VERBS: tuple[Verb, ...] = ("read", "download", "annotate", "filter", "write")

#: Rows whose image could not be had leave here, with their download status as the reason.
NO_IMAGE = Filter(name="download", where={"no image": "status = 'success'"}, reason="status")

#: What a pipeline file may hold.
KEYS = ("name", "about", "set", "memory", "steps")

_VARIABLE = re.compile(r"\$\{(\w+)\}")


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


def load_pipeline(source: str | Path, variables: Mapping[str, str] | None = None) -> Pipeline:
    """A pipeline by name or by its file, with `--set` variables filled in and every step checked.

    Raises:
        CurateError: for anything that can be seen to be wrong before work starts.
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
    values = _variables(data.get("set") or {}, variables or {}, where)
    steps = _filled(data.get("steps"), values, where)
    if not isinstance(steps, list) or not steps:
        raise CurateError(f"{where}: `steps` must be a list of `- verb: ...`")
    checked = [_step(step, f"{where}, step {number}") for number, step in enumerate(steps, 1)]
    pipeline = Pipeline(
        name=str(data.get("name", path.stem)),
        about=str(data.get("about", "")),
        root=str(values["root"]),
        memory=memory_size(data["memory"], f"{where}: memory") if data.get("memory") else None,
        steps=tuple(_named(checked)),
    )
    check(pipeline, where)
    return pipeline


def _variables(defaults: Any, given: Mapping[str, str], where: str) -> dict[str, Any]:
    if not isinstance(defaults, Mapping):
        raise CurateError(f"{where}: `set` must map variables to their defaults (empty for required)")
    for name in given:
        if name not in defaults and name != "root":
            raise unknown("variable", name, {*defaults, "root"}, f"{where}, --set")
    values = {**defaults, **{name: yaml.safe_load(text) for name, text in given.items()}}
    for name, value in values.items():
        if value is None:
            raise CurateError(f"{where} needs --set {name}=...")
    if "root" not in values:
        raise CurateError(f"{where} needs --set root=... (the folder of the store)")
    return values


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


def check(pipeline: Pipeline, where: str) -> None:
    """Follow the columns from step to step without doing any work.

    Raises:
        CurateError: naming the first step that needs a column that nothing before it makes.
    """
    first = pipeline.steps[0]
    if isinstance(first.do, ReadOptions):
        source = open_source(first.do)
        columns = {"uid", "url", "text", *source.mapping, *source.fields.names}
        images = source.format == "webdataset"
        columns |= set(IMAGE_COLUMNS) if images else set()
    else:
        view = View.of(Store(pipeline.root))
        columns, images = set(view.columns), view.images is not None
    for number, step in enumerate(pipeline.steps[1:] if first.verb == "read" else pipeline.steps, 1):
        place = f"{where}: {step.verb} ({step.name})"
        if step.verb == "read":
            raise CurateError(f"{where}, step {number + 1}: `read` can only be the first step")
        if step.verb == "download":
            images = True
            columns |= set(IMAGE_COLUMNS)
        elif step.verb == "write" and not images:
            raise CurateError(f"{place}: there are no images to write: download comes first")
        for op in _ops_of(step, columns):
            op.check()
            for name in op.needs():
                if name == "image" and not images:
                    raise CurateError(f"{place}: {op.spec()['op']} reads images: download comes first")
                if name != "image" and name not in columns:
                    raise unknown("column", name, columns, f"{place}: {op.spec()['op']} reads it")
            columns |= set(op.makes())
        if isinstance(step.do, Filter):
            check_columns(step.do, columns)


def _ops_of(step: Step, columns: set[str]) -> Sequence[Op]:
    if isinstance(step.do, Filter):
        return lacking_ops(step.do, columns)
    return step.do if isinstance(step.do, tuple) else ()


def lacking_ops(rule: Filter, columns: set[str]) -> list[Op]:
    """The filter's ops that have to run before it: a score that is there already (from the input, or an earlier step)
    is taken as it is; what was judged over all rows is judged again over those that are in now."""

    def there(op: Op) -> bool:
        return isinstance(op, Score) and set(rule.columns) & set(op.makes()) <= columns

    return [op for op in rule.ops if not there(op)]


def run(pipeline: Pipeline, cluster: Cluster) -> dict[str, Any]:
    """Do every step, or what is left of it; returns {"rows", "funnel", "written", "seconds"}.

    Raises:
        CurateError: when a step cannot end; all that was done is kept, and the same call goes on from there.
    """
    store = Store(pipeline.root)
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
            _say(counts, "download")
        elif isinstance(step.do, Filter):
            view = annotate(view, lacking_ops(step.do, set(view.columns)), cluster)
            view, counts = select(view, step.do, step.name)
            _say(counts, step.name)
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


def _say(counts: dict[str, Any], name: str) -> None:
    dropped = counts["entered"] - counts["kept"]
    console.print(f"[dim]{name}: {counts['entered']:,} rows in, {dropped:,} dropped, {counts['kept']:,} left")
