"""JSON lines: any line is a row, and what of it fits no column is kept."""

from __future__ import annotations

import json

import pyarrow as pa
import pytest

from curate.inputs import jsonl


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
        ('{"te\\ud83dxt": 1}', {"malformed": '{"te?xt": 1}'}),
        (b'{"text": "caf\xe9"}', {"text": "caf\ufffd"}),
        ('{"text": "a"}\r', {"text": "a"}),
        ('{"text": ["a", {"b": 1}], "n": 1.5, "ok": true}', {"text": '["a", {"b": 1}]', "n": 1.5, "ok": True}),
        ('{"n": 99999999999999999999}', {"n": "99999999999999999999"}),
        ('{"n": 1' + "0" * 400 + "}", {"n": "1" + "0" * 400}),
        ('{"n": 1, "n": 2}', {"n": 2}),
        ("not json", {"malformed": "not json"}),
        ('{"text": "cut', {"malformed": '{"text": "cut'}),
        ("[1, 2]", {"malformed": "[1, 2]"}),
        ("[" * 100_000, {"malformed": "[" * 100_000}),
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


def test_what_no_sampled_line_had_is_kept(rows, monkeypatch):
    monkeypatch.setattr(jsonl, "SAMPLE_LINES", 2)
    lines = [
        {"url": "a", "n": 1, "score": 0.5},
        {"url": "b", "n": None, "score": 1},
        {"url": 3, "n": 2.5, "score": 2},
        {"url": "d", "n": 4, "new": {"x": [1]}, "malformed": "was here"},
        {"url": "e", "n": 1 << 70, "score": True},
    ]
    found = rows("\n".join(map(json.dumps, lines)))
    assert found[2] == {"url": "3", "score": 2.0, "malformed": '{"n": 2.5}'}
    assert found[3] == {"url": "d", "n": 4, "malformed": '{"malformed": "was here", "new": {"x": [1]}}'}
    assert found[4] == {"url": "e", "malformed": f'{{"n": {1 << 70}, "score": true}}'}
