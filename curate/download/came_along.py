"""Images that came with the input, in a store whose `download` fetches those that are lacking."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from curate.cluster.cluster import Cluster
from curate.cluster.many_shards import each_run, shard_runs
from curate.messages.remarks import Remarks
from curate.store.folder import shard_name
from curate.store.image_columns import IMAGE_FIELDS, MEMBER
from curate.store.view import View

KEPT = "images that came with the input and stay as they are: the download's options do not apply to them"
FETCHED = "rows whose image was lacking in the input, to be fetched by their url"


def place(folder: str, shard: int, tar: str | None) -> str:
    """A tar as another table of the store names it.

    >>> place("images-1", 3, None), place("images-1", 3, "/data/a.tar")
    ('../images-1/00003.tar', '/data/a.tar')
    """
    return tar if tar and "/" in tar else f"../{folder}/{tar or f'{shard_name(shard)}.tar'}"


def columns(view: View, folder: str, shard: int, skipped: str) -> tuple[dict[str, list[Any]], pa.Array | None]:
    """A shard's image columns as reading left them, rows to be fetched as `skipped`; and other files of its samples."""
    part = view.store.read_part(folder, shard)
    image_columns = {name: part[name].to_pylist() for name in IMAGE_FIELDS}
    urls = view.read(shard, ["url"])["url"].to_pylist()
    for row, status in enumerate(image_columns["status"]):
        if status == "success":
            image_columns["tar"][row] = place(folder, shard, image_columns["tar"][row])
        elif urls[row] is not None:
            for name in IMAGE_FIELDS:
                image_columns[name][row] = skipped if name == "status" else None
    if "members" not in part.column_names:
        return image_columns, None
    members = part["members"].to_pylist()
    for several in members:
        for member in several or ():
            member["tar"] = place(folder, shard, member["tar"])
    return image_columns, pa.array(members, pa.list_(MEMBER))


@dataclass(frozen=True)
class _Look:
    """The job: of a run of shards, how many images came, and how many rows that are in lack one and have a url."""

    view: View
    folder: str
    runs: list[range]

    def __call__(self, run: int) -> tuple[int, int]:
        came = fetched = 0
        for shard in self.runs[run]:
            status = np.asarray(self.view.store.read_part(self.folder, shard, ["status"])["status"].to_pylist(), object)
            came += int((status == "success").sum())
            kept = self.view.kept(shard)
            lacking = (status != "success") & (True if kept is None else kept)
            if lacking.any():
                fetched += int((lacking & self.view.read(shard, ["url"])["url"].is_valid().to_numpy()).sum())
        return came, fetched


def looked_at(view: View, folder: str, cluster: Cluster) -> Remarks:
    """How many images came, and how many rows that are in lack one and have a url."""
    rows = view.store.shard_rows()
    runs = shard_runs(rows)
    counts = list(each_run("download: images that came", _Look(view, folder, runs), runs, rows, cluster))
    remarks = Remarks()
    remarks.add(KEPT, sum(came for came, _ in counts))
    remarks.add(FETCHED, sum(fetched for _, fetched in counts))
    return remarks
