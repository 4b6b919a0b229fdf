"""A list of URLs to a folder of images: `curate get`, with img2dataset's options by their names.

It is the pipeline read, download, write, over a store beside the folder; the same call again goes on with that store.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import fsspec
from pydantic import BaseModel, ValidationError

from curate.cluster.cluster import Cluster
from curate.download.options import DownloadOptions
from curate.errors import Findings, reworded, unknown
from curate.pipeline.place_check import folder_fault
from curate.pipeline.steps import DownloadStep, Known, Pipeline, ReadStep, WriteStep
from curate.read.options import ReadOptions
from curate.refuse.list_check import list_faults
from curate.run import run
from curate.store.view import View
from curate.write.step import WriteOptions, write

#: Added to the folder's name for that of its store.
STORE = ".store"

#: img2dataset's name of an option to ours, where these differ.
RENAMED = {"timeout": "timeout_seconds", "thread_count": "concurrency"}

#: Options that say what the steps `read` and `write` do.
OF_THE_LIST = (
    *("input_format", "url_col", "caption_col", "number_sample_per_shard"),
    *("output_format", "save_additional_columns", "processes_count", "bbox_col"),
)

#: img2dataset's input formats to ours.
INPUTS = {"txt": "csv", "csv": "csv", "tsv": "csv", "json": "jsonl", "jsonl": "jsonl", "parquet": "parquet"}

#: Written of each image beside `save_additional_columns`.
MEASURES = ("width", "height", "original_width", "original_height", "sha256")

#: Options of img2dataset that are none here: the values that change nothing, and why another is refused.
FIXED: dict[str, tuple[tuple[Any, ...], str]] = {
    "extract_exif": ((False,), "EXIF is not a column; disable_all_reencoding keeps each file with its EXIF"),
    "enable_wandb": ((False,), "nothing is sent to wandb; progress is printed, and `curate show STORE` counts"),
    "wandb_project": (("img2dataset",), "nothing is sent to wandb; `curate show STORE` counts"),
    "oom_shard_count": ((5,), "shards are numbered with five digits, or as many as it takes"),
    "compute_hash": (("sha256",), "the sha256 of each file as it came is always there, and no other hash"),
    "verify_hash": (
        (None,),
        "keep the hash with save_additional_columns and compare: curate filter STORE --where 'sha256 = COLUMN'",
    ),
    "distributor": (("multiprocessing", "ray"), "processes_count is Ray's workers here, --address a cluster"),
    "subjob_size": ((1000,), "work is given to workers shard by shard, there are no jobs to size"),
    "incremental_mode": (
        ("incremental",),
        "the same command goes on; to begin anew delete the folder and its .store, to extend use another folder",
    ),
    "max_shard_retry": ((1,), "a shard that fails is tried three times, and again by the same command"),
}


@dataclass(frozen=True)
class GetResult:
    """to: the folder of images. store: what is known of every row. rows: of the list. images: that are in the folder.
    without: rows without an image, by status."""

    to: str
    store: str
    rows: int
    images: int
    shards: int
    without: dict[str, int]


def get(urls: str | Sequence[str], to: str, options: Mapping[str, Any], cluster: Cluster) -> GetResult:
    """
    Raises:
        CurateError: for options that there are not, with what to do instead; as the steps do.
    """
    pipeline = pipeline_of(urls, to, options)
    download = pipeline.steps[1]
    faults = [*download.check(Known(None, False)), *list_faults(download.opt_out())]
    faults += [folder_fault(pipeline.root, "the store"), folder_fault(to, "--to")]
    if faults := [fault for fault in faults if fault]:
        raise Findings(faults)
    result = run(pipeline, cluster)
    written = result["written"]
    dropped: dict[str, int] = next((step["dropped"] for step in result["funnel"] if step["step"] == "download"), {})
    return GetResult(to, pipeline.root, result["rows"], written["samples"], written["shards"], dict(dropped))


def pipeline_of(urls: str | Sequence[str], to: str, options: Mapping[str, Any]) -> Pipeline:
    """The three steps of a call.

    Raises:
        CurateError: for options that there are not, or that cannot be; one line each.
    """
    _refuse(options)
    options = {name: value for name, value in options.items() if value is not None}  # what is not said is the default
    own = {name: options[name] for name in OF_THE_LIST if name in options}
    others = {RENAMED.get(name, name): value for name, value in options.items() if name in names_of_download()}
    columns = {"url": own.get("url_col"), "text": own.get("caption_col")}
    per_shard = own.get("number_sample_per_shard", 10_000)
    reads = _checked(
        ReadOptions,
        input=_input(urls, own.get("input_format")),
        format=_format(own.get("input_format")),
        columns={ours: theirs for ours, theirs in columns.items() if theirs},
        rows_per_shard=per_shard,
    )
    saved = own.get("save_additional_columns")
    writes = _checked(
        WriteOptions,
        to=to,
        samples_per_shard=per_shard,
        columns=None if saved is None else (*saved, *MEASURES),
        output_format=own.get("output_format", "files"),
        blur_faces=own.get("bbox_col", False),
    )
    downloads = _checked(DownloadOptions, **others)
    steps = (
        ReadStep("read", "read", reads),
        DownloadStep("download", "download", downloads),
        _WriteFolder("write", "write", writes),
    )
    return Pipeline("get", to.rstrip("/") + STORE, steps)


def names() -> set[str]:
    """Options that are accepted: img2dataset's by their names, and those of the step `download`."""
    return {*OF_THE_LIST, *names_of_download()}


def names_of_download() -> set[str]:
    ours = {*DownloadOptions.model_fields} - {"retry", "processes", *RENAMED.values()}
    return ours | RENAMED.keys()


class _WriteFolder(WriteStep):
    """Images that a later call has more of take the place of the earlier ones."""

    def do(self, view: View, cluster: Cluster) -> View:
        return replace(view, written=write(view, self.options, cluster, replace=True))


def _refuse(options: Mapping[str, Any]) -> None:
    faults = []
    for name, value in options.items():
        if name in FIXED:
            usual, why = FIXED[name]
            if value not in usual:
                faults.append(f"get: {name}: {value!r} is refused: {why}")
        elif name in RENAMED.values():
            theirs = next(other for other, ours in RENAMED.items() if ours == name)
            faults.append(f"get: option '{name}' is called '{theirs}' here, as in img2dataset")
        elif name not in names():
            faults.append(str(unknown("option", name, {*names(), *FIXED}, "get")))
    if options.get("output_format") in ("tfrecord", "dummy"):
        faults.append(
            f"get: output_format: {options['output_format']!r} is refused: there are webdataset, files and parquet"
        )
    if faults:
        raise Findings(faults)


def _checked(kind: type[BaseModel], **options: Any) -> Any:
    try:
        return kind.model_validate(options)
    except ValidationError as error:
        raise reworded(error, "get", {*names(), *kind.model_fields}) from error


def _format(input_format: str | None) -> str:
    if input_format is None:
        return "auto"
    plain = input_format.removesuffix(".gz")
    if plain not in INPUTS:
        raise unknown("input_format", input_format, INPUTS, "get")
    return INPUTS[plain]


def _input(urls: str | Sequence[str], input_format: str | None) -> str | tuple[str, ...]:
    """A folder with an input_format is that of its files of this ending, as for img2dataset."""
    if not isinstance(urls, str):
        return tuple(urls)
    if input_format and not any(mark in urls for mark in "*?{["):
        fs, path = fsspec.core.url_to_fs(urls)
        if fs.isdir(path):
            return f"{urls.rstrip('/')}/*.{input_format}"
    return urls


def again(result: GetResult) -> str:
    """The next command: what another try may bring, or all that there is to see."""
    passing = [s for s in result.without if s in ("timeout", "connect", "dns", "http_429") or s.startswith("http_5")]
    if passing:
        return f"curate retry {result.store} --status {','.join(passing)}   then the same command again"
    return f"curate show {result.store}"
