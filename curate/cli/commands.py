"""The commands: each parses what was typed, calls curate.api, prints the result."""

from __future__ import annotations

import sys
from typing import Annotated, Any, Optional

import typer

from curate import api
from curate.cli.options import AddressOption, MemoryOption, PipelineArg, SetOption, StoreArg, WorkersOption
from curate.cli.root import app as app  # noqa: PLC0414 - with all its commands
from curate.errors import CurateError
from curate.messages.counted import counted
from curate.messages.terminal import out


def _memory(text: str | None) -> int | None:
    """Bytes of `--memory`."""
    from curate.cluster.memory import memory_size

    return memory_size(text, "--memory") if text else None


def _ops(specs: list[str]) -> list[Any]:
    """Ops as they are written on the command line, each as YAML has it."""
    from curate.library.yaml_text import parse

    return [parse(spec, f"op '{spec}'") for spec in specs]


@app.command()
def run(
    pipeline: PipelineArg,
    set_: SetOption = [],  # noqa: B006
    address: AddressOption = None,
    workers: WorkersOption = None,
    memory: MemoryOption = None,
    check: Annotated[bool, typer.Option(help="Check everything, do nothing.")] = False,
) -> None:
    """Run a pipeline, or what is left of it: the same command after a crash goes on where it stopped."""
    from curate.look.show import print_funnel
    from curate.pipeline.file import texts_of, values_of

    values = values_of(texts_of(set_))
    if check:
        out.say(api.check(pipeline, set=values, address=address, workers=workers, memory=_memory(memory)))
        return
    result = api.run(pipeline, set=values, address=address, workers=workers, memory=_memory(memory))
    print_funnel(result.funnel, result.written, result.rows)
    if result.report:
        out.say(f"report: {result.report}")
    out.say(f"store: {result.root}   (curate show {result.root})")


@app.command()
def submit(
    pipeline: PipelineArg,
    address: Annotated[str, typer.Option(help="The cluster's dashboard, e.g. http://head:8265.")],
    set_: SetOption = [],  # noqa: B006
    workers: WorkersOption = None,
    memory: MemoryOption = None,
    follow: Annotated[bool, typer.Option(help="Stay and print the job's log until it ends.")] = True,
) -> None:
    """Run a pipeline as a Ray job on a cluster; a job of the same run that is still going is followed, not doubled."""
    from curate.pipeline.file import texts_of
    from curate.submit.submit import submit as submit_job

    _memory(memory)
    # Not typer's Exit: after Ctrl-C the job goes on, and `main` shall not say that it stopped.
    sys.exit(submit_job(pipeline, address, texts_of(set_), workers, memory, follow))


@app.command()
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
    if not ops and not filter_:
        raise CurateError("name at least one op, or --filter NAME; `curate list` shows them")
    result = api.score(
        store, _ops(ops), filters=filter_, after=after, address=address, workers=workers, memory=_memory(memory)
    )
    for table in result.tables:
        out.say(f"{table.name}: {', '.join(table.columns)}   in {table.path}")
    out.say(f"{result.seconds:.1f} s")


@app.command("filter")
def filter_command(
    store: StoreArg,
    recipe: Annotated[Optional[str], typer.Argument(help="A filter that ships (curate list), or a YAML file.")] = None,
    where: Annotated[Optional[str], typer.Option(help="SQL condition: \"clip_l14 >= 0.24 AND lang = 'en'\".")] = None,
    top: Annotated[
        Optional[str], typer.Option(help="Best rows by a column: clip_l14=30%, clip_l14=0.3 or 'clip_l14=1000 rows'.")
    ] = None,
    subset: Annotated[
        Optional[str], typer.Option(help="Only uids of this DataComp subset file (.npy), each as often as it is there.")
    ] = None,
    name: Annotated[Optional[str], typer.Option(help="Name of the keep table; default: the recipe's.")] = None,
    after: Annotated[Optional[str], typer.Option(help="Start from the rows of this keep table; `none`: all.")] = None,
    output: Annotated[
        Optional[str], typer.Option(help="Write what stays: .npy (a DataComp subset file), .parquet, .csv or .txt.")
    ] = None,
    address: AddressOption = None,
    workers: Annotated[
        Optional[int],
        typer.Option(min=0, help="Workers for more than 2,000 shards or 20 million rows; without it, this process."),
    ] = None,
) -> None:
    """Keep rows by their columns: prints what stays and why the rest goes, writes a keep table."""
    from curate.look.show import print_funnel

    if recipe is None and where is None and top is None and subset is None:
        raise CurateError("name a filter, or give --where, --top or --subset; `curate list` shows the filters")
    kept = api.filter(
        store, recipe, where=where, top=top, subset=subset, name=name, after=after, output=output,
        address=address, workers=workers,
    )  # fmt: skip
    print_funnel(kept.funnel)
    out.say(f"keep table: {kept.name}   (curate write {store} --keep {kept.name} --to DIR)")
    if output:
        out.say(f"{output}: {kept.written:,} uids")
    out.say(f"{kept.seconds:.2f} s")


@app.command()
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
    from curate.look.show import print_funnel

    written = api.write(
        store, keep, to=to, samples_per_shard=samples_per_shard, bytes_per_shard=bytes_per_shard,
        address=address, workers=workers,
    )  # fmt: skip
    print_funnel(written.funnel, written)


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
    cost: Annotated[bool, typer.Option("--cost", help="What its steps took: rows, hours, seconds.")] = False,
    price: Annotated[list[str], typer.Option(help="The same in dollars an hour: h100=2.5, cpu=0.04.")] = [],  # noqa: B006
    by: Annotated[
        Optional[str], typer.Option(help="Its download by `host` or `status`; the funnel by another column.")
    ] = None,
) -> None:
    """What a store holds: funnel, failures by reason, tables and what made each; or what it cost, or was fetched."""
    from curate.look.cost import print_store_cost
    from curate.look.fetched import BY, print_fetched
    from curate.look.funnel_by import print_funnel_by
    from curate.look.show import print_store

    if by and by not in BY:
        print_funnel_by(store, by, step)
    elif by:
        print_fetched(store, by)
    elif cost or price:
        print_store_cost(store, price, step)
    else:
        print_store(store, step)


@app.command()
def retry(
    store: StoreArg,
    status: Annotated[str, typer.Option(help="Statuses with commas: timeout,connect,http_5xx.")],
    set_: Annotated[
        list[str], typer.Option("--set", help="Another option of the download: timeout_seconds=60, retries=3.")
    ] = [],  # noqa: B006
    address: AddressOption = None,
    workers: WorkersOption = None,
) -> None:
    """Fetch again the rows whose download ended so; `curate run` then makes anew what hangs on them."""
    from curate.pipeline.file import texts_of, values_of

    words = [word.strip() for word in status.split(",") if word.strip()]
    retried = api.retry(store, words, address=address, workers=workers, **values_of(texts_of(set_)))
    became = ", ".join(f"{rows:,} {word}" for word, rows in retried.statuses.items())
    if not retried.rows:
        out.say("no row has one of these statuses")
        return
    out.say(f"{counted(retried.rows, 'row')} fetched again: {became}")
    out.say("run the pipeline again: the steps behind its download then judge these rows")


@app.command(context_settings={"ignore_unknown_options": True})
def get(
    words: Annotated[
        list[str],
        typer.Argument(metavar="URLS --image_size 256 ...", help="A list (parquet, csv, txt, json, ...), and options."),
    ] = [],  # noqa: B006
    to: Annotated[Optional[str], typer.Option(help="Folder of the images; its store is beside it.")] = None,
    address: AddressOption = None,
) -> None:
    """The images of a list of URLs in a folder; img2dataset's options by their names: docs/img2dataset.md."""
    from curate.cli.img2dataset_options import result_lines, values_of_words

    options = values_of_words(words)
    urls, to = options.pop("url_list", None), to or options.pop("output_folder", "images")
    if not urls:
        raise CurateError("get: name a list of URLs: curate get urls.parquet --to images")
    for line in result_lines(api.get(urls, to, address=address, **options), options):
        out.say(line)


@app.command()
def remove(
    store: StoreArg,
    urls: Annotated[str, typer.Option(help="A list of urls: .txt, or .csv or .parquet with a column url.")] = "",
    host: Annotated[list[str], typer.Option(help="A host, with all hosts below it; may be given several times.")] = [],  # noqa: B006
    sha256: Annotated[str, typer.Option(help="A list of sha256 of image files as their hosts sent them.")] = "",
    uids: Annotated[str, typer.Option(help="A list of uids.")] = "",
    where: Annotated[str, typer.Option(help="SQL: rows for which it is true.")] = "",
    copies: Annotated[bool, typer.Option("--copies", help="Also rows of the same url or image file.")] = False,
    anew: Annotated[
        bool, typer.Option("--anew", help="The next run makes duplicates, clusters and balance anew.")
    ] = False,
    address: AddressOption = None,
    workers: Annotated[
        Optional[int], typer.Option(min=0, help="Workers for very many shards; without it, this process.")
    ] = None,
) -> None:
    """Take rows out for good: images, captions, urls and values leave every file, and later runs refuse them.

    Without rules it goes on with a removal that was stopped.
    """
    removed = api.remove(
        store, urls=urls, hosts=host, sha256=sha256, uids=uids, where=where, copies=copies, anew=anew,
        address=address, workers=workers,
    )  # fmt: skip
    for line in removed.text.splitlines():
        if not line.startswith("  ") or line.startswith("  --"):
            out.say(line)
    if removed.certificate:
        out.say(f"certificate, with each file before and after: {removed.certificate}")


@app.command()
def report(
    store: StoreArg,
    to: Annotated[Optional[str], typer.Option(help="HTML file; default: in the store.")] = None,
    by: Annotated[Optional[str], typer.Option(help="Also the funnel by this column, e.g. source.")] = None,
) -> None:
    """A page about a store: funnel, reasons, score histograms, images kept and dropped."""
    out.say(api.report(store, to, by))


@app.command()
def tail(
    store: StoreArg,
    by: Annotated[str, typer.Option(help="Column of lists: entries, concepts.")] = "entries",
    names: Annotated[str, typer.Option(help="The list of concepts: then those that no row names count, too.")] = "",
    verified: Annotated[str, typer.Option(help="Truth column: whether a row does mean what it names.")] = "",
    step: Annotated[str, typer.Option(help="The funnel up to this filter; default: the last run's.")] = "",
    output: Annotated[Optional[str], typer.Option(help="Write all lines: a .csv file.")] = None,
) -> None:
    """Entries or concepts with 0, under 10, under 100 rows along the funnel, and the step at which they fell short."""
    from curate.look.tail import print_tail

    if output and not output.endswith(".csv"):
        raise CurateError(f"--output {output}: its ending must be .csv")
    lines = api.tail(store, by, names=names, verified=verified, step=step)
    print_tail(lines, by)
    if output:
        lines.write_csv(output)
        out.say(f"{output}: {counted(len(lines), 'line')}")


@app.command()
def probe(
    store: StoreArg,
    ops: Annotated[list[str], typer.Argument(help="Ops, as for `curate score`.")],
    rows: Annotated[int, typer.Option(min=1, help="Rows to try.")] = 1000,
    workers: Annotated[int, typer.Option(min=1, help="Workers to forecast for.")] = 1,
) -> None:
    """What ops would cost: rows per second, share of the time, memory, hours for the whole store. Writes nothing."""
    from curate.look.show import print_costs

    print_costs(api.probe(store, _ops(ops), rows=rows), workers)


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
    out.say(api.upgrade(store))


@app.command()
def verify(shards: Annotated[str, typer.Argument(help="A store, or a folder of shards.")]) -> None:
    """Compare every byte of a store or of written shards with the checksums that were written with it."""
    out.say(api.verify(shards))


# Behind the others: `curate --help` lists them so.
import curate.cli.subset_commands  # noqa: E402, F401
