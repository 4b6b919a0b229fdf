"""A pipeline's file: YAML with variables, as checked steps."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from curate.catalog import library
from curate.cluster.memory import memory_size
from curate.errors import CurateError, Findings, findings_of, unknown
from curate.filter.rule import read_yaml
from curate.library.names import check_name
from curate.library.yaml_text import parse
from curate.pipeline.check import check
from curate.pipeline.step_yaml import in_full, steps_of, with_own_names
from curate.pipeline.steps import Pipeline, Step

#: What a pipeline file may hold.
KEYS = ("name", "about", "set", "memory", "steps")

_VARIABLE = re.compile(r"\$\{(\w+)\}")


@dataclass(frozen=True)
class Opened:
    """A pipeline's file, its content, its variables' values, and its steps with these filled in and ops named in full,
    not yet checked."""

    path: Path
    data: dict[str, Any]
    values: dict[str, Any]
    steps: list[Any]


def texts_of(items: list[str]) -> dict[str, str]:
    """Variables by name, each as `--set name=text` had it.

    Raises:
        CurateError: for an item without a name, and a name with two texts.
    """
    texts: dict[str, str] = {}
    for item in items:
        name, equals, text = item.partition("=")
        if not equals or not name:
            raise CurateError(f"--set {item}: write it as name=value")
        if texts.get(name, text) != text:
            raise CurateError(f"--set {name} stands twice, with '{texts[name]}' and '{text}': choose one")
        texts[name] = text
    return texts


def values_of(texts: Mapping[str, str]) -> dict[str, Any]:
    """Variables as `--set name=text` has them, each text read as YAML; the root as it was typed.

    >>> values_of({"t": "40", "allow": "[127.0.0.0/8]", "root": "1e5"})
    {'t': 40, 'allow': ['127.0.0.0/8'], 'root': '1e5'}
    """
    values = {name: parse(text, f"--set {name}={text}") for name, text in texts.items()}
    # YAML makes a number of 1e5 and False of `no`.
    if not isinstance(values.get("root"), (str, list, dict, type(None))):
        values["root"] = texts["root"]
    return values


def open_pipeline(source: str | Path, variables: Mapping[str, Any]) -> Opened:
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
    return Opened(path, data, values, [in_full(step) for step in steps])


def load_pipeline(source: str | Path, variables: Mapping[str, Any] | None = None, elsewhere: bool = False) -> Pipeline:
    """A pipeline by name or by its file, with its variables filled in and every step checked.

    variables: their values; `values_of` makes these of texts.
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
    checked = [_steps_or_fault(step, f"{where}, step {number}", faults) for number, step in enumerate(opened.steps, 1)]
    steps = [step for of_one in checked for step in of_one or ()]
    # What follows a step that cannot be read may lack only that step's columns.
    readable = sum(len(of_one or ()) for of_one in checked[: checked.index(None)]) if None in checked else None
    pipeline = Pipeline(
        name=name,
        about=str(data.get("about", "")),
        root=str(opened.values["root"]),
        memory=memory_size(data["memory"], f"{where}: memory") if data.get("memory") else None,
        steps=tuple(with_own_names(steps)),
    )
    faults += check(pipeline, where, known_steps=readable, elsewhere=elsewhere)
    if faults:
        raise Findings(list(dict.fromkeys(faults)))
    return pipeline


def _variables(defaults: Any, variables: Mapping[str, Any], where: str) -> dict[str, Any]:
    if not isinstance(defaults, Mapping):
        raise CurateError(f"{where}: `set` must map variables to their defaults (empty for required)")
    for name in variables:
        if name not in defaults and name != "root":
            raise unknown("variable", name, {*defaults, "root"}, f"{where}, --set")
    values = {**defaults, **variables}
    lacking = [name for name, value in values.items() if value is None]
    lacking += ["root"] if "root" not in values else []
    if lacking:
        root = " (root: the folder of the store)" if "root" in lacking else ""
        raise CurateError(f"{where} needs {' '.join(f'--set {name}=...' for name in lacking)}{root}")
    if isinstance(values["root"], (list, dict)):
        raise CurateError(f"{where}: root is a folder or a URL, got {values['root']!r}")
    return values | {"root": str(values["root"])}


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


def _steps_or_fault(step: Any, where: str, faults: list[str]) -> list[Step] | None:
    try:
        return steps_of(step, where)
    except CurateError as error:
        faults.extend(findings_of(error))
        return None
