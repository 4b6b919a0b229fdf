"""The command line: curate run | submit | score | filter | write | list | show | report | verify and others."""

from curate.cli.commands import app
from curate.cli.start import main

__all__ = ["app", "main"]
