"""Arguments and options that several commands have."""

from __future__ import annotations

from typing import Annotated, Optional

import typer

StoreArg = Annotated[str, typer.Argument(metavar="STORE", help="Root of a store: local, or any fsspec URL.")]
PipelineArg = Annotated[str, typer.Argument(help="A YAML file, or the name of a pipeline that ships.")]
SetOption = Annotated[list[str], typer.Option("--set", help="A variable of the pipeline: name=value.")]
AddressOption = Annotated[
    Optional[str], typer.Option(help="A running Ray cluster (auto, host:port); default: Ray in this process.")
]
WorkersOption = Annotated[
    Optional[int],
    typer.Option(min=0, help="Size of each pool; 0 works in this process, without Ray. Default: all CPUs or GPUs."),
]
MemoryOption = Annotated[
    Optional[str],
    typer.Option(help="Memory that one worker of a whole-dataset step may use, e.g. 8GB. Default: its CPUs' share."),
]
