"""A store of very many tiny shards, laid out as a large one is, and what each command does to it.

    python benchmarks/growth.py --layout 100000 [--only filter show]

A shard has 4 rows; seconds are told per million rows as if it had 10,000, for what is per shard is what counts there.
Parts are copies of one, with the shard's own name and checksums, so that building takes a minute. Each command runs in
a process of its own, twice: on this disk, for seconds of the processor and peak memory, with all that it does in this
process; and over a file system that counts requests as an object store gets them (1,000 names a listing).
"""

from __future__ import annotations

import base64
import contextlib
import json
import math
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, ClassVar

import fsspec
import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
from fsspec.implementations.local import LocalFileSystem

from curate.annotate.step import annotate
from curate.catalog import load_all
from curate.cluster.cluster import Cluster
from curate.filter.rule import load_filter
from curate.filter.step import folder_of, select
from curate.look.report import write_report
from curate.look.show import print_store
from curate.messages.remarks import Remarks
from curate.pipeline.file import load_pipeline
from curate.read.options import ReadOptions
from curate.read.step import read
from curate.run import run
from curate.store.folder import shard_name
from curate.store.image_columns import IMAGE_FIELDS
from curate.store.manifest import Counts, Table
from curate.store.part_file import MAGIC, hashed
from curate.store.store import Store
from curate.store.view import View
from curate.write.plan import plan
from curate.write.shard_columns import columns_to_write
from curate.write.survey import sizes, survey

ROWS, AS_IF, NAMES_A_LISTING = 4, 10_000, 1_000
HERE = Cluster(workers=0)
#: A filter whose keep table is laid out.
DONE = {"name": "done", "keep": [{"if": "words > 1 AND clip_l14 >= 0.2", "else": "low"}]}


# ---- the layout ----


def build(root: str, shards: int) -> None:
    """One shard by the real steps, then copies of its parts."""
    template = Store(f"{root}.template")
    source = Path(f"{root}.parquet")
    texts = ["a red bicycle at a wall", "two cats", "a", "the old harbour in the morning"]
    urls = [f"http://example.org/{i}.jpg" for i in range(ROWS)]
    scores = np.array([0.1, 0.2, 0.3, 0.3], np.float32)
    pl.DataFrame({"url": urls, "text": texts, "clip_l14": scores}).write_parquet(source)
    view = read(template, ReadOptions(input=str(source), rows_per_shard=ROWS), HERE)
    view = annotate(view, load_all(["score.words"]), HERE)
    kept, _ = select(view, load_filter(DONE))
    values: dict[str, Any] = {"status": ["success"] * 3 + ["timeout"], "size": [100, 200, 300, None]}
    values["extension"] = ["jpg"] * 3 + [None]
    columns = {name: pa.array(values.get(name, [None] * ROWS), kind) for name, kind in IMAGE_FIELDS.items()}
    template.write_part("images-benchmark", 0, pa.table(columns))
    template.note_table("images-benchmark", Table(name="images", op="download", columns=list(IMAGE_FIELDS)))
    store, manifest = Store(root), template.manifest()
    group = manifest.inputs[0]
    group.shards, group.rows = shards, shards * ROWS
    words = next(entry for entry in manifest.tables.values() if entry.name == "words")
    assert isinstance(words, Table) and words.complete
    words.complete = {manifest.pool(None): next(iter(words.complete.values()))}
    assert kept.keep
    entry = manifest.keep(kept.keep)
    del manifest.tables[kept.keep], manifest.current[entry.name]
    store.save(manifest)
    folder = folder_of(load_filter(DONE), View.of(store))
    dropped = {reason: rows * shards for reason, rows in entry.counts.dropped.items()}
    entry.counts = Counts(entered=ROWS * shards, kept=entry.counts.kept * shards, dropped=dropped)
    copy(template, store, {name: name for name in ("records", *manifest.tables)} | {kept.keep: folder}, shards)
    store.note_table(folder, entry)
    shutil.copytree(template.path("inputs"), store.path("inputs"))
    shutil.rmtree(template.path(""))


def copy(template: Store, store: Store, tables: dict[str, str], shards: int) -> None:
    """tables: a folder of the template to that of the store."""
    parts = {folder: template.read_bytes(template.part(table, 0)) for table, folder in tables.items()}
    owner = template.rows_digest(0).encode()
    for table in parts:
        os.makedirs(store.path(table), exist_ok=True)
    for shard in range(shards):
        own = owner
        for table, data in parts.items():
            names = [(b"00000.parquet", f"{shard_name(shard)}.parquet".encode())]
            copied, digest = stamped(data, [*names, (owner, own)])
            Path(store.path(store.part(table, shard))).write_bytes(copied)
            own = digest if table == "records" else own


def stamped(data: bytes, changes: list[tuple[bytes, bytes]]) -> tuple[bytes, bytes]:
    """A part whose footer says something else of the same length, with its checksums; and its digest."""
    footer = int.from_bytes(data[-8:-4], "little")
    end = len(data) - 8 - footer
    tail = data[end:]
    schema = (pq.read_metadata(pa.BufferReader(data)).metadata or {})[b"ARROW:schema"]
    arrow = base64.b64decode(schema)
    for old, new in changes:
        assert len(old) == len(new)
        tail, arrow = tail.replace(old, new), arrow.replace(old, new)
    tail = tail.replace(schema, base64.b64encode(arrow))
    chunks = int.from_bytes(data[end - 24 : end - 16], "little")
    begin = end - (chunks + 5) * 8
    sums = np.frombuffer(data[begin : end - 24], "<u8").copy()
    sums[-1] = hashed(tail[:footer])
    block = np.array([*sums.tolist(), chunks], "<u8").tobytes()
    digest = hashed(block)
    return data[:begin] + block + np.array([digest], "<u8").tobytes() + MAGIC + tail, f"{digest:016x}".encode()


# ---- commands ----


def _filter(store: Store) -> None:
    select(View.of(store), load_filter({"name": "two", "where": "words > 1 AND clip_l14 >= 0.2"}))


def _top(store: Store) -> None:
    select(View.of(store), load_filter({"name": "top", "top": "clip_l14=50%"}))


def _plan(store: Store) -> None:
    view = View.of(store, "keep_done")
    facts = survey(view, columns_to_write(view, None, (), Remarks()))
    plan(sizes(view, facts, in_bytes=False), AS_IF, None, facts.first_sizes(view))


def _nothing(store: Store) -> None:
    steps = [{"score": ["words"]}, {"filter": DONE}]
    path = Path(tempfile.mkdtemp()) / "nothing.yaml"
    path.write_text(json.dumps({"name": "nothing", "steps": steps}))
    run(load_pipeline(path, {"root": store.url}), HERE)


COMMANDS: dict[str, Callable[[Store], None]] = {
    "filter, two conditions": _filter,
    "filter, top": _top,
    "plan of write": _plan,
    "show": lambda store: print_store(store.url),
    "report": lambda store: print(write_report(store.url)),
    "run, nothing to do": _nothing,
}


# ---- measuring ----


class Counted(LocalFileSystem):
    """This disk as an object store: requests by kind."""

    protocol = "counted"
    requests: ClassVar[Counter[str]] = Counter()

    def info(self, path: str, **more: Any) -> Any:
        self.requests["HEAD"] += 1
        return super().info(path, **more)

    def exists(self, path: str, **more: Any) -> bool:
        self.requests["HEAD"] += 1
        return os.path.lexists(self._strip_protocol(path))

    def cat_file(self, path: str, start: int | None = None, end: int | None = None, **more: Any) -> bytes:
        self.requests["GET"] += 1
        with open(self._strip_protocol(path), "rb") as file:
            file.seek(start or 0)
            return file.read() if end is None else file.read(end - (start or 0))

    def put_file(self, lpath: str, rpath: str, callback: Any = None, **more: Any) -> None:
        self.requests["PUT"] += 1
        target = self._strip_protocol(rpath)
        os.makedirs(os.path.dirname(target), exist_ok=True)
        shutil.copyfile(lpath, target)

    def ls(self, path: str, detail: bool = False, **more: Any) -> Any:
        names = os.listdir(self._strip_protocol(path))
        self.requests["LIST"] += max(1, math.ceil(len(names) / NAMES_A_LISTING))
        return [f"{path}/{name}" for name in names]

    @classmethod
    def _strip_protocol(cls, path: Any) -> Any:
        return super()._strip_protocol(str(path).removeprefix("counted://"))


def step(root: str, name: str) -> None:
    """In a process of its own: do one command and print what it took."""
    fsspec.register_implementation("counted", Counted)
    with contextlib.redirect_stdout(sys.stderr):
        store = Store(root)
        store.manifest()
        imports, began, wall = peak(), time.process_time(), time.monotonic()
        COMMANDS[name](store)
    spent = {"cpu": time.process_time() - began, "wall": time.monotonic() - wall, "peak": peak(), "imports": imports}
    print(json.dumps(spent | {"requests": dict(Counted.requests)}))


def peak() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def measured(shards: int, only: list[str]) -> Iterator[str]:
    folder = Path(tempfile.mkdtemp(prefix="curate-layout-"))
    names = [name for name in COMMANDS if any(part in name for part in only)]
    try:
        for kind, root in (("disk", f"{folder}/disk"), ("counted", f"{folder}/counted")):
            build(root, shards)
            for name in names:
                place = root if kind == "disk" else f"counted://{root}"
                command = [sys.executable, __file__, place, name]
                done = subprocess.run(command, capture_output=True, text=True, check=False)
                if done.returncode:
                    raise SystemExit(f"{name}: {done.stderr[-2000:]}")
                spent = json.loads(done.stdout.strip().splitlines()[-1])
                if kind == "disk":
                    millions = shards * AS_IF / 1e6
                    yield (
                        f"{shards:>9,} {name:<24} {spent['cpu'] / millions:8.4f} s/M of the processor, "
                        f"{spent['wall'] / millions:8.4f} s/M by the clock, peak {spent['peak']:6,.0f} MB "
                        f"({spent['imports']:,.0f} before it)"
                    )
                else:
                    counts = ", ".join(f"{count / shards:.3f} {kind}" for kind, count in spent["requests"].items())
                    yield f"{shards:>9,} {name:<24} requests a shard: {counts or 'none'}"
            shutil.rmtree(root)
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    step(*sys.argv[1:])
