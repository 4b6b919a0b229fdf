"""The job of a download: the images of one shard, fetched, resized and put into its tar in the order of the rows."""

from __future__ import annotations

import asyncio
import json
import re
import tempfile
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np
import pyarrow as pa

from curate.cluster.suspects import Suspects
from curate.download import came_along
from curate.download.fetch_facts import FetchFacts, beside, robots_table
from curate.download.options import DownloadOptions, FetchOptions, check_packages
from curate.download.refused import LISTS, Refusals, lists_of, refuse
from curate.download.run_hosts import RunHosts
from curate.download.unfetched import REMARKS, SKIPPED, in_order, missing, shard_remarks
from curate.pictures.resize import Resize
from curate.pictures.resize_options import ResizeOptions
from curate.record import sample_key
from curate.refuse.opt_out import OPTED_OUT
from curate.store.folder import shard_name
from curate.store.image_columns import FETCHES, IMAGE_FIELDS, ROBOTS
from curate.store.images import TARS, ImageReader
from curate.store.part_file import hashed
from curate.store.removal import REMOVED
from curate.store.tar import TarFile
from curate.store.view import View

if TYPE_CHECKING:
    from curate.download.attempt import Fetched

#: Extensions of files that are kept as they came, where that is not the format's own name.
_EXTENSION = {"jpeg": "jpg", "mpo": "jpg", "jpeg2000": "jp2"}


@dataclass
class DownloadShard:
    """Work for one shard: fetches the rows that are in and have no image yet; keeps those that have one.

    hosts: what all workers know of hosts, an actor of Ray; without it, what this process knows.
    lists: the keys of opt-out lists in the store; empty for none.
    """

    view: View
    options: DownloadOptions
    folder: str
    rows_per_shard: int
    again: tuple[str, ...] = ()
    session: str = ""
    came: str = ""
    hosts: Any = None
    lists: str = ""

    def setup(self) -> None:
        from curate.download.desk import Desk

        check_packages(self.options)  # here too: a node may lack what the driver has
        fields = set(ResizeOptions.model_fields)
        self.resize = Resize(ResizeOptions(**self.options.model_dump(include=fields)))
        self.fetching = FetchOptions(**self.options.model_dump(include=set(FetchOptions.model_fields)))
        # From shard to shard: what hosts asked for, and what their robots.txt says.
        self.desk = Desk(self.hosts or RunHosts(**self.fetching.of_hosts), self.fetching)
        self.refusals = Refusals.of(self.view, self.lists)

    def __call__(self, shard: int) -> dict[str, Any]:
        return self._download(shard, None)

    def careful(self, shard: int) -> dict[str, Any]:
        """After this shard failed once: slower, and it finds the images that kill the worker."""
        suspects = Suspects(self.view.store, self.folder, shard, self.session)
        report = self._download(shard, suspects)
        suspects.clear()
        return report

    def acquit(self, shard: int) -> None:
        """The last attempt ended because a node was lost: no row is to blame for it."""
        Suspects(self.view.store, self.folder, shard, self.session).acquit()

    def _download(self, shard: int, suspects: Suspects | None) -> dict[str, Any]:
        store = self.view.store
        part = store.try_part(self.folder, shard)
        records, kept = self.view.read(shard, ["url"]), self.view.kept(shard)
        todo = missing(part, kept, records.num_rows, self.again)
        same_lists = part is not None and lists_of(part.schema) == self.lists
        if same_lists and not todo.any():
            return {"rows": 0, "unasked": Counter(), "refused": Counter()}
        columns, members = self._begun(part, shard, records.num_rows)
        if part is not None and not same_lists:
            # By other lists than now: whoever is on these no more is fetched.
            todo |= (np.asarray(columns["status"], object) == OPTED_OUT) & (True if kept is None else kept)
        facts = FetchFacts(records.num_rows, store.try_part(beside(self.folder, FETCHES), shard))
        columns["changes"] = [()] * records.num_rows
        if part is None:
            todo &= np.asarray(columns["status"], object) == SKIPPED
        with tempfile.TemporaryFile() as spool:
            urls = records["url"].to_pylist()
            todo &= ~self.refusals.looked_at(columns, urls, np.ones(len(urls), bool) if kept is None else kept)
            todo &= ~self._malformed(shard, urls, todo, columns)
            places: dict[int, tuple[int, int]] = {}
            for rows in in_order(np.flatnonzero(todo).tolist(), columns, suspects):
                places |= asyncio.run(self._fetch(rows, urls, columns, facts, spool, suspects))
            if suspects:
                suspects.acquit()  # whatever comes now is no image's fault
            tar = self._tar_name(part, shard)
            digests = self._assemble(shard, part, columns, spool, places, tar)
        table = pa.table({n: pa.array(columns[n], k) for n, k in IMAGE_FIELDS.items()})
        if members is not None:
            table = table.append_column("members", members)
        remarks = shard_remarks(part, shard, columns)
        store.write_remarks(self.folder, shard, remarks)
        self._write_facts(shard, facts)
        # The status rows are the commit: they name the tar whose offsets they hold.
        about = {TARS: json.dumps(digests).encode(), REMARKS: json.dumps(remarks.to_json()).encode()}
        about |= {LISTS: self.lists.encode()} if self.lists else {}
        store.write_part(self.folder, shard, table, about)
        if part is not None:
            for old in store.names(self.folder):
                if old != tar and is_tar_of(shard, old):
                    store.remove(f"{self.folder}/{old}")
        unasked, self.desk.unasked = self.desk.unasked, Counter()
        refused = Counter(status for status in columns["status"] if status in (REMOVED, OPTED_OUT))
        return {"rows": int(todo.sum()), "unasked": unasked, "refused": refused}

    def _write_facts(self, shard: int, facts: FetchFacts) -> None:
        store = self.view.store
        store.write_part(beside(self.folder, FETCHES), shard, facts.table())
        files, self.desk.seen = self.desk.seen, []
        if files:
            name = f"{beside(self.folder, ROBOTS)}/{shard_name(shard)}.parquet"
            earlier = store.read_file(name) if store.exists(name) else None
            store.write_file(name, robots_table(files, earlier))

    def _begun(self, part: pa.Table | None, shard: int, rows: int) -> tuple[dict[str, list[Any]], Any]:
        """The columns as an earlier run, or reading, left them; and the other files of samples that came."""
        if part is not None:
            members = part["members"] if "members" in part.column_names else None
            return {name: part[name].to_pylist() for name in IMAGE_FIELDS}, members
        if self.came:
            return came_along.columns(self.view, self.came, shard, SKIPPED)
        columns: dict[str, list[Any]] = {name: [None] * rows for name in IMAGE_FIELDS}
        columns["status"] = [SKIPPED] * rows
        if (out := self.view.out(shard)) is not None:
            columns["status"] = [word or SKIPPED for word in out.tolist()]
        return columns, None

    def _malformed(
        self, shard: int, urls: Sequence[str | None], todo: np.ndarray, columns: dict[str, list[Any]]
    ) -> np.ndarray:
        """Rows that reading could make nothing of: they have a status of their own, with what they held."""
        rows = np.zeros(len(urls), bool)
        if self.view.columns.get("malformed") != "records":
            return rows
        for row, text in enumerate(self.view.read(shard, ["malformed"])["malformed"].to_pylist()):
            if text is not None and urls[row] is None and todo[row]:
                rows[row] = True
                columns["status"][row], columns["error_message"][row] = "malformed", str(text)[:200]
        return rows

    async def _fetch(
        self,
        rows: list[int],
        urls: Sequence[str | None],
        columns: dict[str, list[Any]],
        facts: FetchFacts,
        spool: BinaryIO,
        suspects: Suspects | None,
    ) -> dict[int, tuple[int, int]]:
        """Fill the columns of `rows`; returns where in the spool each stored file lies.

        Answers come in any order and are spooled to disk, so that memory stays flat and the tar is in row order.
        """
        from curate.download.fetch import fetch

        places: dict[int, tuple[int, int]] = {}
        resize = partial(self.resize, careful=suspects is not None)
        loop = asyncio.get_running_loop()
        # In a thread, so that deadlines go on while it resizes; one is enough, since there is a worker for every CPU.
        with ThreadPoolExecutor(1) as thread:
            async with aclosing(fetch([urls[row] for row in rows], self.fetching, self.desk)) as answers:
                async for number, answer in answers:
                    row = rows[number]
                    columns["status"][row], columns["error_message"][row] = answer.status, answer.error
                    if answer.body is None:
                        facts.note(row, answer)
                    else:
                        if suspects:
                            await loop.run_in_executor(thread, suspects.trying, np.array([row]))
                        stored = await loop.run_in_executor(thread, resize, answer.body)
                        self._note(row, urls[row], answer, stored, columns, facts)
                        if stored.body is not None and columns["status"][row] == stored.status:
                            places[row] = (spool.tell(), len(stored.body))
                            spool.write(stored.body)
                    place = places.get(row, (0, 0))
                    self.desk.tally.note(columns["status"][row], len(answer.body or b""), place[1])
        return places

    def _note(
        self, row: int, url: str | None, answer: Fetched, stored: Any, columns: dict[str, list[Any]], facts: FetchFacts
    ) -> None:
        """What is known of a row whose body has arrived."""
        assert answer.body is not None
        if word := self.refusals.of_file(url, answer.final_url, stored.sha256, answer.body):
            refuse(columns, row, word)
            return
        facts.note(row, answer)
        columns["status"][row], columns["error_message"][row] = stored.status, stored.error
        columns["original_bytes"][row] = len(answer.body)
        for name in ("width", "height", "original_width", "original_height", "sha256", "format"):
            columns[name][row] = getattr(stored, name)
        if stored.body is not None:
            columns["changes"][row] = stored.changes
            columns["extension"][row] = self._extension(stored.format)

    def _extension(self, original: str | None) -> str:
        """An ending that loaders know, and that reading takes for an image's."""
        if not self.options.disable_all_reencoding:
            return self.options.encode_format
        return _EXTENSION.get(original or "img", original or "img")

    def _assemble(
        self,
        shard: int,
        part: pa.Table | None,
        columns: dict[str, list[Any]],
        spool: BinaryIO,
        places: dict[int, tuple[int, int]],
        tar: str,
    ) -> dict[str, str]:
        """The shard's tar in row order: new files from the spool, earlier ones from the tar they are in; its name and
        digest."""
        earlier = ImageReader(self.view.store, self.folder, shard) if part is not None else None
        with self.view.store.writing(f"{self.folder}/{tar}") as file:
            archive = TarFile(file)
            for row, status in enumerate(columns["status"]):
                elsewhere = row not in places and "/" in (columns["tar"][row] or "")
                if status != "success" or elsewhere:
                    continue  # what came with the input stays where it is
                if row in places:
                    start, size = places[row]
                    spool.seek(start)
                    data = spool.read(size)
                else:
                    assert earlier is not None
                    body = earlier.bytes(row)
                    assert body is not None
                    data = body
                key = sample_key(shard, row, self.rows_per_shard)
                columns["offset"][row] = archive.add(f"{key}.{columns['extension'][row]}", data)
                columns["size"][row], columns["key"][row] = len(data), key
                columns["checksum"][row] = hashed(data)
                columns["tar"][row] = None if tar == f"{shard_name(shard)}.tar" else tar
            archive.close()
        if earlier:
            earlier.close()
        return {tar: archive.digest()}

    def _tar_name(self, part: pa.Table | None, shard: int) -> str:
        """A name that no committed status row refers to: a killed rewrite must not spoil what is there."""
        if part is None:
            return f"{shard_name(shard)}.tar"
        used = {name or f"{shard_name(shard)}.tar" for name in part["tar"].unique().to_pylist()}
        number = 1
        while f"{shard_name(shard)}-{number}.tar" in used:
            number += 1
        return f"{shard_name(shard)}-{number}.tar"


def is_tar_of(shard: int, name: str) -> bool:
    """Whether a file of the images' folder is this shard's tar: the first one, or that of a retry.

    >>> is_tar_of(10000, "10000.tar"), is_tar_of(10000, "10000-2.tar"), is_tar_of(10000, "100000.tar")
    (True, True, False)
    """
    return re.fullmatch(rf"{shard_name(shard)}(-[0-9]+)?\.tar", name, re.ASCII) is not None
