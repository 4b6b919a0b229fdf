"""Modules that a user brings: imported with errors that show the user's own line, and checked as ops."""

from __future__ import annotations

import ast
import contextlib
import importlib
import sysconfig
import traceback
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

from curate.errors import CurateError
from curate.messages.packages import install_hint

_OURS = Path(__file__).parent.parent
_INSTALLED = tuple(
    Path(path).resolve()
    for path in {sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")}
    if path
)


def is_users(file: str | Path) -> bool:
    """Whether a source file is neither curate's nor an installed package's."""
    path = Path(file)
    if str(file).startswith("<") or not path.is_file():
        return False
    path = path.resolve()
    return not any(path.is_relative_to(folder) for folder in (_OURS, *_INSTALLED))


def user_line(error: BaseException) -> str:
    """The innermost line of the user's that an error came through: `colour.py, line 12, in setup: self.x = y`.

    Empty when none of the traceback's lines is the user's.
    """
    if isinstance(error, SyntaxError) and error.filename and is_users(error.filename):
        return source_line(error.filename, error.lineno or 0, "", error.text or "")
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        if is_users(frame.filename):
            return source_line(frame.filename, frame.lineno or 0, frame.name, frame.line or "")
    return ""


def one_line(error: BaseException) -> str:
    """An error of a user's code in one line: what it is, and where in the user's code."""
    text = " ".join(str(error).split())[:500]
    kind = type(error).__name__
    line = user_line(error)
    if isinstance(error, SyntaxError):
        text = error.msg
    return f"{kind}{': ' if text else ''}{text}{f' ({line})' if line else ''}"


def source_line(file: str, number: int, name: str, text: str) -> str:
    """`colour.py, line 12, in setup: self.x = y`, of a file, a line's number, its function and its text."""
    where = f", in {name}" if name and name != "<module>" else ""
    # The name alone: an error may become a row's status, which is the same in whatever folder a run is done.
    return f"{Path(file).name}, line {number}{where}{': ' if text.strip() else ''}{text.strip()[:200]}"


@contextlib.contextmanager
def no_exit() -> Iterator[None]:
    """Around code of a user's: `sys.exit()` there is a fault like others, and does not end the command as if it had
    done its work.

    Raises:
        RuntimeError: for an exit, with the traceback of where it stands.
    """
    try:
        yield
    except SystemExit as error:
        # Ray turns SIGTERM into an exit: that one is meant.
        if "ray" in Path(traceback.extract_tb(error.__traceback__)[-1].filename).parts:
            raise
        what = f"sys.exit({'' if error.code is None else repr(error.code)}) ends no step: raise an error instead"
        raise RuntimeError(what).with_traceback(error.__traceback__) from None


def import_users(module: str, what: str) -> ModuleType:
    """A module by its name.

    Raises:
        CurateError: when it is not there, or an error stops its import; the message has the user's line.
    """
    try:
        with no_exit():
            return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name and (module == error.name or module.startswith(f"{error.name}.")):
            raise CurateError(
                f"{what}: cannot import '{module}': no module named '{error.name}'. It is looked for in the folder "
                "that the command runs in, in PYTHONPATH and among the installed packages"
            ) from error
        hint = f": {install_hint(error.name)}" if error.name else ""
        raise CurateError(f"{what}: cannot import '{module}': {one_line(error)}{hint}") from error
    except CurateError as error:
        raise CurateError(f"{what}: cannot import '{module}': {error}") from error
    except Exception as error:
        raise CurateError(f"{what}: cannot import '{module}': {one_line(error)}") from error


def imports_of(module: ModuleType) -> list[str]:
    """Modules that a module and its functions import, but for those inside `try`, which may be missing."""
    file = getattr(module, "__file__", None)
    if not file or not file.endswith(".py"):
        return []
    tree = ast.parse(Path(file).read_text(encoding="utf-8"))
    return _imported(tree)


def _imported(node: ast.AST) -> list[str]:
    names = []
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import):
            names += [alias.name.partition(".")[0] for alias in child.names]
        elif isinstance(child, ast.ImportFrom) and child.module and not child.level:
            names.append(child.module.partition(".")[0])
        elif not isinstance(child, ast.Try) and not (isinstance(child, ast.If) and "TYPE_CHECKING" in ast.dump(child)):
            names += _imported(child)
    return names


def check_contract(op: Any, name: str) -> None:
    """What every op must answer before any work, asked of a user's op.

    Raises:
        CurateError: naming the answer that does not fit, or with the user's line where asking raises.
    """
    reads = _ask(op, name, "reads")
    if not isinstance(reads, (tuple, list)) or not all(isinstance(column, str) for column in reads):
        example = reads if isinstance(reads, str) else "text"
        raise CurateError(f"op '{name}': `reads` returns {reads!r}, expected a tuple of columns: (\"{example}\",)")
    makes = _ask(op, name, "makes")
    _check_makes(makes, name)
    for method in ("gpus", "weights", "spec", "replaces"):
        _ask(op, name, method)
    decision = _ask(op, name, "decision")
    if decision is not None and not isinstance(decision, dict):
        example = '{"keep": [{"if": "loud < 0.5", "else": "too loud"}]}'
        raise CurateError(f"op '{name}': `decision` returns {decision!r}, expected a filter: {example}")
    if not isinstance(op.version, int) or not isinstance(op.cpus, (int, float)):
        raise CurateError(f"op '{name}': `version` and `cpus` are numbers, got {op.version!r} and {op.cpus!r}")


def _check_makes(makes: Any, name: str) -> None:
    import pyarrow as pa

    message = f"op '{name}': `makes` returns {makes!r}, expected columns and their types: {{\"loud\": pa.float32()}}"
    if not isinstance(makes, dict) or not makes:
        raise CurateError(message)
    for column, kind in makes.items():
        if not isinstance(column, str) or not isinstance(kind, pa.DataType):
            raise CurateError(message)
        if column == "uid" or not column.isprintable() or not column.strip():
            raise CurateError(f"op '{name}': {column!a} cannot be a column that an op makes: choose another name")


def _ask(op: Any, name: str, method: str) -> Any:
    try:
        with no_exit():
            return getattr(op, method)()
    except CurateError:
        raise
    except Exception as error:
        raise CurateError(f"op '{name}': `{method}` fails: {one_line(error)}") from error
