"""Fetching rows again whose download ended with certain statuses, as the store's own download fetched them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl
from pydantic import ValidationError

from curate.cluster.cluster import Cluster
from curate.cluster.many_shards import each_run, shard_runs
from curate.download.options import DownloadOptions, FetchOptions, unknown_statuses
from curate.download.step import download, folder_of
from curate.download.unfetched import matching
from curate.errors import CurateError, reworded
from curate.messages.counted import counted
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
    if not statuses:
        raise CurateError("retry: name at least one status, e.g. timeout,http_5xx; `curate show` counts them")
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
    if lacking := len(store.shard_rows().keys() - store.parts(folder)):
        what = f"the download of {counted(lacking, 'shard')} has not ended"
        raise CurateError(f"{store.url}: {what}: run the pipeline to its end first")
    others = _counted(view, folder, statuses, cluster)
    download(view, options, cluster)
    # What is there now, less the rows that stay as they were: of no row has to be kept in mind which it is.
    became = _counted(view, folder, (), cluster) - others
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


def _counted(view: View, folder: str, but: Sequence[str], cluster: Cluster) -> Counter[str]:
    """Rows that are in by their status, but for those with some."""
    rows = view.store.shard_rows()
    job = _Statuses(view, folder, tuple(but), shard_runs(rows))
    return sum(each_run("retry: statuses", job.count, job.runs, rows, cluster), Counter())


@dataclass(frozen=True)
class _Statuses:
    """The job: counts of a run of shards."""

    view: View
    folder: str
    but: tuple[str, ...]
    runs: list[range]

    def count(self, run: int) -> Counter[str]:
        counts: Counter[str] = Counter()
        for shard in self.runs[run]:
            status = self.view.store.read_part(self.folder, shard, ["status"])["status"]
            others, kept = ~matching(status, self.but), self.view.kept(shard)
            chosen = pl.Series(status).filter(pl.Series(others if kept is None else others & kept))
            counts.update(dict(chosen.value_counts().iter_rows()))
        return counts
