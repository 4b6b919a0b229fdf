"""What `curate metadata` does: checks its input, builds a list per language, writes it, prints what came from where."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import fsspec
import yaml
from pydantic import ValidationError
from rich.markup import escape
from rich.table import Table

from curate import __version__
from curate.errors import CurateError, reworded
from curate.messages.terminal import out
from curate.metaclip.entry_list import describe
from curate.metaclip.matching import unmatchable_ids
from curate.metadata.build import Built, build
from curate.metadata.corpus_text import TextFile, expand, find, tokenizer
from curate.metadata.rules import Rules
from curate.metadata.wordnet import WORDNET, names
from curate.read.input_files import content

LANGUAGE = "{language}"
EXAMPLES = 3


@dataclass(frozen=True)
class Job:
    """One language's input, all of it found."""

    rules: Rules
    texts: list[TextFile]
    titles: list[str]
    wordnet: str | None
    names: list[str]
    to: str


def make_metadata(
    to: str,
    texts: Sequence[str],
    titles: Sequence[str] = (),
    languages: Sequence[str] = ("en",),
    wordnet: str | None = None,
    column: str | None = None,
    cut: str | None = None,
    temp: str | None = None,
    workers: int | None = None,
    **changed: Any,
) -> list[Built]:
    """Write each language's entries to `to`, one `.json`, or below it as `<language>.json`; `.about.yaml` is beside it.

    `{language}` in a path stands for each language; `changed` are fields of Rules. All input of all languages is looked
    into before any is counted.

    Raises:
        CurateError: for input that is missing or cannot be read, or options that do not fit.
    """
    if not texts:
        raise CurateError(
            "give the text to count words in: --text DUMP.xml.bz2 (or .txt, .jsonl, .parquet; see --help)"
        )
    single = to.endswith(".json")
    if len(languages) > 1 and (single or not all(LANGUAGE in text for text in texts)):
        raise CurateError(
            f"several languages need a folder to write to and {LANGUAGE} in --text: "
            f"curate metadata entries --language de --language fr --text 'dumps/{LANGUAGE}wiki-*.xml.bz2'"
        )
    if cut:
        tokenizer(cut)
    if temp and not Path(temp).is_dir():
        raise CurateError(f"--temp {temp}: no such folder")
    jobs = [
        _job(code, to if single else f"{to.rstrip('/')}/{code}.json", texts, titles, wordnet, column, changed)
        for code in dict.fromkeys(languages)
    ]
    _make_folder(jobs[0].to)
    lists = []
    for job in jobs:
        built = build(
            job.rules, job.texts, job.titles, job.names,
            tokenizer=cut, temp=temp, workers=workers or os.cpu_count() or 1,
        )  # fmt: skip
        _write(job.to, json.dumps(built.entries, ensure_ascii=False))
        # Not .json: in a folder of lists, each .json is one.
        _write(job.to.removesuffix(".json") + ".about.yaml", yaml.safe_dump(_about(job, built, cut), sort_keys=False))
        _print(job, built)
        lists.append(built)
    return lists


def _job(
    language: str,
    to: str,
    texts: Sequence[str],
    titles: Sequence[str],
    wordnet: str | None,
    column: str | None,
    changed: dict[str, Any],
) -> Job:
    if not re.fullmatch(r"[a-z][a-z_]*", language):
        raise CurateError(f"language '{language}': expected a code of Wikipedia's, e.g. en, de, zh, zh_yue, simple")
    try:
        rules = Rules.published(language, **changed)
    except ValidationError as error:
        raise reworded(error, "metadata", Rules.model_fields) from error
    text_files = find([text.replace(LANGUAGE, language) for text in texts], column)
    views = [file for title in titles for file in expand(title.replace(LANGUAGE, language))]
    if wordnet is None and language == "en" and Path(WORDNET).is_dir():
        wordnet = WORDNET
    wordnet = wordnet.replace(LANGUAGE, language) if wordnet else None
    return Job(rules, text_files, views, wordnet, names(wordnet) if wordnet else [], to)


def _about(job: Job, built: Built, cut: str | None) -> dict[str, Any]:
    """Where a list came from: all that decides it."""
    sources = {"text": [file.path for file in job.texts], "titles": job.titles}
    return {
        "curate": __version__,
        "rules": job.rules.model_dump(),
        "tokenizer": cut,
        "wordnet": {"path": job.wordnet, "names": len(job.names)},
        "inputs": {kind: [_file(path) for path in paths] for kind, paths in sources.items()},
        "columns": sorted({file.column for file in job.texts if file.column}),
        "words_counted": built.tokens,
        "sources": {
            part.source: {"seen": part.seen, "candidates": part.candidates, "new": len(part.entries)}
            for part in built.parts
        },
        "entries": describe(built.entries),
        "notes": built.notes,
    }


def _file(path: str) -> dict[str, Any]:
    fs, place = fsspec.core.url_to_fs(path)
    return {"path": path, "bytes": fs.size(place), "sha256_of_ends": content(path)}


def _make_folder(to: str) -> None:
    """The folder that a file will be in, before the work that makes the file."""
    try:
        fs, path = fsspec.core.url_to_fs(to)
        fs.makedirs(path.rpartition("/")[0], exist_ok=True)
    except OSError as error:
        raise CurateError(f"cannot write '{to}': {error}") from error


def _write(to: str, text: str) -> None:
    with fsspec.open(to, "w", encoding="utf-8") as stream:
        stream.write(text)


def _print(job: Job, built: Built) -> None:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("source", "seen", "candidates", "new entries", "unmatchable", "e.g."):
        table.add_column(name, justify="left" if name in {"source", "e.g."} else "right")
    for part in built.parts:
        lost = unmatchable_ids(part.entries)
        shown = ", ".join(repr(part.entries[i]) for i in lost[:EXAMPLES])
        row = (f"{part.seen:,}", f"{part.candidates:,}", f"{len(part.entries):,}", f"{len(lost):,}", escape(shown))
        table.add_row(part.source, *row)
    out.print(table)
    say = partial(out.print, soft_wrap=True, markup=False)
    facts = describe(built.entries)
    say(
        f"{built.tokens:,} words counted; {facts['entries']:,} entries, {facts['several_words']:,} of several words, "
        f"{facts['unmatchable']:,} that no text can match"
    )
    settings = ", ".join(f"{name} {value!r}" for name, value in job.rules.model_dump().items())
    say(settings, style="dim")
    if job.rules.language == "en" and not job.wordnet:
        say("note: no WordNet: apt install wordnet-base, or --wordnet DIR")
    for note in built.notes:
        say(f"note: {note}")
    say(f"{job.to}   (score.entries: {{metadata: {job.to}}})")
