"""Names from WordNet: the English database files, or another language's table of the Open Multilingual WordNet."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from curate.errors import CurateError

WORDNET = "/usr/share/wordnet"  # Debian and Ubuntu: apt install wordnet-base
PARTS_OF_SPEECH = ("adj", "adv", "noun", "verb")


def names(path: str) -> list[str]:
    """The names at a path: `synset_names` of a folder, `lemmas` of a `.tab` file.

    Raises:
        CurateError: when it is neither.
    """
    place = Path(path)
    entries = list(synset_names(path)) if place.is_dir() else lemmas(path) if place.suffix == ".tab" else []
    if not entries:
        raise CurateError(
            f"no WordNet at '{path}': expected a folder with data.noun (apt install wordnet-base), or a .tab file "
            "of the Open Multilingual WordNet (wn-data-fra.tab)"
        )
    return entries


def synset_names(folder: str = WORDNET) -> Iterator[str]:
    """The name of every WordNet synset in file order: its first word, lower case, up to the first ".", "_" as blank.

    That is `synset.name()` of NLTK, which the published list was built with. Nothing when the folder has no WordNet.
    """
    for part in PARTS_OF_SPEECH:
        path = Path(folder) / f"data.{part}"
        if not path.is_file():
            continue
        with path.open(encoding="utf-8", errors="replace") as lines:
            for line in lines:
                if line.startswith(" "):  # the licence, at the head of every file
                    continue
                word = re.sub(r"\(\w+\)$", "", line.split(" ", 5)[4])  # adjectives: "galore(ip)"
                name = word.lower().split(".", 1)[0].replace("_", " ")
                if name:
                    yield name


def lemmas(file: str) -> list[str]:
    """Every lemma of an Open Multilingual WordNet table (synset, `fra:lemma`, lemma), sorted; "_" as blank, no "+"."""
    try:
        text = Path(file).read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise CurateError(f"no file {file}") from None
    rows = [line.split("\t") for line in text.splitlines() if not line.startswith("#")]
    forms = {row[2] for row in rows if len(row) > 2 and row[1].rpartition(":")[2] == "lemma"}
    return sorted(name.strip().replace("_", " ").replace("+", "") for name in forms)
