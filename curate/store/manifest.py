"""The manifest: what a store holds, and what made each of its tables. Every promise of restart rests on it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from curate.errors import CurateError, unknown
from curate.store.cost import Cost
from curate.store.entries import Counts, Input, Keep, Run, Table
from curate.store.folder import identity
from curate.store.removal import Removal
from curate.store.shard_rows import ShardRows, Stretch

__all__ = ["FORMAT", "Counts", "Input", "Keep", "Manifest", "Run", "Table"]

FORMAT = 3


class Manifest(BaseModel):
    """tables: by folder. current: table name to the folder that it means; the last used is the last.

    unfinished: by folder, the cost of shards of steps that were stopped, until the step ends and its table has it.
    removals: what `curate remove` did, first one first. removing: the version of one that is under way, else 0.
    anew: the version of the last removal after which results over all rows are to be made anew, else 0.
    """

    model_config = ConfigDict(extra="forbid")

    format: int = FORMAT
    inputs: list[Input] = []
    tables: dict[str, Annotated[Keep | Table, Field(union_mode="left_to_right")]] = {}
    current: dict[str, str] = {}
    runs: dict[str, Run] = {}
    unfinished: dict[str, Cost] = {}
    removals: list[Removal] = []
    removing: int = 0
    anew: int = 0

    def json_tree(self) -> dict[str, Any]:
        """What is written to disk: all that is not as it is by default."""
        return {"format": self.format, **self.model_dump(mode="json", exclude_defaults=True)}

    # ---- rows ----

    @property
    def rows(self) -> int:
        """Rows of all inputs."""
        return sum(group.rows for group in self.inputs)

    @property
    def out(self) -> dict[str, int]:
        """Rows of these that are out from the beginning, by the word for it."""
        return dict(sum((Counter(group.out) for group in self.inputs), Counter()))

    def shard_rows(self) -> ShardRows:
        """Shard number to row count, in order."""
        return ShardRows([Stretch(group.shard_numbers, group.rows, group.rows_per_shard) for group in self.inputs])

    @property
    def images_of_input(self) -> str | None:
        """Folder of the images that came with the input."""
        return next((group.images for group in self.inputs if group.images), None)

    def add_input(self, group: Input) -> None:
        """Shards of an input come behind those that are there. Tables that ops and filters made know nothing of them
        until they are made for these, too; a keep table of fewer rows never is. Images that come with the input are
        read with it."""
        shards = len(self.shard_rows())
        for entry in self.tables.values():
            if entry.shards is None and not (isinstance(entry, Table) and entry.op == "read"):
                entry.shards = shards
        self.inputs.append(group)

    def shards_of(self, folder: str) -> range:
        """The shards of which a table must have parts."""
        entry = self.tables.get(folder)
        return range(len(self.shard_rows()) if entry is None or entry.shards is None else entry.shards)

    def check_made(self, folder: str, shard: int, place: str) -> None:
        """
        Raises:
            CurateError: for a shard whose rows were added after a table of `place`, the store's URL, was made.
        """
        if shard in self.shard_rows() and shard not in self.shards_of(folder):
            added = next(group.input for group in self.inputs if shard in group.shard_numbers)
            raise CurateError(
                f"{place}: '{self.tables[folder].name}' was made before the rows of '{added}' were added: run the "
                "pipeline that makes it again; what is there already is not computed again"
            ) from None

    # ---- tables ----

    def op_table(self, folder: str | None) -> Table | None:
        """The entry of a folder that an op, or a download, filled."""
        entry = self.tables.get(folder or "")
        return entry if isinstance(entry, Table) else None

    def spec_of(self, folder: str | None) -> dict[str, Any]:
        """The spec of the op that filled a folder; empty for records and keep tables."""
        entry = self.op_table(folder)
        return entry.spec() if entry else {}

    def op_of(self, folder: str | None) -> str:
        """The name of the op that filled a folder; empty for records and keep tables."""
        entry = self.op_table(folder)
        return entry.op if entry else ""

    def keep(self, folder: str) -> Keep:
        """The entry of a keep table."""
        entry = self.tables[folder]
        assert isinstance(entry, Keep)
        return entry

    def table_folders(self) -> dict[str, str]:
        """Table names to the folders they stand for, `records` first."""
        return ({"records": "records"} if self.inputs else {}) | self.current

    def table_folder(self, name: str, place: str) -> str:
        """The folder that a table's name stands for.

        Raises:
            CurateError: for a name that is not there; it lists the tables of `place`, the store's URL.
        """
        folders = self.table_folders()
        if name not in folders:
            raise unknown("table", name, folders, place)
        return folders[name]

    def keeps(self) -> dict[str, str]:
        """Names of keep tables to their folders."""
        return {name: folder for name, folder in self.current.items() if isinstance(self.tables[folder], Keep)}

    def columns(self) -> dict[str, str]:
        """Column names to the folder of the table they come from (the latest, when several have one)."""
        folders: dict[str, str] = {}
        for group in self.inputs:
            folders.update(dict.fromkeys(group.columns, "records"))
        for folder in self.current.values():
            if entry := self.op_table(folder):
                # Every table has uid; that of the records is the one that identities are made of.
                folders.update({name: folder for name in entry.columns if name != "uid"})
        return folders

    def note(self, folder: str, entry: Table | Keep) -> None:
        """Record what made a table, and make it the one that its name means from now on.

        What `entry` does not say of a table that is there already stays as it is; seconds and costs add up.
        """
        earlier = self.tables.get(folder)
        if isinstance(entry, Table) and (unfinished := self.unfinished.pop(folder, None)):
            entry = entry.model_copy(update={"cost": (entry.cost + unfinished).rounded()})
        if isinstance(earlier, Table) and isinstance(entry, Table):
            changes = {name: getattr(entry, name) for name in entry.model_fields_set}
            changes["seconds"] = round(earlier.seconds + entry.seconds, 3)
            changes["cost"] = (earlier.cost + entry.cost).rounded()
            entry = earlier.model_copy(update=changes)
        entry.shards = None
        self.tables[folder] = entry
        # Last used is last in the dict: a column that two tables hold means the later one.
        self.current.pop(entry.name, None)
        self.current[entry.name] = folder

    def note_change(self, folder: str) -> bool:
        """Record, before it happens, that final values of a table change; False when the table has none yet."""
        entry = self.op_table(folder)
        if entry is None:
            return False
        entry.changes += 1
        if entry.complete is not None:
            entry.complete = {}
        return True

    def note_unfinished(self, costs: Mapping[str, Cost]) -> None:
        """Record what a step cost, by folder, that is stopped before its end."""
        for folder, cost in costs.items():
            self.unfinished[folder] = (self.unfinished.get(folder, Cost()) + cost).rounded()

    def note_run(self, name: str, run: Run) -> None:
        """Record how a pipeline ended; the last run is the last in the dict."""
        self.runs.pop(name, None)
        self.runs[name] = run

    # ---- filters, and the rows that are in ----

    def chain(self, keep: str | None) -> list[Keep]:
        """The filter steps that led to a keep table, first step first."""
        steps: list[Keep] = []
        while keep:
            steps.append(self.keep(keep))
            keep = steps[-1].after
        return steps[::-1]

    def last_keep(self) -> str | None:
        """The keep table of the rows that are in at the end: of the last run, or, where no run has ended or the last
        one dropped nothing, of the filter that was applied last; None when nothing was filtered."""
        last_run = next(reversed(self.runs.values()), Run())
        return last_run.keep or next(reversed(self.keeps().values()), None)

    def pool(self, keep: str | None) -> str:
        """Identity of the rows that a keep table kept: a table computed over all of them depends on it."""
        more = {"anew": self.anew} if self.anew else {}
        return identity(keep=keep, inputs=[[g.files_id, g.rows, g.first_shard] for g in self.inputs], **more)

    def pools(self, keep: str | None) -> set[str]:
        """Identities of the rows that a keep table kept, and of the larger pools that earlier steps took them from."""
        folders = [entry.after for entry in self.chain(keep)] + [keep]
        return {self.pool(folder) for folder in folders} | {self.pool(None)}

    def state(self, folder: str, keep: str | None) -> str:
        """What the values of a table, in the rows that are in, come from: the folder, and marks where they may change.

        A table that ops fill for more rows later is final for the pools that it is complete for. One whose final values
        were changed (failed downloads tried again) is another one from then on.
        """
        entry = self.op_table(folder)
        if entry is None:
            return folder
        mark = f"@{entry.changes}" if entry.changes else ""
        if entry.complete is not None and not self.pools(keep) & set(entry.complete):
            mark += f"+{len(entry.complete)}"
        return folder + mark
