"""Scanning: what a file does not say of itself is found by reading it, before the records' columns are settled."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import pyarrow as pa

from curate.cluster.cluster import Cluster
from curate.errors import CurateError
from curate.messages.remarks import Remarks
from curate.pictures.image_kind import EXTENSIONS
from curate.read import captions
from curate.read.columns import is_list, mapping, values_of
from curate.read.exact_types import plain
from curate.read.source import Source, on_files

#: Share of malformed rows above which the input is taken for another format than it is.
MOST_MALFORMED = 0.9


@dataclass
class ScanFile:
    """Work: rows, columns and remarks of one file."""

    source: Source

    def __call__(self, number: int) -> dict[str, Any]:
        (scan,) = on_files(partial(self.source.module.scan, **self.source.rules), [self.source.files[number]])
        return {"rows": scan.rows, "schema": scan.schema.serialize().to_pybytes(), "remarks": scan.remarks.to_json()}


def scanned(source: Source, cluster: Cluster) -> tuple[Source, Remarks, list[int]]:
    """The source with the columns of whole files, what was said of them, and the rows of each.

    Raises:
        CurateError: when nearly all rows are malformed.
    """
    remarks = Remarks()
    if not hasattr(source.module, "scan"):
        _beside(source, remarks)
        source = replace(source, complete=True)
        return (
            source,
            remarks,
            on_files(source.module.count, source.files) if source.caption != "each" else _each(source),
        )
    numbers = range(len(source.files))
    task = ScanFile(replace(source, schemas=[]))
    scans = dict(cluster.each("scan", task, numbers, {}, file_bytes=sum(source.sizes)))
    schemas = [pa.ipc.read_schema(pa.py_buffer(scans[number]["schema"])) for number in numbers]
    for number in numbers:
        for kind, entry in scans[number]["remarks"].items():
            example = entry["example"]
            if len(numbers) > 1 and example:
                example = f"{source.names[number]}, {example}"
            remarks.add(kind, entry["rows"], example, (number, *entry["place"]))
    counts = [scans[number]["rows"] for number in numbers]
    _check(source, remarks, sum(counts))
    source = replace(source.with_schemas(schemas), complete=True).with_lists()
    _beside(source, remarks)
    return source, remarks, counts if source.caption != "each" else _each(source)


def _beside(source: Source, remarks: Remarks) -> None:
    """Files that lie beside the input: of images, some may be those that rows name."""
    for ending, files in source.ignored.items():
        if ending == ".npz" and source.npz:
            continue
        image = source.names_images and ending.lower().removeprefix(".") in EXTENSIONS
        what = ", read where a row names them" if image else " that are not read"
        remarks.add(f"file(s) beside the input{what}: {ending}", files)


def _check(source: Source, remarks: Remarks, rows: int) -> None:
    malformed = remarks.counts.get("malformed", 0)
    if malformed > MOST_MALFORMED * rows:
        what = f"'{source.files[0]}'" + (" and others" if len(source.files) > 1 else "")
        raise CurateError(
            f"{malformed:,} of {rows:,} rows of {what} are malformed ({remarks.examples['malformed'][1]}): "
            f"is it {source.format}, and are its columns parted as in the first line?"
        )


def _each(source: Source) -> list[int]:
    """Rows of each file when every caption has its own."""
    return [sum(_captions(source, number)) for number in range(len(source.files))]


def _captions(source: Source, number: int) -> list[int]:
    counts = []
    for batch in source.batches(number):
        theirs = mapping(batch.schema.names, source.columns).get("text")
        values = plain(values_of(batch, theirs)) if theirs else None
        listed = values is not None and is_list(values.type)
        counts.append(len(captions.each(captions.lists(values))[0]) if listed else batch.num_rows)
    return counts
