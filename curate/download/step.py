"""Downloading: url to a stored image, with a status for every row, failed ones included."""

from __future__ import annotations

import secrets
from collections import Counter
from contextlib import nullcontext
from dataclasses import dataclass, replace

import pyarrow.compute as pc

from curate.cluster.cluster import Cluster
from curate.cluster.many_shards import each_run, shard_runs
from curate.cluster.shared import shared
from curate.download import came_along
from curate.download.fetch_facts import beside
from curate.download.forecast import watched
from curate.download.one_shard import DownloadShard
from curate.download.options import CONTACT_HOSTS, DownloadOptions, check_packages
from curate.download.refused import lists_of
from curate.download.run_hosts import RunHosts
from curate.download.unfetched import missing
from curate.errors import CurateError
from curate.messages.counted import counted
from curate.messages.packages import install_hint
from curate.messages.packages import missing as missing_packages
from curate.messages.remarks import Remarks, say
from curate.messages.terminal import console
from curate.refuse import opt_out
from curate.store.folder import identity
from curate.store.image_columns import FETCH_FIELDS, FETCHES, IMAGE_FIELDS
from curate.store.manifest import Keep, Table
from curate.store.view import View

#: Shards that are looked at to see whether very many hosts are to be asked.
CONTACT_SHARDS = 20

#: Version of what is stored of a file.
IMAGES = 2

#: Columns of the images table beside uid.
COLUMNS = IMAGE_FIELDS


def folder_of(options: DownloadOptions, came: str = "") -> str:
    """The images' folder: what the stored files look like decides it, not how patiently they were fetched.

    came: folder of images that came with the input, which the table goes on with.
    """
    more = {"came": came} if came else {}
    return f"images-{identity(op='download', version=IMAGES, options=options.decisive, **more)}"


def download(view: View, options: DownloadOptions, cluster: Cluster) -> View:
    """Images of all rows that are in. A row whose image came with the input keeps it, as it is; those that lack one
    and have a url are fetched, whatever status they came with."""
    store = view.store
    manifest = store.manifest()
    folder = folder_of(options)
    came = manifest.images_of_input or ""
    remarks = Remarks()
    if came:
        remarks = came_along.looked_at(view, came, cluster)
        say("download", remarks)
        folder = folder_of(options, came)
    lists = opt_out.lists_kept(store, options.opt_out)
    if came and not lists and not (remarks.counts.get(came_along.FETCHED) or store.parts(folder)):
        # Nothing is lacking: the table that reading made is the one.
        entry = manifest.op_table(came)
        of_reading = entry.remarks if entry else {}
        store.note_table(came, Table(name="images", op="read", remarks=of_reading | remarks.to_json()))
        return replace(view.with_table(came, COLUMNS), images=came)
    todo = to_fetch(view, folder, options, cluster, lists)
    if todo:
        _fetch(view, options, cluster, todo, folder=folder, came=came, lists=lists)
    done = store.remarks(folder)
    if todo:
        say("download: images", done)
    remarks.merge(done)
    entry = Table(
        name="images",
        op="download",
        options=options.model_dump(mode="json"),
        columns=[*COLUMNS],
        version=IMAGES,
        remarks=remarks.to_json(),
    )
    store.note_table(folder, entry)
    after = replace(view.with_table(folder, COLUMNS), images=folder)
    facts = beside(folder, FETCHES)
    if not set(store.shard_rows()) <= store.parts(facts):
        return after  # a store that an earlier version has downloaded some of
    store.note_table(facts, Table(name=FETCHES, op="download", columns=[*FETCH_FIELDS]))
    return after.with_table(facts, FETCH_FIELDS)


def _fetch(view: View, options: DownloadOptions, cluster: Cluster, todo: list[int], **places: str) -> None:
    """Fetch what these shards lack, and say what was not asked for. places: folder, came and lists of DownloadShard."""
    store, rows = view.store, view.store.shard_rows()
    check_packages(options)
    _check_contact(view, options, todo)
    if missing_packages(["aiodns"]):
        console.say(f"download: names are looked up in threads, 512 at once: {install_hint('aiodns')} for c-ares")
    store.note_change(places["folder"])
    unasked, refused = Counter[str](), Counter[str]()
    with shared(cluster, RunHosts, **options.of_hosts) as hosts:
        work = DownloadShard(
            view=view,
            options=options,
            rows_per_shard=store.manifest().inputs[0].rows_per_shard,
            again=options.retry,
            session=secrets.token_hex(8),
            hosts=hosts,
            **places,
        )
        with nullcontext() if options.retry else watched(hosts, _rows_of(view, todo), store, places["folder"]):
            for _, report in cluster.each("download", work, todo, rows, workers=options.processes):
                unasked += report["unasked"]
                refused += report["refused"]
    _say_unasked(store.url, unasked)
    if refused:
        counts = ", ".join(f"{counted(number, 'row')} {word}" for word, number in sorted(refused.items()))
        console.say(f"download: {counts}: refused, no image of theirs is stored")


def _rows_of(view: View, todo: list[int]) -> int:
    """About how many rows of these shards are in."""
    rows = view.store.shard_rows()
    keep = view.store.manifest().tables.get(view.keep or "")
    share = keep.counts.kept / max(1, sum(rows.values())) if isinstance(keep, Keep) else 1.0
    return round(share * sum(rows[shard] for shard in todo))


def _say_unasked(store: str, unasked: Counter[str]) -> None:
    """unasked: rows by host."""
    if unasked:
        most = ", ".join(host for host, _ in unasked.most_common(3))
        more = ", ..." if len(unasked) > 3 else ""
        console.say(
            f"download: {counted(len(unasked), 'host')} set aside, as attempts there had no answer ({most}{more}): "
            f"{counted(unasked.total(), 'row')} not asked for, with the status that the host's attempts ended with. "
            f"Later: curate retry {store} --status connect,timeout"
        )


def _check_contact(view: View, options: DownloadOptions, todo: list[int]) -> None:
    """
    Raises:
        CurateError: when very many hosts are to be asked and none could find out by whom.
    """
    hosts: set[str] = set()
    for shard in [] if options.user_agent_contact else todo[:CONTACT_SHARDS]:
        urls = view.read(shard, ["url"])["url"].drop_null()
        # Roughly: what stands between the slashes, for a count.
        hosts.update(
            pc.unique(pc.struct_field(pc.extract_regex(urls, r"^[a-z]+://(?P<host>[^/?#]+)"), "host")).to_pylist()
        )
        if len(hosts) > CONTACT_HOSTS:
            raise CurateError(
                f"download: more than {CONTACT_HOSTS:,} hosts are to be asked. Their owners must be able to reach you: "
                "set `user_agent_contact`, a web page or a mail address, which is sent with each request"
            )


@dataclass(frozen=True)
class _Lacking:
    """The job: the shards of a run in which something is to be fetched."""

    view: View
    folder: str
    options: DownloadOptions
    runs: list[range]
    lists: str

    def look(self, run: int) -> list[int]:
        return [shard for shard in self.runs[run] if self._lacks(shard)]

    def _lacks(self, shard: int) -> bool:
        part = self.view.store.read_part(self.folder, shard, ["status"])
        if lists_of(part.schema) != self.lists:
            return True
        return bool(missing(part, self.view.kept(shard), part.num_rows, self.options.retry).any())


def to_fetch(view: View, folder: str, options: DownloadOptions, cluster: Cluster, lists: str = "") -> list[int]:
    """Shards with something to fetch; looked at before, so that a finished step starts no download."""
    rows, parts = view.store.shard_rows(), view.store.parts(folder)
    stored = {shard: rows[shard] for shard in rows if shard in parts}
    job = _Lacking(view, folder, options, shard_runs(stored), lists)
    lacking = each_run("download: what is lacking", job.look, job.runs, stored, cluster)
    return sorted(rows.keys() - parts | {shard for some in lacking for shard in some})
