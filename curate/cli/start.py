"""Where a command begins and ends: its exit code, and its errors as lines with the next command."""

from __future__ import annotations

import os
import sys
import traceback
from pathlib import Path

import typer

from curate import __version__
from curate.cli.commands import app
from curate.errors import CurateError, findings_of
from curate.library.user_code import one_line, user_line
from curate.messages.causes import explained
from curate.messages.terminal import console

#: Exit codes: 0 is done, FAULT a fault that is said in words, USAGE a command that there is not (typer's own code).
FAULT, USAGE = 1, 2

#: Exit codes after Ctrl-C and when the reader of a pipe has gone, by convention 128 + the signal.
STOPPED, PIPE_CLOSED = 130, 141

#: Set to 1, every error keeps its traceback.
TRACEBACK = "CURATE_TRACEBACK"


def main() -> None:
    """Entry point: a fault is one message with the next command, Ctrl-C says how to go on, nothing is a traceback."""
    for stream in (sys.stdout, sys.stderr):
        # A terminal that cannot show a character shows its number.
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    # Modules of a user's ops are looked for here too, as `python -m curate` does.
    if not {"", os.getcwd()} & set(sys.path):
        sys.path.append(os.getcwd())
    try:
        # Without its standalone mode typer returns the code of an Exit instead of raising it.
        code = app(standalone_mode=False)
        code = code if isinstance(code, int) else 0
    except (KeyboardInterrupt, typer.Abort):
        code = STOPPED
    except BrokenPipeError:
        # Nothing can be said any more; the interpreter shall not try either.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = PIPE_CLOSED
    except Exception as error:  # noqa: BLE001 - the last net: what comes here is said, not raised
        code = _fault(error)
    if code == STOPPED:
        console.say("stopped; what is done is kept: the same command goes on from here")
    sys.exit(code)


def _fault(error: Exception) -> int:
    """Say an error; returns the exit code."""
    # typer's usage errors, whichever copy of click it carries.
    if hasattr(error, "show") and hasattr(error, "exit_code"):
        error.show()
        return int(error.exit_code)
    if os.environ.get(TRACEBACK) == "1":
        console.say("".join(traceback.format_exception(error)))
    lines = findings_of(error) if isinstance(error, CurateError) else (explained(error) or _unexpected(error),)
    for line in lines:
        console.print("[bold red]error:[/] ", end="")
        console.say(line)
    return FAULT


def _unexpected(error: Exception) -> str:
    how = f"{TRACEBACK}=1 before the command shows all of it"
    if user_line(error):
        return f"{one_line(error)}; {how}"
    frame = traceback.extract_tb(error.__traceback__)[-1]
    place = f"{Path(frame.filename).name}, line {frame.lineno}"
    return f"unexpected {one_line(error)} (curate {__version__}, {place}); {how}: please report it"
