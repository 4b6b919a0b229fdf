"""The commands about selections: sizes by threshold, two subset files, a subset of finished shards."""

from __future__ import annotations

from typing import Annotated, Optional

import typer
from rich.markup import escape
from rich.table import Table

from curate import api
from curate.cli.options import AddressOption, StoreArg, WorkersOption
from curate.cli.root import app
from curate.messages.counted import counted
from curate.messages.terminal import out


@app.command()
def sweep(
    store: StoreArg,
    column: Annotated[str, typer.Argument(help="A column of numbers.")],
    thresholds: Annotated[str, typer.Argument(help="From:to:step, 0.2:0.4:0.02, or a list, 0.2,0.25,0.3.")],
    at_most: Annotated[bool, typer.Option("--at-most", help="Rows stay at or below a threshold, not above.")] = False,
    after: Annotated[Optional[str], typer.Option(help="Of the rows of this keep table; `none`: all.")] = None,
    address: AddressOption = None,
    workers: Annotated[
        Optional[int], typer.Option(min=0, help="Workers for very many shards; without it, this process.")
    ] = None,
) -> None:
    """How many rows each threshold of a column would keep; writes nothing."""
    swept = api.sweep(store, column, thresholds, at_most=at_most, after=after, address=address, workers=workers)
    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in (f"{escape(column)} {swept.relation}", "rows kept", "share"):
        table.add_column(heading, justify="right")
    for threshold, kept, share in swept.table.iter_rows():
        table.add_row(f"{threshold:g}", f"{kept:,}", "" if share is None else f"{share:.2%}")
    out.print(table)
    without = f"; {swept.no_value:,} of them without a value stay nowhere" if swept.no_value else ""
    out.say(f"of {counted(swept.rows, 'row')} that are in{without}")


@app.command("compare-subset")
def compare_subset(
    first: Annotated[str, typer.Argument(metavar="MINE.npy", help="A DataComp subset file.")],
    second: Annotated[str, typer.Argument(metavar="THEIRS.npy", help="Another.")],
) -> None:
    """What two subset files share: uids, copies, Jaccard, and where they first differ."""
    pair = api.compare_subset(first, second)
    out.say(f"{first}: {counted(pair.first, 'uid')}, {pair.first_copies:,} with their copies")
    out.say(f"{second}: {counted(pair.second, 'uid')}, {pair.second_copies:,} with their copies")
    only = f"{pair.first - pair.both:,} only in the first, {pair.second - pair.both:,} only in the second"
    out.say(f"both: {counted(pair.both, 'uid')}; {only}")
    out.say(f"as often in both: {counted(pair.same_copies, 'uid')}; {pair.copies_of_both:,} copies in common")
    out.say(f"Jaccard: {pair.jaccard:.6f}; of copies {pair.jaccard_of_copies:.6f}")
    for uid, times, times_there in pair.differences:
        out.say(f"  {uid}  {times:,} in the first, {times_there:,} in the second")
    if not pair.differences:
        out.say("the same")


@app.command()
def reshard(
    shards: Annotated[str, typer.Argument(metavar="SHARDS", help="A folder of WebDataset tars.")],
    subset: Annotated[str, typer.Option(help="A DataComp subset file: which uids, and how often.")],
    to: Annotated[str, typer.Option(help="Folder of the new shards.")],
    samples_per_shard: Annotated[int, typer.Option(min=1)] = 10_000,
    address: AddressOption = None,
    workers: WorkersOption = None,
) -> None:
    """The samples of finished shards that a subset file names, as often as it does; no store is needed."""
    done = api.reshard(
        shards, subset, to, samples_per_shard=samples_per_shard, address=address, workers=workers
    )  # fmt: skip
    lost = sum(done.dropped.values())
    reasons = "".join(f", {samples:,} {why}" for why, samples in done.dropped.items())
    check = "exact" if done.rows + lost == done.read else "NOT EXACT, please report this"
    out.say(f"{done.rows:,} in the subset{reasons} = {counted(done.read, 'sample')} read: {check}")
    out.say(
        f"{counted(done.samples, 'sample')} in {counted(done.shards, 'shard')}, {done.bytes / 1e6:,.1f} MB: {done.to}"
    )


@app.command()
def retrieve(
    store: StoreArg,
    by: Annotated[str, typer.Option(help="A column of vectors: clip_l14_img.")],
    queries: Annotated[str, typer.Option(help="Vectors of the same model: .npy (n x d), or .parquet.")],
    to: Annotated[str, typer.Option(help="Write query, uid, cos, rank: .parquet or .csv.")],
    k: Annotated[int, typer.Option(min=1, help="Rows of each query.")] = 4,
    column: Annotated[str, typer.Option(help="Of the .parquet; default: that of --by.")] = "",
    sha256: Annotated[str, typer.Option(help="Of a file that is a URL.")] = "",
    after: Annotated[Optional[str], typer.Option(help="Of the rows of this keep table.")] = None,
    address: AddressOption = None,
    workers: WorkersOption = None,
) -> None:
    """The rows nearest to each of some vectors: exact, by cosine; changes nothing in the store."""
    retrieved = api.retrieve(
        store, by, queries, k=k, to=to, after=after, column=column, sha256=sha256, address=address, workers=workers
    )
    lines, rows = counted(retrieved.table.num_rows, "line"), counted(retrieved.rows, "row")
    out.say(f"{to}: {lines} for {retrieved.queries:,} queries, of {rows} with a vector")
