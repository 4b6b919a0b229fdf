"""The command line: curate run | submit | score | filter | write | list | show | report | verify and others."""

from __future__ import annotations

import functools
import os
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Optional

import typer

from curate import __version__
from curate.errors import CurateError, Findings, findings_of
from curate.library.user_code import said, user_line
from curate.messages.causes import explained
from curate.messages.terminal import console, out

if TYPE_CHECKING:
    from collections.abc import Sequence

    from curate.cluster.cluster import Cluster
    from curate.op import Op

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Billions of (image URL, caption) pairs into a training set.",
)

#: Exit codes: 0 is done, FAULT a fault that is said in words, USAGE a command that there is not (typer's own code).
FAULT, USAGE = 1, 2

#: Exit codes after Ctrl-C and when the reader of a pipe has gone, by convention 128 + the signal.
STOPPED, PIPE_CLOSED = 130, 141

#: Set to 1, every error keeps its traceback.
TRACEBACK = "CURATE_TRACEBACK"

StoreArg = Annotated[str, typer.Argument(metavar="STORE", help="Root of a store: local, or any fsspec URL.")]
AddressOption = Annotated[
    Optional[str], typer.Option(help="A running Ray cluster (auto, host:port); default: Ray in this process.")
]
WorkersOption = Annotated[
    Optional[int],
    typer.Option(min=0, help="Size of each pool; 0 works in this process, without Ray. Default: all CPUs or GPUs."),
]
MemoryOption = Annotated[
    Optional[str],
    typer.Option(help="Memory that one worker of a whole-dataset step may use, e.g. 8GB. Default: its CPUs' share."),
]


def _cluster(address: str | None, workers: int | None, memory: str | None = None) -> Cluster:
    from curate.cluster.cluster import Cluster
    from curate.cluster.memory import memory_size

    return Cluster(address, workers, memory_size(memory, "--memory") if memory else None)


def _pairs(items: list[str]) -> dict[str, str]:
    pairs: dict[str, str] = {}
    for item in items:
        name, equals, value = item.partition("=")
        if not equals or not name:
            raise CurateError(f"--set {item}: write it as name=value")
        if pairs.get(name, value) != value:
            raise CurateError(f"--set {name} stands twice, with '{pairs[name]}' and '{value}': choose one")
        pairs[name] = value
    return pairs


def _ops(specs: list[str]) -> list[Any]:
    """Ops as they are written on the command line, each as YAML has it."""
    from curate.library.yaml_text import parse

    return [parse(spec, f"op '{spec}'") for spec in specs]


def _check_ops(ops: Sequence[Op]) -> None:
    """Raise all that keeps ops from their work, as `run --check` finds it."""
    from curate.pipeline.place_check import op_faults

    if faults := [fault for op in ops for fault in op_faults(op)]:
        raise Findings(faults)


@app.command()
def run(
    pipeline: Annotated[str, typer.Argument(help="A YAML file, or the name of a pipeline that ships.")],
    set_: Annotated[list[str], typer.Option("--set", help="A variable of the pipeline: name=value.")] = [],  # noqa: B006
    address: AddressOption = None,
    workers: WorkersOption = None,
    memory: MemoryOption = None,
    check: Annotated[bool, typer.Option(help="Check everything, do nothing.")] = False,
) -> None:
    """Run a pipeline, or what is left of it: the same command after a crash goes on where it stopped."""
    from curate.look.show import print_funnel
    from curate.pipeline.file import load_pipeline
    from curate.pipeline.place_check import unseen_fault
    from curate.pipeline.steps import on_all_nodes
    from curate.run import run as run_pipeline

    variables, cluster = _pairs(set_), _cluster(address, workers, memory)
    if check:
        _check(pipeline, variables, cluster)
        return
    loaded = load_pipeline(pipeline, variables)
    if address:
        # Before the first step, and not after the download.
        loaded = on_all_nodes(loaded)
        cluster.start()
        if fault := unseen_fault(loaded.root):
            cluster.stop()
            raise CurateError(fault)
    try:
        result = run_pipeline(loaded, cluster)
    finally:
        cluster.stop()
    print_funnel(result["funnel"], result["written"], result["rows"])
    if result["written"]:
        from curate.look.report import write_report

        out.say(f"report: {write_report(loaded.root)}")
    out.say(f"store: {loaded.root}   (curate show {loaded.root})")


def _check(pipeline: str, variables: dict[str, str], cluster: Cluster) -> None:
    """Print what was checked, or raise all that is wrong."""
    from curate.pipeline.file import load_pipeline
    from curate.pipeline.place_check import cluster_fault
    from curate.pipeline.steps import summary

    faults: list[str] = []
    try:
        loaded = load_pipeline(pipeline, variables)
    except CurateError as error:
        faults += findings_of(error)
    if fault := cluster_fault(cluster):
        faults.append(fault)
    if faults:
        raise Findings(faults)
    out.say(f"{loaded.name}: {len(loaded.steps)} steps, nothing wrong found")
    ray = f"; the Ray cluster at {cluster.address} answers" if cluster.address else ""
    out.say(f"checked: {summary(loaded)}{ray}")


@app.command()
def submit(
    pipeline: Annotated[str, typer.Argument(help="A YAML file, or the name of a pipeline that ships.")],
    address: Annotated[str, typer.Option(help="The cluster's dashboard, e.g. http://head:8265.")],
    set_: Annotated[list[str], typer.Option("--set", help="A variable of the pipeline: name=value.")] = [],  # noqa: B006
    workers: WorkersOption = None,
    memory: MemoryOption = None,
    follow: Annotated[bool, typer.Option(help="Stay and print the job's log until it ends.")] = True,
) -> None:
    """Run a pipeline as a Ray job on a cluster; a job of the same run that is still going is followed, not doubled."""
    from curate.cluster.memory import memory_size
    from curate.submit.submit import submit as submit_job

    if memory:
        memory_size(memory, "--memory")
    # Not typer's Exit: after Ctrl-C the job goes on, and `main` shall not say that it stopped.
    sys.exit(submit_job(pipeline, address, _pairs(set_), workers, memory, follow))


def _changes_store(command: Callable[..., None]) -> Callable[..., None]:
    """A command that changes the store that it names: one at a time does."""

    @functools.wraps(command)
    def leased_command(store: str, **options: Any) -> None:
        from curate.store.lease import leased
        from curate.store.store import Store
        from curate.store.view import View

        opened = Store(store)
        View.of(opened)
        with leased(opened, " ".join(("curate", *sys.argv[1:]))):
            command(store=store, **options)

    return leased_command


@app.command()
@_changes_store
def score(
    store: StoreArg,
    ops: Annotated[list[str], typer.Argument(help="Ops: score.words, or 'score.clip: {model: ViT-L-14/openai}'.")] = [],  # noqa: B006
    filter_: Annotated[list[str], typer.Option("--filter", help="Compute what this filter needs.")] = [],  # noqa: B006
    after: Annotated[Optional[str], typer.Option(help="Only rows kept by this keep table, e.g. download.")] = None,
    address: AddressOption = None,
    workers: WorkersOption = None,
    memory: MemoryOption = None,
) -> None:
    """Compute columns of a store; rows and tables that are there already are not computed again."""
    from curate.annotate.step import annotate
    from curate.catalog import load_all
    from curate.filter.rule import load_filter
    from curate.store.store import Store
    from curate.store.view import View

    loaded = load_all(_ops(ops) + [op for name in filter_ for op in load_filter(name).ops])
    if not loaded:
        raise CurateError("name at least one op, or --filter NAME; `curate list` shows them")
    view = View.of(Store(store), f"keep_{after.removeprefix('keep_')}" if after else None)
    _check_ops(loaded)
    cluster = _cluster(address, workers, memory)
    began = time.monotonic()
    try:
        after_view = annotate(view, loaded, cluster)
    finally:
        cluster.stop()
    for op in loaded:
        columns = ", ".join(op.makes())
        out.say(f"{op.table()}: {columns}   in {store}/{after_view.columns[next(iter(op.makes()))]}")
    out.say(f"{time.monotonic() - began:.1f} s")


@app.command("filter")
@_changes_store
def filter_command(
    store: StoreArg,
    recipe: Annotated[Optional[str], typer.Argument(help="A filter that ships (curate list), or a YAML file.")] = None,
    where: Annotated[Optional[str], typer.Option(help="SQL condition: \"clip_l14 >= 0.24 AND lang = 'en'\".")] = None,
    top: Annotated[
        Optional[str], typer.Option(help="Best rows by a column: clip_l14=30%, clip_l14=0.3 or 'clip_l14=1000 rows'.")
    ] = None,
    name: Annotated[Optional[str], typer.Option(help="Name of the keep table; default: the recipe's.")] = None,
    after: Annotated[Optional[str], typer.Option(help="Start from the rows of this keep table; `none`: all.")] = None,
    output: Annotated[
        Optional[str], typer.Option(help="Write what stays: .npy (a DataComp subset file), .parquet, .csv or .txt.")
    ] = None,
) -> None:
    """Keep rows by their columns: prints what stays and why the rest goes, writes a keep table. No Ray."""
    from curate.filter.rule import load_filter
    from curate.filter.step import funnel, nothing_left, read_remarks, select
    from curate.look.show import print_funnel
    from curate.messages.remarks import say
    from curate.pipeline.weak_scores import in_store
    from curate.store.store import Store
    from curate.store.view import View
    from curate.write.subset import check_ending, write_kept

    rule = load_filter(_with_options(recipe, where, top, name))
    if output:
        check_ending(output)
    opened = Store(store)
    if after is None:
        # The image ops' null scores would otherwise hide why a row has no image.
        after = "download" if "keep_download" in opened.manifest().current else "none"
    view = View.of(opened, None if after == "none" else f"keep_{after.removeprefix('keep_')}")
    began = time.monotonic()
    view, counts = select(view, rule)
    print_funnel(funnel(opened.manifest(), view.keep), {})
    if nothing := nothing_left(counts, rule.name, store):
        console.say(nothing)
    for table, remarks in read_remarks(view, rule):
        say(table, remarks)
    for step, line in in_store(opened.manifest()):
        if step == f"keep_{rule.name}":
            out.say(line)
    out.say(f"keep table: {rule.name}   (curate write {store} --keep {rule.name} --to DIR)")
    if output:
        out.say(f"{output}: {write_kept(view, output):,} uids")
    out.say(f"{time.monotonic() - began:.2f} s")


def _with_options(recipe: str | None, where: str | None, top: str | None, name: str | None) -> Any:
    if recipe is None and where is None and top is None:
        raise CurateError("name a filter, or give --where or --top; `curate list` shows the filters")
    from curate.filter.rule import load_filter
    from curate.filter.sql import condition
    from curate.filter.sql_values import ConditionError

    spec: dict[str, Any] = {"name": name or "custom"}
    if recipe is not None:
        rule = load_filter(recipe)
        rules = [{"if": sql, "else": reason} for reason, sql in rule.where.items()]
        spec = rule.model_dump(exclude={"where"}) | ({"name": name} if name else {}) | {"keep": rules}
    if where is not None:
        try:
            condition(where)
        except ConditionError as error:
            raise CurateError(f"--where: {error}") from error
        spec["keep"] = [*spec.get("keep", []), where]
    if top is not None:
        spec["top"] = top
    return spec


@app.command()
@_changes_store
def write(
    store: StoreArg,
    keep: Annotated[str, typer.Option(help="The keep table whose rows are written.")],
    to: Annotated[Optional[str], typer.Option(help="Folder for the shards; default: inside the store.")] = None,
    samples_per_shard: Annotated[int, typer.Option(min=1)] = 10_000,
    bytes_per_shard: Annotated[Optional[int], typer.Option(min=1, help="Most image bytes in a shard.")] = None,
    address: AddressOption = None,
    workers: WorkersOption = None,
) -> None:
    """Write kept records as WebDataset shards, image bytes untouched."""
    from curate.filter.step import funnel
    from curate.look.show import print_funnel
    from curate.store.store import Store
    from curate.store.view import View
    from curate.write.step import WriteOptions
    from curate.write.step import write as write_shards

    view = View.of(Store(store), f"keep_{keep.removeprefix('keep_')}")
    options = WriteOptions(to=to, samples_per_shard=samples_per_shard, bytes_per_shard=bytes_per_shard)
    cluster = _cluster(address, workers)
    try:
        written = write_shards(view, options, cluster)
    finally:
        cluster.stop()
    print_funnel(funnel(view.store.manifest(), view.keep), written)


@app.command("list")
def list_(
    names: Annotated[list[str], typer.Argument(help="In full: score.clip, my_ops:loud, coyo.")] = [],  # noqa: B006
) -> None:
    """Ops, filters, pipelines and input formats, each with what it does and its paper; a NAME with all there is."""
    from curate.look.listing import print_library, print_one

    for name in names:
        print_one(name)
    if not names:
        print_library()


@app.command()
def show(
    store: StoreArg,
    step: Annotated[str, typer.Option(help="The funnel up to this filter; default: the last run's.")] = "",
) -> None:
    """What a store holds: funnel, failures by reason, tables and what made each."""
    from curate.look.show import print_store

    print_store(store, step)


@app.command()
def report(
    store: StoreArg, to: Annotated[Optional[str], typer.Option(help="HTML file; default: in the store.")] = None
) -> None:
    """A page about a store: funnel, reasons, score histograms, images kept and dropped."""
    from curate.look.report import write_report

    out.say(write_report(store, to))


@app.command()
def probe(
    store: StoreArg,
    ops: Annotated[list[str], typer.Argument(help="Ops, as for `curate score`.")],
    rows: Annotated[int, typer.Option(min=1, help="Rows to try.")] = 1000,
    workers: Annotated[int, typer.Option(min=1, help="Workers to forecast for.")] = 1,
) -> None:
    """What ops would cost: rows per second, share of the time, memory, hours for the whole store. Writes nothing."""
    from curate.catalog import load_all
    from curate.look.probe import probe as try_ops
    from curate.look.show import print_costs
    from curate.store.store import Store
    from curate.store.view import View

    loaded = load_all(_ops(ops))
    _check_ops(loaded)
    print_costs(try_ops(View.of(Store(store)), loaded, rows), workers)


@app.command("probe-text")
def probe_text(
    model: Annotated[str, typer.Argument(help="lite0-minilm, ViT-L-14/openai, ...")],
    words: Annotated[int, typer.Option(min=2, help="How many words are rendered.")] = 40,
    seed: int = 0,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda")] = "auto",
    font: Annotated[str, typer.Option(help="A TrueType file; the published probe uses Arial.")] = "",
) -> None:
    """How strongly a model reads text in images: cosines of rendered words with their own text and with others."""
    import json

    from wordfreq import top_n_list

    from curate.text_in_images.probe_text import probe

    out.say(json.dumps(probe(model, top_n_list("en", 2000)[200:], words, seed, device, font).as_dict(), indent=1))


@app.command()
def metadata(
    to: Annotated[str, typer.Argument(metavar="OUT", help="A .json file, or a folder for <language>.json files.")],
    text: Annotated[
        list[str],
        typer.Option(
            help="A Wikipedia dump (.xml.bz2), .txt, .jsonl or .parquet; a folder or glob; {language} is filled in."
        ),
    ] = [],  # noqa: B006
    titles: Annotated[list[str], typer.Option(help="Wikimedia's hourly page-view files.")] = [],  # noqa: B006
    language: Annotated[list[str], typer.Option(help="Wikipedia's code; may be given several times.")] = ["en"],  # noqa: B006
    wordnet: Annotated[
        Optional[str], typer.Option(help="WordNet's folder, or an Open Multilingual WordNet .tab file.")
    ] = None,
    column: Annotated[Optional[str], typer.Option(help="Column of the texts; default: by the usual names.")] = None,
    tokenizer: Annotated[Optional[str], typer.Option(help="package.module:function, a line to its words.")] = None,
    size: Annotated[Optional[int], typer.Option(min=1, help="Most entries; published: 500000.")] = None,
    min_count: Annotated[
        Optional[int], typer.Option(min=1, help="Least count of a word; published: 100 in English.")
    ] = None,
    pmi: Annotated[Optional[float], typer.Option(help="Least PMI of a pair of words; published: 30.")] = None,
    min_pair: Annotated[Optional[int], typer.Option(min=1, help="Least count of a pair; published: none.")] = None,
    min_views: Annotated[
        Optional[int], typer.Option(min=1, help="Least views of a title; published: 70 in English.")
    ] = None,
    most_words: Annotated[Optional[int], typer.Option(min=0, help="Most new entries from words.")] = None,
    most_pairs: Annotated[
        Optional[int], typer.Option(min=0, help="Most new entries from pairs; default: 100646.")
    ] = None,
    most_titles: Annotated[Optional[int], typer.Option(min=0, help="Most new entries from titles.")] = None,
    temp: Annotated[Optional[str], typer.Option(help="Folder for the plain text and counts on the way.")] = None,
    workers: Annotated[Optional[int], typer.Option(min=1, help="Files read at a time; default: all CPUs.")] = None,
) -> None:
    """Build a MetaCLIP entry list from your own text: numbers, WordNet, words, word pairs and page titles. No Ray."""
    from curate.metadata.command import make_metadata

    make_metadata(
        to, text, titles, language, wordnet, column, tokenizer, temp, workers,
        size=size, min_count=min_count, pmi=pmi, min_pair=min_pair, min_views=min_views,
        most_words=most_words, most_pairs=most_pairs, most_titles=most_titles,
    )  # fmt: skip


@app.command()
def upgrade(store: StoreArg) -> None:
    """Convert a store that an earlier version of curate wrote."""
    from curate.store.lease import leased
    from curate.store.store import Store
    from curate.store.upgrade import upgrade as upgrade_store

    with leased(Store(store), f"curate upgrade {store}"):
        out.say(upgrade_store(store))


@app.command()
def verify(shards: Annotated[str, typer.Argument(help="A store, or a folder of shards.")]) -> None:
    """Compare every byte of a store or of written shards with the checksums that were written with it."""
    from curate.store.verify import verify as verify_folder

    out.say(verify_folder(shards))


def _version(value: bool) -> None:
    if value:
        out.say(f"curate {__version__}")
        raise typer.Exit


@app.callback()
def _main(version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True)] = False) -> None:
    pass


def main() -> None:
    """Entry point: a fault is one message with the next command, Ctrl-C says how to go on, nothing is a traceback."""
    for stream in (sys.stdout, sys.stderr):
        # A terminal that cannot show a character shows its number.
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    # Modules of a user's ops are looked for here too, as `python -m curate` does.
    if not {"", os.getcwd()} & set(sys.path):
        sys.path.append(os.getcwd())
    try:
        # Without its standalone mode typer returns the code of an Exit instead of raising it.
        code = app(standalone_mode=False)
        code = code if isinstance(code, int) else 0
    except (KeyboardInterrupt, typer.Abort):
        code = STOPPED
    except BrokenPipeError:
        # Nothing can be said any more; the interpreter shall not try either.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = PIPE_CLOSED
    except Exception as error:  # noqa: BLE001 - the last net: what comes here is said, not raised
        code = _fault(error)
    if code == STOPPED:
        console.say("stopped; what is done is kept: the same command goes on from here")
    sys.exit(code)


def _fault(error: Exception) -> int:
    """Say an error; returns the exit code."""
    # typer's usage errors, whichever copy of click it carries.
    if hasattr(error, "show") and hasattr(error, "exit_code"):
        error.show()
        return int(error.exit_code)
    if os.environ.get(TRACEBACK) == "1":
        console.say("".join(traceback.format_exception(error)))
    lines = findings_of(error) if isinstance(error, CurateError) else (explained(error) or _unexpected(error),)
    for line in lines:
        console.print("[bold red]error:[/] ", end="")
        console.say(line)
    return FAULT


def _unexpected(error: Exception) -> str:
    how = f"{TRACEBACK}=1 before the command shows all of it"
    if user_line(error):
        return f"{said(error)}; {how}"
    frame = traceback.extract_tb(error.__traceback__)[-1]
    place = f"{Path(frame.filename).name}, line {frame.lineno}"
    return f"unexpected {said(error)} (curate {__version__}, {place}); {how}: please report it"


if __name__ == "__main__":
    main()
