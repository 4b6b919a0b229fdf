"""What `import curate` gives: a pipeline, or one verb of it, run from Python. The command line parses, calls, prints.

Every function takes a store by its root, starts and stops workers itself, and holds the store while it changes it: one
command at a time does. workers: the size of each pool; 0 works in this process, without Ray; None takes all CPUs or
GPUs. address: a running Ray cluster (`auto`, `host:port`); Ray that runs in this process already (`ray.init()`) is used
as it is, and saves each call its start. memory: what one worker of a whole-dataset step may use, in bytes or as `8GB`.
What a step changed, guessed or skipped is said on stderr. Errors are `curate.CurateError`.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from curate.errors import CurateError, Findings, findings_of, reworded
from curate.look.results import FilterResult, RunResult, ScoredTable, ScoreResult, WriteResult
from curate.messages.terminal import console

if TYPE_CHECKING:
    from polars import DataFrame

    from curate.download.retry import Retried
    from curate.filter.sweep import Sweep
    from curate.look.probe import Forecast
    from curate.look.subset_pair import SubsetPair
    from curate.op import Op
    from curate.remove.rules import Values
    from curate.remove.step import Removed
    from curate.reshard.step import Resharded
    from curate.retrieval.step import Retrieved
    from curate.store.view import View
    from curate.url_list import GetResult

    #: An op as YAML has it: `score.words`, or `{"score.clip": {"model": "ViT-L-14/openai"}}`.
    OpSpec: TypeAlias = str | Mapping[str, Any] | type[Op] | Op
    #: One op, several in a mapping of names to options, or a list.
    Ops: TypeAlias = OpSpec | Sequence[OpSpec]


def run(
    pipeline: str | Path,
    *,
    set: Mapping[str, Any] | None = None,
    address: str | None = None,
    workers: int | None = None,
    memory: int | str | None = None,
    **variables: Any,
) -> RunResult:
    """Run a pipeline, or what is left of it: the same call after a crash goes on where it stopped.

    pipeline: a YAML file, or the name of one that ships. Its variables are keywords, `input="pairs.parquet"`, or stand
    in `set`, which takes names that are arguments here too. A run that wrote shards also writes `report.html`.

    Raises:
        CurateError: for all that is wrong with the pipeline, before any work; when a step cannot end.
    """
    from curate.cluster.cluster import started
    from curate.look.report import write_report
    from curate.pipeline.file import load_pipeline
    from curate.pipeline.place_check import seen_by_all_nodes
    from curate.run import run as run_pipeline

    with started(address, workers, memory) as cluster:
        loaded = load_pipeline(pipeline, _values(set, variables))
        if address:
            # Before the first step, and not after the download.
            loaded = seen_by_all_nodes(loaded, cluster)
        result = run_pipeline(loaded, cluster)
    rows, funnel = result["rows"], result["funnel"]
    written = WriteResult.of(result["written"], funnel) if result["written"] else None
    report = write_report(loaded.root) if written else ""
    kept = int(funnel[-1]["kept"]) if funnel else rows
    return RunResult(loaded.root, rows, kept, written, report, funnel, result["seconds"])


def check(
    pipeline: str | Path,
    *,
    set: Mapping[str, Any] | None = None,
    address: str | None = None,
    workers: int | None = None,
    memory: int | str | None = None,
    **variables: Any,
) -> str:
    """Look for all that would keep `run` from its end, and do nothing; returns what was looked at.

    Raises:
        CurateError: with a line for each fault.
    """
    from curate.cluster.cluster import started
    from curate.pipeline.file import load_pipeline
    from curate.pipeline.place_check import cluster_fault
    from curate.pipeline.steps import summary

    faults: list[str] = []
    with started(address, workers, memory) as cluster:
        try:
            loaded = load_pipeline(pipeline, _values(set, variables))
        except CurateError as error:
            faults += findings_of(error)
        if fault := cluster_fault(cluster):
            faults.append(fault)
    if faults:
        raise Findings(faults)
    ray = f"; the Ray cluster at {address} answers" if address else ""
    return f"{loaded.name}: {len(loaded.steps)} steps, nothing wrong found\nchecked: {summary(loaded)}{ray}"


def score(
    store: str,
    ops: Ops = (),
    *,
    filters: Sequence[str | Mapping[str, Any]] = (),
    after: str | None = None,
    address: str | None = None,
    workers: int | None = None,
    memory: int | str | None = None,
) -> ScoreResult:
    """Compute columns of a store; rows and tables that are there already are not computed again.

    ops: `"score.words"`, `{"score.clip": {"model": "ViT-L-14/openai"}}`, or a list. filters: compute what these need.
    after: only rows that this keep table kept.

    Raises:
        CurateError: for ops that are unknown or lack something, before any work; when shards fail.
    """
    from curate.annotate.step import annotate
    from curate.catalog import each_spec, load_all
    from curate.cluster.cluster import started
    from curate.filter.rule import load_filter
    from curate.pipeline.place_check import check_ops
    from curate.store.lease import changing
    from curate.store.view import View

    with changing(store, "curate score") as opened, started(address, workers, memory) as cluster:
        loaded = load_all([*each_spec(ops), *(op for name in filters for op in load_filter(name).ops)])
        if not loaded:
            raise CurateError("name at least one op, or a filter; `curate list` shows them")
        view = View.of(opened, _keep_table(after) if after else None)
        check_ops(loaded)
        began = time.monotonic()
        view = annotate(view, loaded, cluster)
        seconds = time.monotonic() - began
    return ScoreResult(tuple(_table(store, view, op) for op in loaded), seconds)


def filter(
    store: str,
    recipe: str | Mapping[str, Any] | None = None,
    *,
    where: str | None = None,
    top: str | Mapping[str, Any] | None = None,
    subset: str | None = None,
    name: str | None = None,
    after: str | None = None,
    output: str | None = None,
    address: str | None = None,
    workers: int | None = None,
) -> FilterResult:
    """Keep rows by their columns: writes a keep table, and says what stays and why the rest goes.

    recipe: a filter that ships, a YAML file, or what stands in one: `{"keep": [{"if": "words > 2", "else": "short"}]}`.
    where: SQL, in addition. top: the best rows by a column, `"clip_l14=30%"` or `"clip_l14=1000 rows"`.
    subset: a DataComp subset file: only rows whose uid is in it, each as often as it is there.
    name: of the keep table; by default the recipe's. after: start from the rows of this keep table, by default from
    those that `download` kept; `"none"`: from all. output: also a file of what stays: .npy (a DataComp subset file),
    .parquet, .csv or .txt.
    address, workers: of a cluster that does it when shards are many (over 2,000, or 20 million rows); without them, and
    when shards are few, threads of this process do it, without Ray.

    Raises:
        CurateError: for a rule that cannot be read, or a column that is not there, with the command that makes it.
    """
    from curate.cluster.cluster import started
    from curate.filter.recipe import with_conditions
    from curate.filter.step import funnel, nothing_left, read_remarks, select
    from curate.messages.remarks import say
    from curate.pipeline.weak_scores import in_store
    from curate.store.lease import changing
    from curate.store.view import View
    from curate.write.subset import check_ending, write_kept

    here = address is None and workers is None
    with changing(store, "curate filter") as opened, started(address, 0 if here else workers) as cluster:
        rule = with_conditions(recipe, where, top, name, subset)
        if output:
            check_ending(output)
        if after is None:
            # The image ops' null scores would otherwise hide why a row has no image.
            after = "download" if "keep_download" in opened.manifest().current else "none"
        view = View.of(opened, None if after == "none" else _keep_table(after))
        began = time.monotonic()
        view, counts = select(view, rule, cluster=cluster)
        written = write_kept(view, output) if output else None
        seconds = time.monotonic() - began
        manifest = opened.manifest()
    if nothing := nothing_left(counts, rule.name, store):
        console.say(nothing)
    for table, remarks in read_remarks(view, rule):
        say(table, remarks)
    for step, line in in_store(manifest):
        if step == f"keep_{rule.name}":
            console.say(line)
    steps, path = funnel(manifest, view.keep), f"{store}/{view.keep}"
    return FilterResult(rule.name, steps[0]["entered"], counts["kept"], path, seconds, written, steps)


def sweep(
    store: str,
    column: str,
    thresholds: str | Sequence[float],
    *,
    at_most: bool = False,
    after: str | None = None,
    address: str | None = None,
    workers: int | None = None,
) -> Sweep:
    """How many rows a filter `column >= threshold` would keep, for each of several; writes nothing.

    thresholds: from, to and step, `"0.2:0.4:0.02"`, or a list. at_most: `column <= threshold`. after: of the rows of
    this keep table, as for `filter`. address, workers: as for `filter`.

    Raises:
        CurateError: for a column that is not there or holds no numbers, and for what is no threshold.
    """
    from curate.cluster.cluster import started
    from curate.filter.sweep import sweep as count_kept
    from curate.store.store import Store
    from curate.store.view import View

    opened, here = Store(store), address is None and workers is None
    if after is None:
        after = "download" if "keep_download" in opened.manifest().current else "none"
    view = View.of(opened, None if after == "none" else _keep_table(after))
    with started(address, 0 if here else workers) as cluster:
        return count_kept(view, column, thresholds, at_most, cluster)


def retrieve(
    store: str,
    by: str,
    queries: str,
    *,
    k: int = 4,
    to: str | None = None,
    after: str | None = None,
    column: str = "",
    sha256: str = "",
    address: str | None = None,
    workers: int | None = None,
) -> Retrieved:
    """The k rows of a store nearest to each vector of a file: exact, by cosine, of equal ones the smaller uid. The
    store is not changed.

    by: a column of vectors. queries: vectors of the same model, a .npy (n x d) or a .parquet with them in `column` (by
    default that of `by`), by path or URL with its sha256. to: write the table (query, uid, cos, rank) as .parquet or
    .csv. after: of the rows that this keep table kept.

    Raises:
        CurateError: for a column that is not there, a file that cannot be used, or vectors of another width.
    """
    from curate.cluster.cluster import started
    from curate.models.vector_file import VectorFile
    from curate.retrieval.step import check_ending, write_table
    from curate.retrieval.step import retrieve as retrieve_rows
    from curate.store.store import Store
    from curate.store.view import View

    if k < 1:
        raise CurateError(f"retrieve: k is {k}, expected 1 or more")
    if to is not None:
        check_ending(to)
    view = View.of(Store(store), _keep_table(after) if after else None)
    with started(address, workers) as cluster:
        retrieved = retrieve_rows(view, by, VectorFile(queries, sha256, column or by), k, cluster)
    if to is not None:
        write_table(retrieved.table, to)
    return retrieved


def compare_subset(first: str, second: str) -> SubsetPair:
    """What two DataComp subset files share: uids, copies, Jaccard, and the first uids in which they differ.

    Raises:
        CurateError: for a file that is none.
    """
    from curate.look.subset_pair import compare

    return compare(first, second)


def write(
    store: str,
    keep: str,
    *,
    to: str | None = None,
    samples_per_shard: int = 10_000,
    bytes_per_shard: int | None = None,
    columns: Sequence[str] | None = None,
    leave_out: Sequence[str] = (),
    address: str | None = None,
    workers: int | None = None,
) -> WriteResult:
    """Write the records of a keep table as WebDataset shards, image bytes untouched.

    to: the folder of the shards; by default one inside the store. bytes_per_shard: most image bytes in a shard.
    columns: of the json and parquet; by default the input's, and what curate made of them, but for `leave_out`.

    Raises:
        CurateError: when no row with an image is kept, or `to` holds another selection.
    """
    from pydantic import ValidationError

    from curate.cluster.cluster import started
    from curate.filter.step import funnel
    from curate.store.lease import changing
    from curate.store.view import View
    from curate.write.step import WriteOptions
    from curate.write.step import write as write_shards

    try:
        options = WriteOptions.model_validate({
            "to": to, "samples_per_shard": samples_per_shard, "bytes_per_shard": bytes_per_shard,
            "columns": columns, "leave_out": leave_out,
        })  # fmt: skip
    except ValidationError as error:
        raise reworded(error, "write", WriteOptions.model_fields) from error
    with changing(store, "curate write") as opened, started(address, workers) as cluster:
        view = View.of(opened, _keep_table(keep))
        written = write_shards(view, options, cluster)
        return WriteResult.of(written, funnel(opened.manifest(), view.keep))


def retry(
    store: str,
    status: Sequence[str],
    *,
    address: str | None = None,
    workers: int | None = None,
    **patience: Any,
) -> Retried:
    """Fetch again the rows whose download ended with one of these statuses, and no others.

    status: `["timeout", "http_5xx"]`; docs/statuses.md has all. patience: options of the download that are to be others
    than they were, `timeout_seconds=60`, `retries=3`; how images are stored stays as it is. `curate.run` makes anew
    what hangs on rows that have an image now.

    Raises:
        CurateError: when nothing was downloaded here, or for a status or an option that there is not.
    """
    from curate.cluster.cluster import started
    from curate.download.retry import retry as fetch_again
    from curate.store.lease import changing

    with changing(store, "curate retry") as opened, started(address, workers) as cluster:
        return fetch_again(opened, status, patience, cluster)


def remove(
    store: str,
    *,
    urls: Values = (),
    hosts: Sequence[str] = (),
    sha256: Values = (),
    uids: Values = (),
    where: str = "",
    copies: bool = False,
    anew: bool = False,
    address: str | None = None,
    workers: int | None = None,
) -> Removed:
    """Take rows out of a store, or of training shards without one, for good: their images, captions, urls and values
    leave every file, and later runs of a store refuse them. Without rules it ends a removal that was stopped.
    docs/removal.md says what it does and does not.

    urls, sha256, uids: a file (a string: .txt, .csv or .parquet), or a sequence of values. hosts: hosts, with all hosts
    below them. where: rows for which this SQL condition is true. copies: also rows that show the same url or image file
    as one of these. anew: what was computed over all rows (duplicates, clusters, balance) is made anew by the next run.
    address, workers: of a cluster that does it when shards are many, as for `filter`.

    Raises:
        CurateError: when nothing is named, or for a list or a condition that cannot be read.
    """
    from curate.cluster.cluster import started
    from curate.remove.bare_shards import remove_from_shards
    from curate.remove.rules import Rules
    from curate.remove.step import remove as remove_rows
    from curate.store.lease import leased
    from curate.store.store import Store

    rules = Rules.of(urls, hosts, sha256, uids, where, copies)
    opened, here = Store(store), address is None and workers is None
    if not opened.exists("manifest.json") or "format" not in opened.read_json("manifest.json"):
        return remove_from_shards(opened, rules)
    # The lease shows the command to others: it names nothing that is removed.
    with leased(opened, rules.command(store)), started(address, 0 if here else workers) as cluster:
        return remove_rows(opened, rules, cluster, anew)


def reshard(
    shards: str,
    subset: str,
    to: str,
    *,
    samples_per_shard: int = 10_000,
    address: str | None = None,
    workers: int | None = None,
) -> Resharded:
    """Of finished WebDataset shards (img2dataset's, DataComp's, curate's) the samples whose uid a DataComp subset file
    has, each as often as it has it, under keys `<uid>-<copy>`; without a store.

    A sample's uid is in its json, or in the parquet beside the tar. Its files go out as they are, in the order of the
    tars. The same call after a kill goes on.

    Raises:
        CurateError: when there are no shards, the subset cannot be read, no sample is in it, or `to` holds others.
    """
    from curate.cluster.cluster import started
    from curate.reshard.step import reshard as write_subset

    with started(address, workers) as cluster:
        return write_subset(shards, subset, to, samples_per_shard, cluster)


def get(
    urls: str | Sequence[str],
    to: str = "images",
    *,
    address: str | None = None,
    **options: Any,
) -> GetResult:
    """The images of a list of URLs (parquet, csv, tsv, txt, json, jsonl), in a folder, as img2dataset makes it.

    options: img2dataset's by their names, and those of the step `download`. The store `<to>.store` beside the folder
    knows what became of every row; the same call again goes on with it. One process unless processes_count says more.

    Raises:
        CurateError: for an option that there is not, with what to do instead, before any work.
    """
    from curate.cluster.cluster import started
    from curate.url_list import get as get_images

    processes = options.get("processes_count") or 1
    with started(address, 0 if processes == 1 and not address else processes) as cluster:
        return get_images(urls, to, options, cluster)


def report(store: str, to: str | None = None, by: str | None = None) -> str:
    """Write a page about a store, by default `report.html` inside it; returns its place.

    by: a column such as `source`: the page then has the funnel by its values, too.
    """
    from curate.look.report import write_report

    return write_report(store, to, by)


def tail(store: str, by: str = "entries", *, names: str = "", verified: str = "", step: str = "") -> DataFrame:
    """A line for each entry or concept, the rarest first: its rows, what each step dropped of them, what is kept, and
    at which step fewer than 1, 10 and 100 were left. Columns and arguments: `curate.look.tail.tail`."""
    from curate.look.tail import tail as of_store

    return of_store(store, by, names, verified, step)


def verify(place: str) -> str:
    """Compare every byte of a store, or of written shards, with the checksums written with it; returns what was seen.

    Raises:
        CurateError: for files that differ or are not there.
    """
    from curate.store.verify import verify as verify_folder

    return verify_folder(place)


def upgrade(store: str) -> str:
    """Convert a store that an earlier version of curate wrote; returns what was done."""
    from curate.store.lease import leased
    from curate.store.store import Store
    from curate.store.upgrade import upgrade as upgrade_store

    with leased(Store(store), f"curate upgrade {store}"):
        return upgrade_store(store)


def probe(store: str, ops: Ops, *, rows: int = 1000) -> Forecast:
    """What ops would cost, tried on some rows of a store: rows a second, memory, hours for all. Writes nothing."""
    from curate.catalog import each_spec, load_all
    from curate.look.probe import probe as try_ops
    from curate.pipeline.place_check import check_ops
    from curate.store.store import Store
    from curate.store.view import View

    loaded = load_all(each_spec(ops))
    check_ops(loaded)
    return try_ops(View.of(Store(store)), loaded, rows)


def _values(set_: Mapping[str, Any] | None, variables: Mapping[str, Any]) -> dict[str, Any]:
    """A pipeline's variables, from both ways to write them."""
    values = dict(set_ or {})
    if twice := sorted(values.keys() & variables.keys()):
        raise CurateError(f"variable '{twice[0]}' stands twice, as a keyword and in `set`: choose one")
    return {n: os.fspath(v) if isinstance(v, os.PathLike) else v for n, v in (values | dict(variables)).items()}


def _keep_table(name: str) -> str:
    return f"keep_{name.removeprefix('keep_')}"


def _table(root: str, view: View, op: Op) -> ScoredTable:
    columns = tuple(op.makes())
    return ScoredTable(op.table(), columns, f"{root}/{view.columns[columns[0]]}")
