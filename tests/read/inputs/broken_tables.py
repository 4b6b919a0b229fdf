"""Random tables as text files, written well and badly, with the list of records that they were written from."""

from __future__ import annotations

import csv
import io
import json
import random
from dataclasses import dataclass
from typing import Any

#: Letters of captions; those that break parsers come often.
LETTERS = "abc deé, \"\t;|\n\r'\\🐕مـ\0\ufeff0"

SEPARATORS = {",": "csv", "\t": "tsv", ";": "csv", "|": "csv"}


@dataclass
class Written:
    """A file and what it was written from. broken: places of the records whose lines were damaged after writing."""

    name: str
    data: bytes
    names: list[str]
    records: list[list[str]]
    broken: set[int]


def caption(random_: random.Random, without: str = "") -> str:
    letters = [letter for letter in LETTERS if letter not in without]
    return "".join(random_.choices(letters, k=random_.choice([0, 1, 3, 8, 30])))


def table(random_: random.Random) -> Written:
    """A delimited file: by the rules of CSV, or with quotes as letters, and some lines damaged."""
    separator = random_.choice(list(SEPARATORS))
    end = random_.choice(["\n", "\r\n"])
    names = random_.choice([["url", "caption"], ["caption", "url"], ["id", "url", "caption"]])
    lawful = random_.random() < 0.6
    records = []
    for number in range(random_.randint(1, 40)):
        text = caption(random_, "" if lawful else f"{separator}\n\r")
        if not lawful and text.startswith('"') and text.endswith('"'):
            text += "!"
        values = {"url": f"http://h.example/{number}.jpg", "caption": text, "id": str(number)}
        records.append([values[name] for name in names])
    quoting = random_.choice([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]) if lawful else csv.QUOTE_NONE
    lines, broken = [_line(names, separator, end, quoting)], set()
    for place, record in enumerate(records):
        line = _line(record, separator, end, quoting)
        if random_.random() < 0.1 and lawful and "\n" not in record[names.index("caption")]:
            damaged = _damaged(line.removesuffix(end), random_) + end
            if damaged != line:
                broken.add(place)
                line = damaged
        lines.append(line)
    text = "".join(lines)
    if random_.random() < 0.2:
        text = text.removesuffix(end)
    encoding = random_.choice(["utf-8", "utf-8", "utf-8", "utf-8-sig", "utf-16"])
    return Written(f"x.{SEPARATORS[separator]}", text.encode(encoding), names, records, broken)


def _line(values: list[str], separator: str, end: str, quoting: int) -> str:
    if quoting == csv.QUOTE_NONE:
        return separator.join(values) + end
    out = io.StringIO()
    csv.writer(out, delimiter=separator, lineterminator=end, quoting=quoting).writerow(values)
    return out.getvalue()


def _damaged(line: str, random_: random.Random) -> str:
    """A line that lost a quote or the end, or got a quote or a field."""
    quotes = [place for place, letter in enumerate(line) if letter == '"']
    kind = random_.choice(["lost quote", "cut", "more quote"])
    if kind == "lost quote" and quotes:
        at = random_.choice(quotes)
        return line[:at] + line[at + 1 :]
    if kind == "cut":
        return line[: random_.randrange(1, len(line))]
    at = random_.randrange(len(line))
    return line[:at] + '"' + line[at:]


def json_lines(random_: random.Random) -> Written:
    """Objects with values of any kind, and some lines damaged."""
    names = ["url", "caption", "value"]
    kind = random_.choice(["int", "big", "float", "mixed", "list", "struct", "text"])
    records: list[list[Any]] = []
    lines, broken = [], set()
    for number in range(random_.randint(1, 40)):
        record = [f"http://h.example/{number}.jpg", caption(random_), _value(kind, random_)]
        records.append(record)
        line = json.dumps(dict(zip(names, record, strict=True)), ensure_ascii=random_.random() < 0.5)
        if random_.random() < 0.1:
            broken.add(number)
            line = random_.choice([line[:-1], line[: len(line) // 2], line + line, "{'url': 1}", "[1]", "null", "\0"])
        lines.append(line)
    text = random_.choice(["\n", "\r\n", "\n\n"]).join(lines)
    encoding = random_.choice(["utf-8", "utf-8", "utf-8-sig", "utf-16"])
    return Written("x.jsonl", text.encode(encoding), names, records, broken)


def _value(kind: str, random_: random.Random) -> Any:
    numbers = {
        "int": lambda: random_.choice([0, -1, 5, 2**53 + 1, 2**63 - 1, -(2**63)]),
        "big": lambda: random_.choice([1, 2**64, -(2**70), 10**30]),
        "float": lambda: random_.choice([0.5, 1, -3, 1e300, float("inf"), 0.1]),
        "mixed": lambda: random_.choice([1, 2**53 + 1, 0.5, "text", True, None]),
        "list": lambda: [random_.choice(["a", "b", "é"]) for _ in range(random_.randint(0, 3))],
        "struct": lambda: {"a": random_.randint(0, 3), "b": [1.5], "c": {"d": None}},
        "text": lambda: caption(random_),
    }
    return None if random_.random() < 0.1 else numbers[kind]()
