"""JSON lines: any line is a row, and what of it fits no column is kept."""

from __future__ import annotations

import json
import os
import random

import pyarrow as pa
import pytest
from broken_tables import json_lines

from curate.errors import CurateError
from curate.read import json_rows, text_lines
from curate.read.inputs import jsonl

#: Random files; set CURATE_TEST_FILES=1000 for a long run.
FILES = int(os.environ.get("CURATE_TEST_FILES", "150"))


@pytest.fixture
def rows(tmp_path):
    def parse(data: bytes | str) -> list[dict]:
        file = tmp_path / "x.jsonl"
        file.write_bytes(data if isinstance(data, bytes) else data.encode())
        batches = list(jsonl.read(str(file), batch_rows=3))
        found = pa.Table.from_batches(batches).to_pylist() if batches else []
        assert jsonl.count(str(file)) == len(found)
        return [{name: value for name, value in row.items() if value is not None} for row in found]

    return parse


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ('{"url": "a", "text": null}', {"url": "a"}),
        ('{"url": "a", "text": ""}', {"url": "a", "text": ""}),
        ('{"url": "a", "text": "b\\tc\\nd\\u0000e 🐕 مرحبا"}', {"url": "a", "text": "b\tc\nd\0e 🐕 مرحبا"}),
        ('{"text": "cut \\ud83d here"}', {"text": "cut ? here"}),
        ('{"te\\ud83dxt": 1}', {"te?xt": 1}),
        (b'{"text": "caf\xe9"}', {"text": "café"}),
        ('{"text": "a\tb"}', {"text": "a\tb"}),
        ('{"text": "a"}\r', {"text": "a"}),
        ('{"text": ["a", {"b": 1}], "n": 1.5, "ok": true}', {"text": '["a", {"b": 1}]', "n": 1.5, "ok": True}),
        (
            '{"tags": ["a", null], "meta": {"x": [1.5], "y": {}}}',
            {"tags": ["a", None], "meta": '{"x": [1.5], "y": {}}'},
        ),
        ('{"n": 18446744073709551615}', {"n": 18446744073709551615}),
        ('{"n": -9223372036854775808, "m": -9223372036854775809}', {"n": -(1 << 63), "m": "-9223372036854775809"}),
        ('{"malformed": "mine", "image:tar": 1}', {"malformed_input": "mine", "malformed": '{"image:tar": 1}'}),
        ('{"n": 99999999999999999999}', {"n": "99999999999999999999"}),
        ('{"n": 1' + "0" * 400 + "}", {"n": "1" + "0" * 400}),
        ('{"n": 1, "n": 2}', {"n": 2}),
        ("not json", {"malformed": "not json"}),
        ('{"text": "cut', {"malformed": '{"text": "cut'}),
        ("[1]", {"malformed": "1"}),
        ('{"a": ' * 100_000, {"malformed": '{"a": ' * 100_000}),
        ('"text"', {"malformed": '"text"'}),
        ("null", {"malformed": "null"}),
        ("\0", {"malformed": "\0"}),
    ],
)
def test_one_line(rows, line, expected):
    data = line if isinstance(line, bytes) else line.encode()
    assert rows(data) == rows(data + b"\n") == rows(b"\n" + data + b"\n\n") == [expected]


def test_byte_order_mark(rows):
    assert rows(b'\xef\xbb\xbf{"text": "a"}\n{"text": "b"}') == [{"text": "a"}, {"text": "b"}]
    assert rows(b"\xef\xbb\xbf\n") == []


@pytest.mark.parametrize("data", ["", "\n\n", " \r\n"])
def test_empty(rows, data):
    assert rows(data) == []


def test_types_are_those_of_all_lines(rows, monkeypatch):
    monkeypatch.setattr(jsonl, "SAMPLE_ROWS", 2)
    lines = [
        {"url": "a", "n": 1, "score": 0.5, "big": 1, "tags": ["a"], "at": {"x": 1}},
        {"url": "b", "n": None, "score": 1},
        {"url": 3, "n": 2.5, "score": 2, "big": 1 << 70, "tags": [], "at": {"y": [1]}},
        {"url": "d", "n": 4, "score": None, "new": {"x": [1]}, "tags": "b"},
    ]
    assert rows("\n".join(map(json.dumps, lines))) == [
        {"url": "a", "n": 1.0, "score": 0.5, "big": "1", "tags": ["a"], "at": {"x": 1, "y": None}},
        {"url": "b", "score": 1.0},
        {"url": "3", "n": 2.5, "score": 2.0, "big": str(1 << 70), "tags": [], "at": {"x": None, "y": [1]}},
        {"url": "d", "n": 4.0, "new": {"x": [1]}, "tags": ["b"]},
    ]


def test_a_value_fits_whatever_is_beside_it_in_the_batch(tmp_path):
    """An empty object in a column of objects, a small number in a column of large ones."""
    rows = [{"at": {}, "n": [1]}, {"at": {"x": 1}, "n": [1 << 63]}]
    (tmp_path / "x.jsonl").write_text("\n".join(map(json.dumps, rows)))
    batches = list(jsonl.read(str(tmp_path / "x.jsonl"), batch_rows=1))
    assert [row for batch in batches for row in batch.to_pylist()] == [
        {"at": {"x": None}, "n": [1], "malformed": None},
        {"at": {"x": 1}, "n": [1 << 63], "malformed": None},
    ]
    kinds = batches[0].schema
    assert json_rows.batch(rows[:1], kinds).equals(batches[0])


OBJECTS = [{"url": f"http://a/{i}.jpg", "caption": f'{i} "[{{,'} for i in range(5)]
COLUMNS = {name: [row[name] for row in OBJECTS] for name in OBJECTS[0]}


ARRAYS = [
    json.dumps(OBJECTS),
    json.dumps(OBJECTS, indent=2),
    "[\n" + ",\n".join(map(json.dumps, OBJECTS)) + "\n]\n",
    " \n" + json.dumps(OBJECTS),
]
TABLES = [
    "\n".join(json.dumps(row, indent=2) for row in OBJECTS),
    json.dumps(COLUMNS),
    json.dumps(COLUMNS, indent=1),
    json.dumps({name: dict(enumerate(column)) for name, column in COLUMNS.items()}),
    json.dumps({str(place): row for place, row in enumerate(OBJECTS)}, indent=1),
    json.dumps({"columns": [*COLUMNS], "index": [0], "data": [list(row.values()) for row in OBJECTS]}),
    json.dumps({"info": {"year": 2021}, "annotations": OBJECTS}),
    json.dumps({"info": {"year": 2021}, "annotations": OBJECTS}, indent=2),
]


@pytest.mark.parametrize("data", [*ARRAYS, *TABLES, json.dumps(OBJECTS).encode("utf-16")])
def test_json_that_is_no_lines(rows, data):
    assert rows(data) == OBJECTS


@pytest.mark.parametrize("data", ARRAYS)
def test_an_array_in_blocks(rows, data, monkeypatch):
    """An object is told from lines by its first block; an array may be cut anywhere."""
    monkeypatch.setattr(text_lines, "BLOCK_BYTES", 7)
    assert rows(data) == OBJECTS


def test_a_damaged_array(rows):
    whole = [json.dumps(row) for row in OBJECTS]
    assert rows("[\n" + ",\n".join([*whole[:2], '{"url": "cut', *whole[2:]]) + "]") == [
        *OBJECTS[:2],
        {"malformed": '{"url": "cut'},
        *OBJECTS[2:],
    ]
    assert rows("[" + ", ".join(whole)[:-5]) == [*OBJECTS[:4], {"malformed": whole[4][:-5]}]
    assert rows("[1]\n" + "\n".join(whole)) == [{"malformed": "[1]"}, *OBJECTS]


def test_two_tables(rows):
    with pytest.raises(CurateError, match=r"x.jsonl' holds 2 tables \(images, annotations\)"):
        rows(json.dumps({"images": [{"id": 1}], "annotations": [{"caption": "a"}]}))


def test_names_that_are_data(rows):
    with pytest.raises(CurateError, match=r"has more than 2,000 different names in its objects \(k0, k1, k2 ...\)"):
        rows("\n".join(f'{{"k{i}": 1}}' for i in range(30_000)))
    (row, *_) = rows("\n".join(f'{{"url": "a", "meta": {{"k{i}": 1}}}}' for i in range(3_000)))
    assert row == {"url": "a", "meta": '{"k0": 1}'}


def test_what_was_guessed_is_said(tmp_path):
    lines = ['{"a": 1}', "oops", '{"a": "x"}', '{"b": "\\ud83d"}', '{"c": ["x"]}', '{"c": "y"}']
    (tmp_path / "x.jsonl").write_text("\n".join(lines))
    assert jsonl.scan(str(tmp_path / "x.jsonl")).remarks.lines() == [
        "1 column(s) of text and lists of text, kept as lists: c",
        "1 column(s) of values of different kinds, kept as JSON text: a",
        "1 malformed (line 2: oops)",
        '1 row(s) with half a character (a lone surrogate), now \'?\' ({"b": "\\ud83d"})',
    ]


@pytest.mark.parametrize("block", [text_lines.BLOCK_BYTES, 4096])
def test_random_files(tmp_path, block, monkeypatch):
    """Rows in are rows read and rows named as malformed, and no value of a whole row is another."""
    monkeypatch.setattr(text_lines, "BLOCK_BYTES", block)
    for seed in range(FILES):
        written = json_lines(random.Random(seed))
        file = tmp_path / written.name
        file.write_bytes(written.data)
        scan = jsonl.scan(str(file))
        rows = [row for batch in jsonl.read(str(file), types=scan.schema) for row in batch.to_pylist()]
        assert scan.rows == len(rows) == len(written.records), seed
        assert scan.remarks.counts.get("malformed", 0) == len(written.broken), seed
        for place, (row, record) in enumerate(zip(rows, written.records, strict=True)):
            if place in written.broken:
                assert row["malformed"] is not None, (seed, place)
                continue
            expected = dict(zip(written.names, record, strict=True))
            if pa.types.is_large_string(scan.schema.field("value").type):
                value = expected["value"]
                expected["value"] = value if isinstance(value, str) or value is None else json.dumps(value)
            assert row == expected | {"malformed": None}, (seed, place)
