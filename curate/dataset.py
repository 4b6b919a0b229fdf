"""Dataset: a store to look at in Python: tables, the ledger, the funnel, images by uid."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl
from PIL import Image

from curate.errors import CurateError, unknown
from curate.images import ImageReader, decode
from curate.select import funnel
from curate.store import Store
from curate.view import View


class Dataset:
    """What `curate.open(root)` gives.

    >>> store = curate.open("demo/store")                           # doctest: +SKIP
    >>> store["words"].filter(pl.col("words") > 20).collect()       # doctest: +SKIP
    >>> store.table("clip", "lang", "kept", "reason").collect()     # doctest: +SKIP
    """

    def __init__(self, root: str):
        self.store = Store(root)
        self._view = View.of(self.store)

    def __repr__(self) -> str:
        return f"Dataset({self.store.url!r}: {self.rows:,} rows, tables {', '.join(self.tables())})"

    @property
    def rows(self) -> int:
        return sum(self.store.shard_rows().values())

    def tables(self) -> dict[str, str]:
        """Table names to their folders under the root."""
        return self.store.tables()

    def columns(self) -> dict[str, str]:
        """Every column's name to the folder of the table that holds it."""
        return dict(self._view.columns)

    def __getitem__(self, name: str) -> pl.LazyFrame:
        """A table: one row per record, in the order of the input."""
        return self.store[name]

    def ledger(self, step: str = "") -> pl.LazyFrame:
        """uid, kept, dropped_by, reason of every row: after the last step, or after the filter called `step`."""
        return self.store.scan(self._keep(step))

    def _keep(self, step: str = "") -> str:
        manifest = self.store.manifest()
        keeps = {n.removeprefix("keep_"): f for n, f in manifest["current"].items() if n.startswith("keep_")}
        if step:
            if step not in keeps:
                raise unknown("filter step", step, keeps, self.store.url)
            return keeps[step]
        if not keeps:
            raise CurateError(f"{self.store.url}: nothing was filtered yet")
        runs = list(manifest["runs"].values())
        return runs[-1]["keep"] if runs and runs[-1]["keep"] else list(keeps.values())[-1]

    def table(self, *columns: str, step: str = "") -> pl.LazyFrame:
        """Columns of any tables side by side, row by row; `kept`, `dropped_by`, `reason` come from the ledger."""
        by_folder: dict[str, list[str]] = {}
        for name in columns:
            if name in ("kept", "dropped_by", "reason"):
                by_folder.setdefault(self._keep(step), []).append(name)
            elif name in self._view.columns:
                by_folder.setdefault(self._view.columns[name], []).append(name)
            else:
                raise unknown("column", name, self._view.columns, self.store.url)
        frames = [self.store.scan(folder).select(names) for folder, names in by_folder.items()]
        return pl.concat(frames, how="horizontal").select(columns)

    def funnel(self, step: str = "") -> pl.DataFrame:
        """One row per step and reason: step, entered, reason (null: all that the step dropped), rows, left."""
        rows = []
        for entry in funnel(self.store.manifest(), self._keep(step)):
            common = {"step": entry["step"], "entered": entry["entered"], "left": entry["kept"]}
            rows.append({**common, "reason": None, "rows": entry["entered"] - entry["kept"]})
            rows += [{**common, "reason": reason, "rows": n} for reason, n in entry["dropped"].items()]
        return pl.DataFrame(rows, schema=["step", "entered", "reason", "rows", "left"])

    def images(self, uids: Sequence[str]) -> list[Image.Image | None]:
        """Stored images in RGB, in the order of `uids`; None where a row has none, or no such row is there."""
        if self._view.images is None:
            raise CurateError(f"{self.store.url} has no images")
        wanted = dict.fromkeys(uids)
        found: dict[str, Image.Image | None] = {}
        for shard in sorted(self.store.shard_rows()):
            names = self.store.read_part("records", shard, ["uid"])["uid"].to_pylist()
            rows = [(i, name) for i, name in enumerate(names) if name in wanted and name not in found]
            if not rows:
                continue
            reader = ImageReader(self.store, self._view.images, shard)
            for row, name in rows:
                data = reader.bytes(row)
                found[name] = None if data is None else decode(data)
            reader.close()
        return [found.get(uid) for uid in uids]

    def image(self, uid: str) -> Image.Image | None:
        """One stored image in RGB."""
        return self.images([uid])[0]
