"""Which table an op fills: its name, the identity of all that decides its content, and its entry in the manifest."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from curate.alike.against_old import OldStore
from curate.alike.kept_keys import Keys
from curate.annotate.answer import status_column
from curate.errors import CurateError, unknown
from curate.messages.progress import console
from curate.op import Op
from curate.store.folder import identity
from curate.store.manifest import Table
from curate.store.view import View


def folder_for(view: View, op: Op, whole: bool = False, old: Sequence[OldStore] = ()) -> str:
    """The table that `op` makes from this view: its name and the identity of all that decides its content.

    whole: the rows that are in are part of that. old: the stores of its `against`: what of them takes part is, too.

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
    more: dict[str, Any] = {}
    if whole:
        reads |= view.states(name for name in reads if name != "image")
        more["pool"] = view.pool()
    if old:
        more["old"] = [store.identity(op.reads()) for store in old]
    return f"{op.table()}-{identity(spec=op.spec(), reads=reads, **more)}"


def check_name(view: View, op: Op) -> None:
    """
    Raises:
        CurateError: when its table has the name of another op's table, whose columns would be lost to view.
    """
    manifest = view.store.manifest()
    folder = manifest.current.get(op.table())
    if folder and manifest.op_of(folder) != op.spec()["op"]:
        raise CurateError(
            f"{op.spec()['op']}: table '{op.table()}' of {view.store.url} is that of "
            f"{manifest.op_of(folder) or 'a filter'}: give one of the two another `name`"
        )
    columns = manifest.columns()
    for column in op.makes():
        other = manifest.op_table(columns.get(column))
        if other and other.name != op.table():
            console.print(f"[yellow]{op.table()}: column '{column}' now comes from this table, not from '{other.name}'")


def made_by(view: View, op: Op, coming: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """For each column that an op reads the spec of what makes it; `coming`: by folder, those of the same pass."""
    manifest = view.store.manifest()
    folders = {name: view.columns[name] for name in op.reads() if name != "image"}
    return {name: (coming or {}).get(folder) or manifest.spec_of(folder) for name, folder in folders.items()}


def note(view: View, op: Op, folder: str, **more: Any) -> None:
    """Enter an op's table into the manifest. Keys are no columns for others to read or to write."""
    columns = [] if isinstance(op, Keys) else [*op.makes(), status_column(op.table())]
    view.store.note_table(folder, Table(name=op.table(), **op.spec(), columns=columns, **more))
