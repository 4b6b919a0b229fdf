"""CSV: no line is lost, and a damaged one spoils no other."""

from __future__ import annotations

import os
import random
from pathlib import Path

import pyarrow as pa
import pytest
from broken_tables import Written, table

from curate.errors import CurateError
from curate.read import csv_dialect, csv_rows, text_lines
from curate.read.inputs import csv


@pytest.fixture
def rows(tmp_path):
    def parse(data: bytes | str, name: str = "x.csv", batch_rows: int = 3) -> list[tuple]:
        file = tmp_path / name
        file.write_bytes(data if isinstance(data, bytes) else data.encode())
        batches = list(csv.read(str(file), batch_rows=batch_rows))
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
        (b"url,text\na,caf\xe9\n\xff\n", [("a", "café", None), (None, None, "ÿ")]),
        ('url,text\na,b\0c\nd,"e\0,"\n', [("a", "b\0c", None), ("d", "e\0,", None)]),
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
        ("url,malformed\na,b\nc\n", [("a", "b", None), (None, None, "c")]),
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
    lines = [f"u{i},t{i}" for i in range(3 * csv_rows.MOST_LINES)]
    lines[5] = 'u5,"t5'
    found = rows("url,text\n" + "\n".join(lines), batch_rows=1000)
    assert [row[0] for row in found] == [f"u{i}" for i in range(len(lines))]
    assert found[5] == ("u5", '"t5', None)


#: Random files; set CURATE_TEST_FILES=1000 for a long run.
FILES = int(os.environ.get("CURATE_TEST_FILES", "150"))


def read_back(written: Written, folder: Path) -> tuple[list[dict], csv.Scan]:
    file = folder / written.name
    file.write_bytes(written.data)
    rows = [row for batch in csv.read(str(file)) for row in batch.to_pylist()]
    return rows, csv.scan(str(file))


@pytest.mark.parametrize("block", [text_lines.BLOCK_BYTES, 4096])
def test_random_files(tmp_path, block, monkeypatch):
    """Rows in are rows read and rows named as malformed, and no value of a whole row is another."""
    monkeypatch.setattr(text_lines, "BLOCK_BYTES", block)
    for seed in range(FILES):
        written = table(random.Random(seed))
        rows, scan = read_back(written, tmp_path)
        assert scan.rows == len(rows) == len(written.records), seed
        assert scan.schema.names == [*written.names, "malformed"], seed
        for place, (row, record) in enumerate(zip(rows, written.records, strict=True)):
            if place not in written.broken:
                assert list(row.values()) == [*(value or None for value in record), None], (seed, place)
        malformed = [row["malformed"] for row in rows if row["malformed"] is not None]
        assert scan.remarks.counts.get("malformed", 0) == len(malformed), seed


def scanned(tmp_path: Path, data: bytes | str, name: str = "x.csv") -> list[str]:
    file = tmp_path / name
    file.write_bytes(data if isinstance(data, bytes) else data.encode())
    return csv.scan(str(file)).remarks.lines()


@pytest.mark.parametrize(
    ("name", "data", "lines"),
    [
        ("x.csv", "url,text\na,b\nc\nd\n", ["2 malformed (line 3: c)"]),
        ("x.csv", 'url,text\na,"b\nc,"d" e\n', ["2 row(s) with quotes taken as letters (line 2: a,\"b)"]),
        ("x.csv", "url,text\na,b,\nc,d,\n", ["2 row(s) with a trailing delimiter (line 2: a,b,)"]),
        ("x.csv", "url;text\na;b, c\n", ["1 file(s) with ';' between the columns"]),
        ("x.csv", "url\ttext\na\tb, c\n", ["1 file(s) with '\\t' between the columns"]),
        ("x.csv", b"url,text\na,caf\xe9\n", ["1 line(s) not in UTF-8, read as Windows-1252 (line 2: a,café)"]),
        ("x.csv", b"url,text\na,\xc3\xa9\xe9\n", [
            "1 line(s) of damaged UTF-8, their broken bytes are U+FFFD (line 2: a,é\ufffd)"
        ]),
        ("x.csv", "url,text\na,é\n".encode("utf-16"), ["1 file(s) in UTF-16"]),
        ("x.csv", "url,text\na,é\n".encode("utf-16-le"), ["1 file(s) in UTF-16-LE"]),
        ("x.tsv", "http://a\tb\n", ["1 file(s) without a header line (line 1: http://a\tb)"]),
        ("x.tsv", 'url\ttext\nhttp://a\t"b"\n', ['1 row(s) with quotes taken as letters (line 2: http://a\t"b")']),
    ],
)  # fmt: skip
def test_what_was_guessed_is_said(tmp_path, name, data, lines):
    assert scanned(tmp_path, data, name) == lines


@pytest.mark.parametrize(
    ("name", "data", "expected"),
    [
        ("x.csv", "url;text\na;b, c\n", [("a", "b, c", None)]),
        ("x.csv", "url\ttext\na\tb, c\n", [("a", "b, c", None)]),
        ("x.csv", "url,text\na,b,\n", [("a", "b", None)]),
        ("x.csv", "sep=;\nurl;text\na;b, c\n", [("a", "b, c", None)]),
        ("x.csv", "url,text\na,b, c\n", [(None, None, "a,b, c")]),
        ("x.tsv", "url\ttext\na\tRed\rsize M\n", [("a", "Red\rsize M", None)]),
        ("x.csv", 'url,text\na,"Red\rsize M"\nb,c', [("a", "Red\rsize M", None), ("b", "c", None)]),
        ("x.csv", 'url,text\n\r,"a\nb"\n', [("\r", '"a', None), (None, None, 'b"')]),
        ("x.csv", "url,text\ra,b\rc,d\r", [("a", "b", None), ("c", "d", None)]),
        ("x.tsv", "http://a\tb\nhttp://c\td\n", [("http://a", "b", None), ("http://c", "d", None)]),
        ("x.tsv", "b\thttp://a\nd\thttp://c\n", [("b", "http://a", None), ("d", "http://c", None)]),
        ("x.txt", 'http://a/1\n\nhttp://a/"2,3"\n', [("http://a/1", None), ('http://a/"2,3"', None)]),
        ("x.csv", "url\nhttp://a/1,2\n", [("http://a/1,2", None)]),
        ("x.csv", 'url\n"a\nb"\n', [("a\nb", None)]),
        ("x.csv", 'url\nhttp://a/1,2\n"b"\n', [("http://a/1,2", None), ("b", None)]),
        # What Arrow gets as a separator that no line has, in lines whose quotes are letters.
        ("x.tsv", 'url\na\x1fb\n"c"\n"d\x1f"\n', [("a\x1fb", None), ('"c"', None), ('"d\x1f"', None)]),
        (
            "x.tsv",
            'url\ttext\nhttp://1\t"To be, he said\nhttp://2\ta car\nhttp://3\tSTOP"\n',
            [("http://1", '"To be, he said', None), ("http://2", "a car", None), ("http://3", 'STOP"', None)],
        ),
        (
            "x.csv",
            'text,url\n"one\ntwo, ""three""",http://1\n"four\n,http://2\n',
            [('one\ntwo, "three"', "http://1", None), (None, None, '"four'), (None, "http://2", None)],
        ),
    ],
)
def test_dialects(rows, name, data, expected):
    assert rows(data, name) == expected


def test_more_columns_than_a_table_has(tmp_path):
    with pytest.raises(CurateError, match=r"has 50,000 columns, more than 2,000: is the separator ',' right"):
        scanned(tmp_path, ",".join(map(str, range(50_000))) + "\n")
    with pytest.raises(CurateError, match=r"x.txt' is no list of urls: its first line is 'Read me'"):
        scanned(tmp_path, "Read me\n", "x.txt")


@pytest.mark.parametrize("separator", ["§", "\0", "\x1b"])
def test_a_separator_that_excel_s_line_names(tmp_path, separator):
    data = "sep=|\nurl|text\na|b\n".replace("|", separator)
    if separator == "\x1b":
        assert scanned(tmp_path, data) == [f"1 file(s) with {separator!r} between the columns"]
    else:
        with pytest.raises(CurateError, match="and columns are read that one ASCII character separates"):
            scanned(tmp_path, data)


@pytest.mark.parametrize("line", ['y","', 'u,"t', '"""', 'a""b', '"x,"y', ',"'])
def test_work_grows_with_the_lines_alone(tmp_path, line, monkeypatch):
    """A line that opens a quote looks at few lines for its end, whatever these hold."""
    looks: list[str] = []
    closing = csv_dialect.closing
    monkeypatch.setattr(csv_dialect, "closing", lambda *given: (looks.append(""), closing(*given))[1])
    (tmp_path / "x.csv").write_text("url,text\n" + f"{line}\n" * 3000)
    assert csv.scan(str(tmp_path / "x.csv")).rows >= 1500
    assert len(looks) < 5 * 3000
