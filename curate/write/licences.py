"""What the card of training shards says of licences: which columns tell them, and how many samples have which.

Columns of the input go out as they came, under their own names. Nothing is guessed beyond the names here: `license`, as
LAION's tables and Common Crawl's rows have it, and words that mean the same.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import pyarrow.compute as pc
import pyarrow.parquet as pq

from curate.cluster.many_shards import in_threads
from curate.store.folder import Folder, shard_name
from curate.write.shard_columns import SUFFIX

#: What a column tells, to the names under which it is known, whatever their case; the first that is there is taken.
NAMES = {
    "licence": ("licence", "license", "license_name", "license_type"),
    "licence_url": ("licence_url", "license_url", "licenseurl"),
    "attribution": ("attribution", "author", "creator", "artist", "photographer", "credit"),
    "retrieved": ("retrieved", "retrieved_at", "date_retrieved", "crawl_time"),
}
#: Licences that a card lists, the most frequent ones.
MOST_LISTED = 30
NONE = "none given"

_BEGIN = "\n## Licences\n"


def columns(names: Sequence[str]) -> dict[str, str]:
    """What is told of licences, to the column that tells it.

    >>> columns(["uid", "LICENSE", "author", "retrieved_input"])
    {'licence': 'LICENSE', 'attribution': 'author', 'retrieved': 'retrieved_input'}
    """
    plain = {name.lower().removesuffix(SUFFIX): name for name in reversed(names)}
    chosen = {
        what: next((plain[known] for known in known_as if known in plain), None) for what, known_as in NAMES.items()
    }
    return {what: name for what, name in chosen.items() if name is not None}


def with_licences(card: str, out: Folder, shards: int) -> str:
    """A card with its last section made anew from the parquets of the shards; without one where no column tells.

    The values are counted as they are: an empty one and null are none.
    """
    card = card.partition(_BEGIN)[0]
    with out.open(f"{shard_name(0)}.parquet") as file:
        tells = columns(pq.read_schema(file).names)
    if not tells:
        return card
    lines = ["", "What the input told of each sample's licence, unchecked:", ""]
    lines += [f"- {what.replace('_', ' ')}: column `{name}`" for what, name in tells.items()]
    counted = tells.get("licence") or tells.get("licence_url")
    if counted:
        counts = _counts(out, shards, counted)
        lines += ["", f"| `{counted}` | samples |", "| --- | ---: |"]
        lines += [f"| {_cell(value)} | {rows:,} |" for value, rows in counts[:MOST_LISTED]]
        rest = counts[MOST_LISTED:]
        lines += [f"| {len(rest):,} others | {sum(rows for _, rows in rest):,} |"] if rest else []
    return card + _BEGIN + "\n".join(lines) + "\n"


def _counts(out: Folder, shards: int, name: str) -> list[tuple[str, int]]:
    """Values of a column with their samples, the most frequent first."""

    def of_shard(number: int) -> Counter[str]:
        with out.open(f"{shard_name(number)}.parquet") as file:
            values = pq.read_table(file, columns=[name])[name]
        pairs = pc.value_counts(values.combine_chunks()).to_pylist()
        counts: Counter[str] = Counter()
        for pair in pairs:
            counts[str(pair["values"]).strip() if pair["values"] is not None else ""] += pair["counts"]
        return counts

    total: Counter[str] = Counter()
    for counts in in_threads(of_shard, shards):
        total.update(counts)
    return sorted(((value or NONE, rows) for value, rows in total.items()), key=lambda pair: (-pair[1], pair[0]))


def _cell(value: str) -> str:
    """A value in a table of Markdown, on one line."""
    return " ".join(value.split()).replace("|", "\\|")[:200]
