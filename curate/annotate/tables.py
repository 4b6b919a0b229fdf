"""Which table an op fills: its name, and the identity of all that decides its content."""

from __future__ import annotations

from curate.errors import CurateError, unknown
from curate.op import Op
from curate.store.folder import identity
from curate.store.view import View


def folder_for(view: View, op: Op, whole: bool = False) -> str:
    """The table that `op` makes from this view: its name and the identity of all that decides its content.

    whole: the rows that are in are part of that.

    Raises:
        CurateError: when a column that it reads is not there.
    """
    reads = {}
    for column in op.reads():
        if column == "image":
            if view.images is None:
                raise CurateError(f"{op.spec()['op']} reads images, and there are none yet: download comes first")
            reads[column] = view.images
        elif column in view.columns:
            reads[column] = view.columns[column]
        else:
            hint = f"{op.spec()['op']} (table '{op.table()}') reads it"
            raise unknown("column", column, view.columns, hint)
    more = {}
    if whole:
        reads |= view.states(name for name in reads if name != "image")
        more["pool"] = view.pool()
    return f"{op.table()}-{identity(spec=op.spec(), reads=reads, **more)}"
