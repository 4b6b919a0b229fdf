"""Fetching rows again whose download ended with certain statuses, as the store's own download fetched them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from curate.cluster.cluster import Cluster
from curate.download.options import DownloadOptions, FetchOptions, unknown_statuses
from curate.download.step import download, folder_of
from curate.errors import CurateError, reworded
from curate.store.manifest import Keep, Table
from curate.store.store import Store
from curate.store.view import View


@dataclass(frozen=True)
class Retried:
    """rows: that were fetched again. statuses: what became of them."""

    rows: int
    statuses: dict[str, int]


def retry(store: Store, statuses: Sequence[str], patience: Mapping[str, Any], cluster: Cluster) -> Retried:
    """Fetch the rows with these statuses again.

    patience: options of FetchOptions that are to be others than those of the store's download.

    Raises:
        CurateError: when the store was not downloaded, or for a status or an option that there is not.
    """
    manifest = store.manifest()
    folder = manifest.current.get("images", "")
    table = manifest.op_table(folder) if folder else None
    if table is None or table.op != "download":
        raise CurateError(f"{store.url}: nothing was downloaded here: there is nothing to fetch again")
    options = _options(table, statuses, patience)
    if folder_of(options, manifest.images_of_input or "") != folder:
        raise CurateError(f"{store.url}: its images were stored by another version of curate; run its pipeline again")
    # The rows that were in when they were downloaded, not those that a later filter kept.
    keep = manifest.tables.get(manifest.keeps().get("keep_download", ""))
    view = View.of(store)
    view = View(store, view.columns, keep.after if isinstance(keep, Keep) else None, view.images)
    rows = {shard: _rows(view, folder, shard, statuses) for shard in store.shard_rows() if shard in store.parts(folder)}
    download(view, options, cluster)
    became: Counter[str] = Counter()
    for shard, places in rows.items():
        if places:
            status = store.read_part(folder, shard, ["status"])["status"].to_pylist()
            became.update(status[place] for place in places)
    return Retried(became.total(), dict(sorted(became.items(), key=lambda item: (-item[1], item[0]))))


def _options(table: Table, statuses: Sequence[str], patience: Mapping[str, Any]) -> DownloadOptions:
    try:
        changed = FetchOptions.model_validate(dict(patience)).model_dump(mode="json", include=set(patience))
        # JSON has no infinity: a limit that is not set is null there.
        stored = {name: value for name, value in table.options.items() if value is not None}
        options = DownloadOptions.model_validate({**stored, **changed, "retry": tuple(statuses)})
    except ValidationError as error:
        raise reworded(error, "retry", FetchOptions.model_fields) from error
    for fault in unknown_statuses(options):
        raise CurateError(fault)
    return options


def _rows(view: View, folder: str, shard: int, statuses: Sequence[str]) -> list[int]:
    from curate.download.unfetched import matching

    part, kept = view.store.read_part(folder, shard, ["status"]), view.kept(shard)
    again = matching(part["status"], statuses)
    return [int(row) for row in (again if kept is None else again & kept).nonzero()[0]]
