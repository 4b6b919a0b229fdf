"""Dataset: a store to look at in Python: tables, the ledger, the funnel, samples, images by uid."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from operator import itemgetter
from typing import Any

import numpy as np
import polars as pl
from PIL import Image

from curate.errors import CurateError, unknown
from curate.filter.sql import condition
from curate.filter.step import funnel
from curate.look.samples import filled, verdicts
from curate.messages.counted import counted
from curate.pictures.attempt import attempt
from curate.store.images import ImageReader
from curate.store.store import Store
from curate.store.verdict import LEDGER
from curate.store.view import View

#: Shards that a sample is drawn from at least: all of 10^5 would take minutes, one would show one crawl only.
SHARDS_SAMPLED = 20


class Dataset:
    """What `curate.open(root)` gives. All tables have the same rows in the same order: that of the input.

    It shows the store as it was when it was opened. Open it again when a command has changed it.

        store = curate.open("demo/store")
        store["words"].filter(pl.col("words") > 20).collect()
        store.table("match", "lang", "kept", "reason").collect()
        rows = store.sample(12, dropped_by="images", with_image=True)
        store.images(rows["uid"])

    `step`, wherever it is taken, is the name of a filter step: the verdicts are those after it. Without one they are
    those at the end of the last run, or, where no run has ended, of the filter that was applied last.
    """

    def __init__(self, root: str):
        self.store = Store(root)
        self.manifest = self.store.manifest()
        self.view = View.at(self.store, self.manifest)
        self._places: dict[str, tuple[int, int]] = {}

    def __repr__(self) -> str:
        return f"Dataset({self.store.url!r}: {counted(self.rows, 'row')}, tables {', '.join(self.tables())})"

    @property
    def rows(self) -> int:
        return self.manifest.rows

    def tables(self) -> dict[str, str]:
        """Table names to their folders under the root."""
        return self.manifest.table_folders()

    def columns(self) -> dict[str, str]:
        """Every column's name to the folder of the table that holds it."""
        return dict(self.view.columns)

    def __getitem__(self, name: str) -> pl.LazyFrame:
        """A table: one row per record.

        Raises:
            CurateError: for a name that is not there; the message lists the tables.
        """
        return self.store.scan(self.manifest.table_folder(name, self.store.url))

    def table(self, *columns: str, step: str = "") -> pl.LazyFrame:
        """Columns of any tables side by side, row by row; `kept`, `dropped_by`, `reason` come from the ledger.

        Raises:
            CurateError: for a column that is not there, and while a table lacks shards (its step is under way).
        """
        if not columns:
            raise CurateError(f"name at least one column; there are: {', '.join(sorted(self.view.columns))}")
        by_folder: dict[str, list[str]] = {}
        for name in dict.fromkeys(columns):
            if name in LEDGER:
                by_folder.setdefault(self.keep_folder(step), []).append(name)
            elif name in self.view.columns:
                by_folder.setdefault(self.view.columns[name], []).append(name)
            else:
                raise unknown("column", name, [*self.view.columns, *LEDGER], self.store.url)
        shards = set(self.manifest.shard_rows())
        for folder in by_folder:
            lacking = len(shards - self.store.parts(folder))
            if lacking:
                where = f"{self.store.url}/{folder}"
                raise CurateError(f"{where} lacks {lacking} of {len(shards)} shards: run its pipeline to the end first")
        frames = [self.store.scan(folder).select(names) for folder, names in by_folder.items()]
        return pl.concat(frames, how="horizontal").select(list(dict.fromkeys(columns)))

    # ---- verdicts ----

    def ledger(self, step: str = "") -> pl.LazyFrame:
        """uid, kept, dropped_by (step), reason of every row."""
        return self.store.scan(self.keep_folder(step))

    def keep_folder(self, step: str = "") -> str:
        """The folder of the keep table that holds the ledger.

        Raises:
            CurateError: for a step that is not there, and when nothing was filtered yet.
        """
        manifest = self.manifest
        keeps = {name.removeprefix("keep_"): folder for name, folder in manifest.keeps().items()}
        if step:
            if step not in keeps:
                raise unknown("filter step", step, keeps, self.store.url)
            return keeps[step]
        if not keeps:
            raise CurateError(f"{self.store.url}: nothing was filtered yet")
        return manifest.last_keep() or list(keeps.values())[-1]

    def funnel(self, step: str = "") -> pl.DataFrame:
        """One row per step and reason: step, entered, reason (null: all that the step dropped), rows, left."""
        rows = []
        for entry in funnel(self.manifest, self.keep_folder(step)):
            common = {"step": entry["step"], "entered": entry["entered"], "left": entry["kept"]}
            rows.append({**common, "reason": None, "rows": entry["entered"] - entry["kept"]})
            rows += [{**common, "reason": reason, "rows": n} for reason, n in entry["dropped"].items()]
        schema = {"step": pl.String, "entered": pl.Int64, "reason": pl.String, "rows": pl.Int64, "left": pl.Int64}
        return pl.DataFrame(rows, schema=schema)

    def rules(self, step: str = "") -> dict[str, dict[str, Any]]:
        """The filter steps up to the ledger, first one first: name to {"where": {reason: SQL}, "top", "threshold"}."""
        steps = self.manifest.chain(self.keep_folder(step))
        return {entry.step: {**entry.filter, "threshold": entry.threshold} for entry in steps}

    def thresholds(self, step: str = "") -> pl.DataFrame:
        """The limits that filter steps set: step, column, relation (what is kept: ">="), value.

        Of several limits on one side of a column it is the tightest. Conditions that are no comparison of one column
        with a number are left out; a `top` counts with its resolved score, one within groups not at all.
        """
        rows: list[tuple[str, str, str, float]] = []
        for name, rule in self.rules(step).items():
            for sql in rule["where"].values():
                rows += [(name, *comparison) for comparison in condition(sql).compared()]
            if rule["top"] and rule["threshold"] and rule["threshold"].get("score") is not None:
                rows.append((name, rule["top"]["by"], ">=", rule["threshold"]["score"]))
        schema = {"step": pl.String, "column": pl.String, "relation": pl.String, "value": pl.Float64}
        frame = pl.DataFrame(rows, schema=schema, orient="row")
        side = pl.col("relation").str.slice(0, 1)
        tightest = pl.when(side == "<").then(pl.col("value").min()).otherwise(pl.col("value").max())
        frame = frame.filter(pl.col("value") == tightest.over("column", side))
        return frame.unique(["column", "relation"], keep="first", maintain_order=True)

    def scores(self) -> list[str]:
        """Numeric columns that say something about a row: those that filters use first, then the other ones.

        Bookkeeping is left out: places in tars, hashes, sizes of duplicate groups, and of images all but the original
        width and height, unless a filter uses them.
        """
        used: list[str] = []
        if self.manifest.keeps():
            for rule in self.rules().values():
                used += [name for sql in rule["where"].values() for name in condition(sql).columns]
                used += [rule["top"]["by"]] if rule["top"] else []
        schemas = {folder: self._schema(folder) for folder in set(self.view.columns.values())}
        numeric = [
            name
            for name, folder in self.view.columns.items()
            if schemas[folder][name].is_numeric() and schemas[folder][name] != pl.UInt64
        ]
        others = [name for name in numeric if self._tells(name)]
        return list(dict.fromkeys([name for name in used if name in numeric] + others))

    def _schema(self, folder: str) -> pl.Schema:
        """Of a table, by its first part: others need not even be listed."""
        shard = next(iter(self.manifest.shard_rows()))
        try:
            with self.store.opened(self.store.part(folder, shard)) as part:
                return pl.DataFrame(pl.from_arrow(part.schema.empty_table())).schema
        except FileNotFoundError:
            return self.store.scan(folder).collect_schema()

    def _tells(self, column: str) -> bool:
        folder = self.view.columns[column]
        if folder == self.view.images:
            return column in ("original_width", "original_height")
        return not self.manifest.op_of(folder).startswith("dedupe.")

    # ---- rows and images ----

    def sample(
        self,
        n: int,
        *columns: str,
        kept: bool | None = True,
        dropped_by: str = "",
        reason: str = "",
        with_image: bool = False,
        step: str = "",
        seed: int = 0,
    ) -> pl.DataFrame:
        """Up to n random rows: uid, text, kept, dropped_by, reason, and `columns`; the same for the same seed.

        kept: False for dropped rows, None for both; `dropped_by` (a step) and `reason` alone ask for dropped ones.
        with_image: only rows whose image is stored.

        They are drawn from at least 20 shards, and from as many as it takes to find n.

        Raises:
            CurateError: for a column, step or reason that is not there.
        """
        keep = self.keep_folder(step)
        self._check_reason(dropped_by, reason, step)
        matching = pl.lit(True) if kept is None else pl.col("kept") == (kept and not dropped_by and not reason)
        for name, value in (("dropped_by", dropped_by), ("reason", reason)):
            matching &= pl.col(name) == value if value else pl.lit(True)
        shards = sorted(self.manifest.shard_rows())
        frames: list[pl.DataFrame] = []
        for number, at in enumerate(np.random.default_rng(seed).permutation(len(shards))):
            if number >= SHARDS_SAMPLED and sum(map(len, frames)) >= n:
                break
            frames.append(verdicts(self.view, [shards[at]], keep, with_image).filter(matching))
        rows = pl.concat(frames)
        more = [name for name in columns if name not in ("uid", "text", *LEDGER)]
        rows = filled(self.view, rows.sample(min(n, len(rows)), seed=seed), ["uid", "text", *dict.fromkeys(more)])
        self._places.update({uid: (shard, row) for uid, shard, row in rows.select("uid", "shard", "row").iter_rows()})
        return rows.select("uid", "text", *LEDGER, *dict.fromkeys(more))

    def _check_reason(self, dropped_by: str, reason: str, step: str) -> None:
        steps = self.funnel(step)
        if dropped_by and dropped_by not in steps["step"]:
            raise unknown("filter step", dropped_by, steps["step"], self.store.url)
        reasons = steps.filter(pl.col("step") == dropped_by if dropped_by else pl.lit(True))["reason"].drop_nulls()
        if reason and reason not in reasons:
            raise unknown("reason", reason, reasons, self.store.url)

    def images(self, uids: Iterable[str]) -> list[Image.Image | None]:
        """Stored images in RGB, in the order of `uids`; None where a row has none, or one that cannot be decoded.

        Rows that `sample` gave are found at once; for others the uids of all shards are looked through.
        """
        if self.view.images is None:
            raise CurateError(f"{self.store.url} has no images")
        asked = list(uids)
        missing = {uid for uid in asked if uid not in self._places}
        for shard in self.manifest.shard_rows():
            if not missing:
                break
            for row, uid in enumerate(self.store.read_part("records", shard, ["uid"])["uid"].to_pylist()):
                if uid in missing:
                    self._places[uid] = (shard, row)
                    missing.remove(uid)
        pictures: dict[str, Image.Image | None] = {}
        places = sorted((*self._places[uid], uid) for uid in set(asked) if uid in self._places)
        for shard, several in itertools.groupby(places, key=itemgetter(0)):
            rows = [(row, uid) for _, row, uid in several]
            reader = ImageReader(self.store, self.view.images, shard)
            reader.coming(row for row, _ in rows)
            for row, uid in rows:
                data = reader.bytes(row)
                decoded = attempt(data)[0] if data is not None else None
                pictures[uid] = decoded.image if decoded else None
            reader.close()
        return [pictures.get(uid) for uid in asked]

    def image(self, uid: str) -> Image.Image | None:
        """One stored image in RGB."""
        return self.images([uid])[0]
