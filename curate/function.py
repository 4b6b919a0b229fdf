"""A score that is a function: columns in, columns out; its arguments after the columns are the options of the YAML."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import polars as pl
from pydantic import PydanticUserError, create_model

from curate.errors import CurateError
from curate.library.op_fault import OpFault
from curate.library.op_names import op_name
from curate.library.user_code import source_line
from curate.op import Rows, Score

if TYPE_CHECKING:
    import pyarrow as pa

#: Rows of one call, for a function that reads images: all of them are in memory at their full size.
IMAGES_AT_A_TIME = 32


class FunctionScore(Score):
    """A Score whose `batch` is a function: `score_function` makes a class of this kind for each."""

    _function: ClassVar[Callable[..., Any]]
    _reads: ClassVar[tuple[str, ...]]
    _makes: ClassVar[dict[str, Any]]
    _options: ClassVar[tuple[str, ...]]

    def table(self) -> str:
        return self.name or type(self).__name__

    def reads(self) -> tuple[str, ...]:
        return self._reads

    def makes(self) -> dict[str, pa.DataType]:
        return self._makes

    def batch(self, rows: Rows) -> Mapping[str, Any]:
        columns = [rows.images if name == "image" else pl.Series(name, rows[name]) for name in self._reads]
        values = self._function(*columns, **{option: getattr(self, option) for option in self._options})
        if isinstance(values, pl.DataFrame):
            return values.to_dict()
        if len(self._makes) == 1 and not isinstance(values, Mapping):
            return dict.fromkeys(self._makes, values)
        if not isinstance(values, Mapping):
            names = ", ".join(self._makes)
            raise OpFault(
                f"{op_name(type(self))}: the function makes several columns ({names}) and must return them by name, "
                f"it returned {type(values).__name__}"
            )
        return values


def score_function(
    *,
    reads: str | Sequence[str],
    makes: Mapping[str, pa.DataType],
    version: int = 1,
    batch_size: int | None = None,
    cite: str = "",
) -> Callable[[Callable[..., Any]], Callable[..., FunctionScore]]:
    """Makes a score of a function of a batch of rows.

        @score_function(reads="text", makes={"loud": pa.float32()})
        def loud(text: pl.Series, mark: str = "!") -> pl.Series:
            ...

    reads: a column or several; the function's first arguments take them, in this order: a polars Series each, and for
        `image` a list of RGB Pillow images. A row that lacks one of them is not among its rows.
    makes: the columns it adds and their types. For one column the function returns its values, one per row: a polars
        Series, a numpy or Arrow array, or a list; for several a polars DataFrame, or such values by column. The extra
        column `status` may say of each row why it has no value.
    version: raise it when results change though the function's module does not: another model behind a service.
    batch_size: rows of one call; 256, or 32 for a function that reads images. The YAML may give another.

    The function's other arguments are its options, with their types; its name is the table's. The name then stands for
    the score: `loud(mark="?").apply({"text": ["Why?"]})` tries it. A model to load, null to judge or images to prepare
    in threads need the class `Score`.

    Raises:
        CurateError: with the function's line, for arguments that do not fit `reads`, or an option without a type.
    """
    columns = (reads,) if isinstance(reads, str) else tuple(reads)
    usual = IMAGES_AT_A_TIME if "image" in columns else Score.model_fields["batch_size"].default
    rows = usual if batch_size is None else batch_size

    def score_of(function: Callable[..., Any]) -> type[FunctionScore]:
        arguments = list(inspect.signature(function).parameters.values())
        if fault := _fault_of_columns(function, arguments, columns) or _fault_of_options(arguments[len(columns) :]):
            raise _error(function, fault)
        options = {argument.name: _field(argument) for argument in arguments[len(columns) :]}
        score = _model(function, options | {"batch_size": (int, rows)})
        score.version, score.cite = version, cite
        score._function, score._options = staticmethod(function), tuple(options)
        # What is no mapping is told when the op is loaded, as of any op.
        score._reads, score._makes = columns, dict(makes) if isinstance(makes, Mapping) else makes
        return score

    return score_of


def _model(function: Callable[..., Any], fields: Mapping[str, Any]) -> type[FunctionScore]:
    try:
        score = create_model(function.__name__, __base__=FunctionScore, __module__=function.__module__, **fields)
        score.model_rebuild()
    except (PydanticUserError, NameError) as error:
        raise _error(function, f"the type of an option is not known: {str(error).splitlines()[0]}") from error
    # Under the function's own name a worker finds the class again.
    score.__qualname__, score.__doc__ = function.__qualname__, function.__doc__
    return score


def _field(argument: inspect.Parameter) -> tuple[Any, Any]:
    return argument.annotation, ... if argument.default is inspect.Parameter.empty else argument.default


def _fault_of_columns(
    function: Callable[..., Any], arguments: Sequence[inspect.Parameter], columns: Sequence[str]
) -> str:
    """Why the first arguments cannot take the columns; empty when they can."""
    first = arguments[: len(columns)]
    positional = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    names = [argument.name for argument in first]
    fitting = len(first) == len(columns) and all(
        argument.kind in positional and argument.default is inspect.Parameter.empty for argument in first
    )
    if not fitting:
        return (
            f"`reads` names {', '.join(columns) or 'no column'}: the function's first arguments take the columns, "
            f"without a default: def {function.__name__}({', '.join(columns)}, ...)"
        )
    if set(names) & set(columns) and any(n != c and n in columns for n, c in zip(names, columns, strict=True)):
        return f"`reads` names {', '.join(columns)}, the arguments are {', '.join(names)}: they go in the same order"
    return ""


def _fault_of_options(arguments: Sequence[inspect.Parameter]) -> str:
    """What is wrong with the arguments that are options; empty when nothing is."""
    for argument in arguments:
        if argument.kind in (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD):
            return f"'{argument}' names no options: each is an argument of its own"
        if argument.annotation is inspect.Parameter.empty:
            kind = "str" if argument.default in (None, inspect.Parameter.empty) else type(argument.default).__name__
            default = "" if argument.default is inspect.Parameter.empty else f" = {argument.default!r}"
            return f"an option needs its type: `{argument.name}: {kind}{default}`"
        if argument.name.startswith("_") or argument.name in Score.model_fields or hasattr(Score, argument.name):
            return f"an option cannot be called '{argument.name}': every score has that already, or it begins with '_'"
    return ""


def _error(function: Callable[..., Any], fault: str) -> CurateError:
    code = getattr(function, "__code__", None)
    if code is None:
        return CurateError(f"{function!r}: {fault}")
    return CurateError(f"{source_line(code.co_filename, code.co_firstlineno, function.__name__, '')}: {fault}")
