"""A row's life, from a line of the input to a sample of a training shard. Start here.

A pipeline is a list of steps, done one after the other over one store (`curate.pipeline.steps` has a class for each):

    read                 the input's rows become shards: the table `records`, which no later step changes
    download             each row's image, stored beside its status; rows that get none leave
    score, annotate      ops add columns, in tables beside the records; no row leaves
    filter               a rule over columns: the rows that fail it leave, each for a reason
    dedupe, balance      an op judges all rows that are in, and those that it decides against leave
    write                the rows that are in become training shards

A row that leaves stays in the store: a keep table says which step dropped it, and why. What a step did already, for the
same rows and options, is not done again: so a run that was killed goes on where it was.
"""

from __future__ import annotations

import sys
import time
from typing import Any

from curate import Verb
from curate.cluster.cluster import Cluster
from curate.filter.step import funnel
from curate.pipeline.steps import Pipeline
from curate.refuse.opt_out import lists_kept
from curate.store.lease import leased
from curate.store.manifest import Run
from curate.store.store import Store
from curate.store.view import View

#: `curate.run(...)` is `curate.api.run`, which loads a pipeline by its name and calls `run` of this module.
sys.modules[__name__].__class__ = Verb


def run(pipeline: Pipeline, cluster: Cluster) -> dict[str, Any]:
    """Do every step, or what is left of it; returns {"rows", "funnel", "written", "seconds"}.

    Raises:
        CurateError: when a step cannot end; all that was done is kept, and the same call goes on from there.
    """
    cluster.check()
    store = Store(pipeline.root)
    with leased(store, f"curate run {pipeline.name}"):
        return _run(pipeline, store, cluster)


def _run(pipeline: Pipeline, store: Store, cluster: Cluster) -> dict[str, Any]:
    view = View(store) if pipeline.reads else View.of(store)
    cluster = cluster.with_memory(pipeline.memory)
    seconds: dict[str, float] = {}
    for step in pipeline.steps:
        # A list that is damaged behind its beginning is to stop the first step, not one that comes after hours.
        lists_kept(store, step.opt_out())
    for step in pipeline.steps:
        began = time.monotonic()
        view = step.do(view, cluster)
        seconds[step.label()] = round(seconds.get(step.label(), 0) + time.monotonic() - began, 2)
    manifest = store.manifest()
    manifest.note_run(pipeline.name, Run(keep=view.keep, written=view.written, seconds=seconds))
    store.save(manifest)
    return {"rows": manifest.rows, "funnel": funnel(manifest, view.keep), "written": view.written, "seconds": seconds}
