"""Where a store keeps the keys of an op on all rows, see curate.alike.kept_keys."""

from __future__ import annotations

from curate.alike.kept_keys import KeptKeys, Keys
from curate.annotate.tables import folder_for
from curate.annotate.unfinished import reads_id
from curate.op import Op
from curate.store.manifest import Manifest
from curate.store.view import View


def key_column(op: Op) -> str:
    """The column of kept keys; "" for an op that keeps none."""
    return Keys(of=op).column() if isinstance(op, KeptKeys) else ""


def kept_keys(view: View, op: Op, manifest: Manifest | None = None) -> str:
    """The folder with the keys of all rows that are in; "" where the store does not keep them.

    manifest: of the view's store, where it was read already.
    """
    if not isinstance(op, KeptKeys):
        return ""
    manifest, keys = manifest or view.store.manifest(), Keys(of=op)
    folder = folder_for(view, keys)
    entry = manifest.op_table(folder)
    complete = (entry.complete if entry else None) or {}
    reads = reads_id(view, keys, manifest)
    is_final = any(complete.get(pool) == reads for pool in manifest.pools(view.keep))
    return folder if is_final and set(manifest.shard_rows()) <= view.store.parts(folder) else ""


def with_keys(view: View, op: Op, manifest: Manifest | None = None) -> View:
    """The view with the column of kept keys, where the store keeps them; see `kept_keys`."""
    folder = kept_keys(view, op, manifest)
    return view.with_table(folder, [key_column(op)]) if folder else view
