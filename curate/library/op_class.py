"""What an author is told as soon as the class of an op is defined: an option without a type, a hook in an old form."""

from __future__ import annotations

import inspect
import linecache
import re
import traceback
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, PydanticUserError

from curate.errors import CurateError
from curate.library.op_source import remember
from curate.library.user_code import source_line

if TYPE_CHECKING:
    from pydantic._internal._model_construction import ModelMetaclass
else:
    ModelMetaclass = type(BaseModel)

#: Hooks that are methods, and an example of each.
METHODS = {
    "reads": 'def reads(self): return ("text",)',
    "makes": 'def makes(self): return {"loud": pa.float32()}',
    "decision": 'def decision(self): return {"keep": [{"if": "loud < 0.5", "else": "too loud"}]}',
    "prepare_image": "def prepare_image(self, decoded): return ...",
    "prepare_texts": "def prepare_texts(self, texts): return [...]",
}

#: Lines of a class that are searched for the one with the fault.
LINES_SEARCHED = 500


class OpClass(ModelMetaclass):
    """The class of op classes: pydantic's, with errors that show the author's line and how it is written.

    Raises:
        CurateError: for an option without a type; for a hook that is no method, or has its former name.
    """

    def __new__(cls, name: str, bases: tuple[type, ...], namespace: dict[str, Any], **options: Any) -> type:
        if fault := _old_form(namespace):
            raise _error(name, *fault)
        remember(str(namespace.get("__module__", "")))
        try:
            return super().__new__(cls, name, bases, namespace, **options)
        except PydanticUserError as error:
            option = re.search(r"non-annotated attribute.*?`(\w+)", str(error), re.S)
            if not option or option[1] not in namespace:
                raise
            raise _error(name, option[1], _typed(option[1], namespace[option[1]])) from error


def _old_form(namespace: Mapping[str, Any]) -> tuple[str, str] | None:
    """A hook that is written as it no longer is, and how it is written."""
    for hook, example in METHODS.items():
        value = namespace.get(hook)
        if hook in namespace and not (inspect.isfunction(value) and value.__name__ == hook):
            return hook, f"`{hook}` is a method of an op: `{_reads_of(value) if hook == 'reads' else example}`"
    if inspect.isfunction(namespace.get("needs")):
        return "needs", "the method is called `reads`: `def reads(self): return (...)`"
    return None


def _reads_of(columns: Any) -> str:
    """The method `reads` for what stood in the attribute.

    >>> _reads_of("text")
    'def reads(self): return ("text",)'
    """
    names = [columns] if isinstance(columns, str) else columns
    if not isinstance(names, (tuple, list)) or not all(isinstance(name, str) for name in names):
        return METHODS["reads"]
    return "def reads(self): return " + repr(tuple(names)).replace("'", '"')


def _typed(option: str, value: Any) -> str:
    kind = type(value).__name__ if type(value).__module__ == "builtins" and value is not None else "..."
    return f"an option needs its type: `{option}: {kind} = {value!r}`"


def _error(name: str, attribute: str, fault: str) -> CurateError:
    """The error, with the line of the class that holds the attribute."""
    frame = traceback.extract_stack(limit=3)[0]
    first = frame.lineno or 0
    for number in range(first, first + LINES_SEARCHED):
        text = linecache.getline(frame.filename, number)
        if re.match(rf"\s+(def )?{attribute}\s*[(:=]", text):
            return CurateError(f"{source_line(frame.filename, number, '', text)}: {fault}")
    return CurateError(f"class {name}: {fault}")
