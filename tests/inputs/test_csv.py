"""CSV: no line is lost, and a damaged one spoils no other."""

from __future__ import annotations

import io
import sys

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate.inputs import csv


@pytest.fixture
def rows(tmp_path):
    def parse(data: bytes | str, name: str = "x.csv") -> list[tuple]:
        file = tmp_path / name
        file.write_bytes(data if isinstance(data, bytes) else data.encode())
        batches = list(csv.read(str(file), batch_rows=3))
        found = pa.Table.from_batches(batches).to_pylist() if batches else []
        assert csv.count(str(file)) == len(found)
        assert all(batch.schema == csv.schema(str(file)) for batch in batches)
        return [tuple(row.values()) for row in found]

    return parse


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        ("url,text\na,b\n", [("a", "b", None)]),
        ("url,text\r\na,b\r\nc,d", [("a", "b", None), ("c", "d", None)]),
        ("\ufeffurl,text\na,b\n", [("a", "b", None)]),
        ('url,text\na,"b\nc, ""d"""\n', [("a", 'b\nc, "d"', None)]),
        ("url,text\na,\n\n\nb,c\n", [("a", None, None), ("b", "c", None)]),
        (
            "url,text\na,b\nonly\n1,2,3\nc,d\n",
            [("a", "b", None), (None, None, "only"), (None, None, "1,2,3"), ("c", "d", None)],
        ),
        ("url,text\nonly\n", [(None, None, "only")]),
        (b"url,text\na,caf\xe9\n\xff\n", [("a", "caf\ufffd", None), (None, None, "\ufffd")]),
        # The csv module of Python 3.10 refuses NUL: the line is kept as it is.
        ("url,text\na,b\0c\n", [("a", "b\0c", None) if sys.version_info >= (3, 11) else (None, None, "a,b\0c")]),
        ("url,text\na,🐕‍🦺 مرحبا\n", [("a", "🐕‍🦺 مرحبا", None)]),
        # A quote that nothing closes, or that closes in the middle of a later caption, costs no row.
        ('url,text\na,"b\nc,d\n', [("a", '"b', None), ("c", "d", None)]),
        ('url,text\na,"b\nc,say "d" now\ne,f\n', [("a", '"b', None), ("c", 'say "d" now', None), ("e", "f", None)]),
        ('url,text\na,"b" c\nd,e\n', [("a", '"b" c', None), ("d", "e", None)]),
        ('url,text\n"a,b\n1,2\n', [('"a', "b", None), ("1", "2", None)]),
        ("url,text\n", []),
        ("url,text", []),
        ("", []),
        ("\n\n", []),
        ("url,,text,text\n1,2,3,4\n", [("1", "2", "3", "4", None)]),
        ("url,malformed\na,b\nc\n", [("a", "b"), (None, "c")]),
    ],
)
def test_rows(rows, data, expected):
    assert rows(data) == expected


def test_names_are_kept_and_made_distinct(tmp_path):
    (tmp_path / "x.csv").write_text("URL, Text,,Text\n")
    assert csv.schema(str(tmp_path / "x.csv")).names == ["URL", "Text", "column_3", "Text_4", "malformed"]


def test_ragged_tsv(rows):
    data = 'url\ttext\na\tb, c\nd\ne\tf\tg\nh\t"i\tj"\n'
    assert rows(data, "x.tsv") == [
        ("a", "b, c", None),
        (None, None, "d"),
        (None, None, "e\tf\tg"),
        ("h", "i\tj", None),
    ]


def test_a_caption_of_megabytes(rows):
    long = "word \n" * 300 + "x" * 2_000_000
    assert rows(f'url,text\na,"{long}"\nb,c\n') == [("a", long, None), ("b", "c", None)]


def test_a_stray_quote_swallows_a_bounded_number_of_lines(rows):
    lines = [f"u{i},t{i}" for i in range(3 * csv.MOST_LINES)]
    lines[5] = 'u5,"t5'
    found = rows("url,text\n" + "\n".join(lines))
    assert [row[0] for row in found] == [f"u{i}" for i in range(len(lines))]
    assert found[5] == ("u5", '"t5', None)


@given(st.lists(st.text(st.sampled_from('ab",\t\n\r 🐕'), max_size=8), max_size=12))
def test_no_letter_is_lost(lines):
    """Whatever the lines hold, every letter is in some field or in a malformed line."""
    text = "url,text\n" + "\n".join(lines)
    parsed = list(csv._parsed(csv._Lines(iter(io.StringIO(text, newline=""))), ","))
    found = "".join("".join(row) for row in parsed)
    assert [found.count(c) for c in "ab🐕"] == [text.replace("url,text\n", "urltext").count(c) for c in "ab🐕"]
