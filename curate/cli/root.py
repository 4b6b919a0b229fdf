"""The command line itself; its commands are in curate.cli.commands."""

from __future__ import annotations

from typing import Annotated

import typer

from curate import __version__
from curate.messages.terminal import out

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Billions of (image URL, caption) pairs into a training set.",
)


def _version(value: bool) -> None:
    if value:
        out.say(f"curate {__version__}")
        raise typer.Exit


@app.callback()
def _main(version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True)] = False) -> None:
    pass
