"""New rows against old stores: the option `against` of dedupe ops, and what of those stores takes part."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pyarrow as pa
from pydantic import field_validator

from curate.catalog import find
from curate.errors import CurateError, unknown
from curate.library.names import in_sql
from curate.library.op_names import op_name
from curate.library.yaml_text import in_one_line
from curate.messages.counted import counted
from curate.op import Op
from curate.store.folder import identity
from curate.store.manifest import Manifest
from curate.store.store import Store
from curate.store.view import View


class AgainstOld(Op):
    """An op that can judge the rows of a store against those of others, which were there first.

    `judge` of a Grouped or Linked one gets the rows of old stores, too, with the column `old_store`: the place of their
    store in `against`, null for rows of the store that is worked on. What it says of old rows is not kept.
    """

    against: tuple[str, ...] = ()

    @field_validator("against", mode="before")
    @classmethod
    def _several(cls, against: Any) -> Any:
        return (against,) if isinstance(against, str) else against

    @field_validator("against")
    @classmethod
    def _each_once(cls, against: tuple[str, ...]) -> tuple[str, ...]:
        if not all(against):
            raise ValueError("name the folders of stores")
        if len({_place(name) for name in against}) < len(against):
            raise ValueError("a store is named twice")
        return against

    def spec(self) -> dict[str, Any]:
        spec = super().spec()
        if not self.against:
            # Tables that know no old store keep the identity that they had before there was the option.
            del spec["options"]["against"]
        return spec

    def old_names(self) -> tuple[str, ...]:
        """What of `against` are stores."""
        return self.against

    def store_column(self) -> dict[str, pa.DataType]:
        """The column that names the store of the old row that a row repeats."""
        return {f"{self.table()}_store": pa.string()} if self.against else {}

    def not_in_old(self, reason: str) -> list[dict[str, str]]:
        """The rules of a decision by which rows go that repeat an old row: a reason of their own."""
        return [{"if": f"{in_sql(column)} IS NULL", "else": f"{reason} (old store)"} for column in self.store_column()]

    def check(self) -> None:
        super().check()
        old_stores(self)

    def check_reads(self, made_by: Mapping[str, Mapping[str, Any]]) -> None:
        super().check_reads(made_by)
        for old in old_stores(self):
            for column in self.reads():
                if fault := self.fault_of(old, column, made_by.get(column, {})):
                    raise CurateError(f"{op_name(type(self))}: {fault}")

    def fault_of(self, old: OldStore, column: str, ours: Mapping[str, Any]) -> str:
        """Why a column of an old store cannot be compared with the one here, as OldStore.fault."""
        return old.fault(column, ours)


@dataclass(frozen=True)
class OldStore:
    """A store that `against` names, as it is when it is opened.

    name: as `against` has it. view: restricted to the rows that are in at its end, see Manifest.last_keep.
    """

    name: str
    view: View
    manifest: Manifest

    @classmethod
    def of(cls, name: str) -> OldStore:
        """
        Raises:
            CurateError: when there is no store.
        """
        store = Store(_place(name))
        manifest = store.manifest()
        if not manifest.inputs:
            raise CurateError(f"against: '{name}' holds no records: name the root of a store")
        view = View.at(store, manifest)
        return cls(name, replace(view, keep=manifest.last_keep()), manifest)

    @property
    def rows_in(self) -> int:
        """Rows that take part."""
        keep = self.view.keep
        return self.manifest.keep(keep).counts.kept if keep else self.manifest.rows

    def identity(self, columns: Sequence[str]) -> str:
        """Of all that decides which of its rows take part, and their values in these columns."""
        keep, folders = self.view.keep, {name: self.view.columns.get(name) for name in columns}
        states = {name: folder and self.manifest.state(folder, keep) for name, folder in folders.items()}
        return identity(pool=self.manifest.pool(keep), reads=states)

    def fault(self, column: str, ours: Mapping[str, Any]) -> str:
        """Why a column cannot be compared with that of the store which is worked on; empty when it can.

        ours: the spec of the op that makes it there; empty for a column of the input or of the images.
        """
        if column not in self.view.columns:
            return str(unknown("column", column, self.view.columns, self.name)) + self._makes_it(ours)
        folder = self.view.columns[column]
        theirs = self.manifest.spec_of(folder)
        # Columns of the input, and of images as they were fetched, are taken as they are.
        if _is_of_an_op(theirs) and _is_of_an_op(ours) and identity(spec=theirs) != identity(spec=ours):
            old, new = _difference(theirs, ours)
            what = f"column '{column}' of {self.name} was made by {old}, here it is {new}"
            return f"{what}: their values mean other things{self._makes_it(ours)}"
        return self.unready(column)

    def unready(self, column: str) -> str:
        """Why a column that is there has not all its values; empty when it has."""
        folder = self.view.columns[column]
        theirs = self.manifest.spec_of(folder)
        if _is_of_an_op(theirs) and not self._is_final(folder):
            return f"column '{column}' of {self.name} lacks values of rows that are in{self._makes_it(theirs)}"
        if lacking := len(set(self.manifest.shard_rows()) - self.view.store.parts(folder)):
            return (
                f"{counted(lacking, 'shard')} of column '{column}' of {self.name} are not there: a command that writes "
                "them still runs or was stopped; wait for its end, or run it again"
            )
        return ""

    def learned(self, folder: str) -> str:
        """What tells from others the values that an op learned for a table and keeps beside it (Fitted.learned): the
        weights that it was given, or what it says of its own; empty where it keeps none."""
        entry = self.manifest.op_table(folder)
        return str(entry.weights or entry.report.get("centroids") or "") if entry else ""

    def _is_final(self, folder: str) -> bool:
        """Whether a table has all its values for the rows that are in."""
        entry = self.manifest.op_table(folder)
        complete = entry.complete if entry else None
        if complete is None:
            # An op that looks at all rows has a value for those that were in, a download for every row.
            complete = {entry.pool: ""} if entry and entry.pool else None
        return complete is None or bool(self.manifest.pools(self.view.keep) & set(complete))

    def _makes_it(self, spec: Mapping[str, Any]) -> str:
        """What to do, to be put behind a fault."""
        if not _is_of_an_op(spec):
            return ""
        options = find(spec["op"]).model_fields
        usual = {name: option.get_default(call_default_factory=True) for name, option in options.items()}
        other = {name: value for name, value in spec["options"].items() if usual.get(name) != value}
        op = f"{spec['op']}: {in_one_line(other)}" if other else spec["op"]
        return f"; `curate score {self.name} '{op}'` makes it"


def old_stores(op: Op) -> tuple[OldStore, ...]:
    """The stores that an op judges rows against; none for most.

    Raises:
        CurateError: for one that is not there.
    """
    return tuple(map(OldStore.of, _old_names(op)))


def itself_among_old(op: Op, root: str) -> list[str]:
    """The fault of an op that judges the rows of the store under `root`, when that is among its old stores."""
    names = [name for name in _old_names(op) if _place(name) == _place(root)]
    what = "is the store itself, whose rows are judged together anyhow: name others"
    return [f"{op_name(type(op))}: against: '{name}' {what}" for name in names]


def is_store(name: str) -> bool:
    """Whether a folder is that of a store, of whatever format and in whatever state."""
    store = Store(_place(name))
    try:
        about = json.loads(store.read_bytes("manifest.json"))
    except (OSError, CurateError):
        return False
    except ValueError:
        return True
    # That of training shards has no format.
    return isinstance(about, dict) and "format" in about


def _old_names(op: Op) -> tuple[str, ...]:
    return op.old_names() if isinstance(op, AgainstOld) else ()


def _place(name: str) -> str:
    """Workers do not run where the user does."""
    return name.rstrip("/") if "://" in name else os.path.abspath(name)


def _is_of_an_op(spec: Mapping[str, Any]) -> bool:
    return bool(spec) and (":" in spec["op"] or "." in spec["op"])


def _difference(theirs: Mapping[str, Any], ours: Mapping[str, Any]) -> tuple[str, str]:
    """In what two specs differ, of each in words."""
    if theirs["op"] != ours["op"]:
        return str(theirs["op"]), str(ours["op"])
    name = theirs["op"]
    if theirs["version"] != ours["version"]:
        return f"version {theirs['version']} of {name}", f"version {ours['version']}"
    for option in sorted({*theirs["options"], *ours["options"]}):
        old, new = (spec["options"].get(option) for spec in (theirs, ours))
        if old != new:
            return f"{name} with {in_one_line({option: old})}", in_one_line({option: new})
    return f"{name} with other weights, code or decoding", "another"
