"""A row's life: read, download, annotate, filter, write, as a pipeline's steps have it. Start here."""

from __future__ import annotations

import time
from typing import Any

from curate.annotate.step import annotate
from curate.cluster.cluster import Cluster
from curate.download.step import DownloadOptions, download
from curate.errors import CurateError
from curate.filter.rule import Filter
from curate.filter.step import funnel, nothing_left, select
from curate.messages.progress import console
from curate.pipeline.steps import NO_IMAGE, Pipeline, lacking_ops
from curate.read.options import ReadOptions
from curate.read.step import read
from curate.store.lease import leased
from curate.store.manifest import Run
from curate.store.store import Store
from curate.store.view import View
from curate.write.step import WriteOptions, write


def run(pipeline: Pipeline, cluster: Cluster) -> dict[str, Any]:
    """Do every step, or what is left of it; returns {"rows", "funnel", "written", "seconds"}.

    Raises:
        CurateError: when a step cannot end; all that was done is kept, and the same call goes on from there.
    """
    store = Store(pipeline.root)
    with leased(store, f"curate run {pipeline.name}"):
        return _run(pipeline, store, cluster)


def _run(pipeline: Pipeline, store: Store, cluster: Cluster) -> dict[str, Any]:
    view = View(store) if pipeline.steps[0].verb == "read" else View.of(store)
    cluster.memory = cluster.memory or pipeline.memory
    written: dict[str, Any] = {}
    seconds: dict[str, float] = {}
    for step in pipeline.steps:
        began = time.monotonic()
        if isinstance(step.do, ReadOptions):
            view = read(store, step.do, cluster)
        elif isinstance(step.do, DownloadOptions):
            view = download(view, step.do, cluster)
            view, counts = select(view, NO_IMAGE)
            _say(counts, "download", store.url)
        elif isinstance(step.do, Filter):
            view = annotate(view, lacking_ops(step.do, set(view.columns)), cluster)
            view, counts = select(view, step.do, step.name)
            _say(counts, step.name, store.url)
        elif isinstance(step.do, WriteOptions):
            written = write(view, step.do, cluster)
        else:
            view = annotate(view, step.do, cluster)
        label = f"{step.verb} {step.name}" if step.verb in ("annotate", "filter") else step.verb
        seconds[label] = round(seconds.get(label, 0) + time.monotonic() - began, 2)
    manifest = store.manifest()
    manifest.note_run(pipeline.name, Run(keep=view.keep, written=written, seconds=seconds))
    store.save(manifest)
    return {"rows": manifest.rows, "funnel": funnel(manifest, view.keep), "written": written, "seconds": seconds}


def _say(counts: dict[str, Any], name: str, root: str) -> None:
    """
    Raises:
        CurateError: when no row is left: the steps after it have nothing to do.
    """
    if nothing := nothing_left(counts, name, root):
        raise CurateError(nothing)
    dropped = counts["entered"] - counts["kept"]
    console.print(f"[dim]{name}: {counts['entered']:,} rows in, {dropped:,} dropped, {counts['kept']:,} left")
