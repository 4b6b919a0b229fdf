"""Arrow reads JSON lines only where `json_rows` reads the same, and there it does."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from test_jsonl import FILES

from curate.read import json_lines, json_rows, text_lines
from curate.read.inputs import jsonl

TEXTS = st.text(st.sampled_from('ab "\\{}[],:\n\r\té🐕\0\ufeff\x7f\x85\u2028'), max_size=6) | st.sampled_from(
    ["2020-01-01", "2020-01-01T00:00:00Z", "1", "NaN", "null", "}\n{"]
)
WHOLE = st.sampled_from([0, -1, 7, 2**53 - 1, 2**53, 2**53 + 1, 2**63 - 1, -(2**63), 2**63, 2**64 - 1, 2**64, 10**30])
DOUBLES = st.sampled_from([0.5, -0.0, 0.1, 1e-320, 1e300, 9007199254740992.0, 1e22, float("nan"), float("-inf")])
KINDS: dict[str, st.SearchStrategy] = {
    "whole": st.integers(-5, 5),
    "any whole": WHOLE,
    "number": st.integers(-5, 5) | st.floats(-10, 10),
    "any number": WHOLE | DOUBLES,
    "flag": st.booleans(),
    "text": TEXTS,
    "null": st.none(),
    "list": st.lists(st.none() | st.floats(-2, 2) | st.integers(0, 3), max_size=3),
    "texts": TEXTS | st.lists(TEXTS, max_size=2),
    "struct": st.fixed_dictionaries({}, optional={"x": WHOLE, "y": st.lists(TEXTS, max_size=2), "z": st.just({})}),
    "anything": st.recursive(
        st.none() | st.booleans() | WHOLE | DOUBLES | TEXTS,
        lambda inner: st.lists(inner, max_size=2) | st.dictionaries(TEXTS, inner, max_size=2),
        max_leaves=4,
    ),
}
ODD = [
    *('{"a": 1, "a": 2}', '{"a": "\\ud83d"}', '{"a": "\\ude00\\ud83d"}', '{"a": -0}', '{"a": -0.0}', '{"a": 1e5}'),
    *('{"a": 1.0}', '{"a": 1}{"a": 2}', '{"a": 1} {}', '{"a": 1', "1}", '{"a": {', "}}", "[]", "{}", "", " ", "\t\r"),
    *('{"a": 01}', '{"a": 1,}', '{"a": 1e400}', '{"a": 00}', "{'a': 1}", "\ufeff{}", '{"a": 1} x', '{"a": +1}'),
    *('{"a": "x\ty"}', '{"a": "}', '{"a": 0.1234567890123456789}', '{"a": 1234567890123456789012}', "null", "\f"),
    *('{"a": {"x": 1, "x": 2}}', '{"\\u0061": 3}', '{"malformed": 1}', '{"image:tar": "x"}', '{"": 1}', '{"a": [{}]}'),
    *('{"a": "\\/\\b\\u0000"}', '{"a": "\\x"}', '{"a": nul}', '{"a": .5}', '{"a": 5.}', '{"a": 1E2}', '  {"a": 2}  '),
]


@st.composite
def files(draw: st.DrawFn) -> bytes:
    """Objects whose columns have a kind each, most of them; some lines odd."""
    names = draw(st.lists(st.sampled_from(["a", "b", "url", "é", "x y"]), min_size=1, max_size=3, unique=True))
    kinds = {name: KINDS[draw(st.sampled_from(sorted(KINDS)))] for name in names}
    rows = st.fixed_dictionaries({}, optional=kinds) if draw(st.booleans()) else st.fixed_dictionaries(kinds)
    plain = st.builds(json.dumps, rows, ensure_ascii=st.booleans())
    line = plain | st.sampled_from(ODD) if draw(st.booleans()) else plain
    end = draw(st.sampled_from(["\n", "\n", "\r\n", "\n\n"]))
    text = end.join(draw(st.lists(line, max_size=25))) + draw(st.sampled_from(["", end]))
    return text.encode("utf-8", "replace")


def read(file: Path, batch_rows: int = 4) -> tuple[jsonl.Scan, pa.Schema, list[pa.RecordBatch]]:
    scan = jsonl.scan(str(file))
    return scan, jsonl.schema(str(file)), list(jsonl.read(str(file), batch_rows=batch_rows, types=scan.schema))


def same(one: list[pa.RecordBatch], other: list[pa.RecordBatch]) -> bool:
    """Equal to the last bit: -0 is not 0, and NaN is NaN; batches begin at the same rows."""
    assert [batch.num_rows for batch in one] == [batch.num_rows for batch in other]
    for batch in one:
        batch.validate(full=True)
    return repr([batch.to_pylist() for batch in one]) == repr([batch.to_pylist() for batch in other])


@settings(max_examples=FILES, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=files(), least=st.sampled_from([1, 60, 400]), block=st.sampled_from([64, 1 << 20]))
def test_arrow_and_line_by_line_are_equal(tmp_path, data, least, block):
    """Rows, types, remarks and batches, whatever is in the lines and wherever parts end."""
    file = tmp_path / "x.jsonl"
    file.write_bytes(data)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(json_lines, "LEAST_BYTES", least)
        patch.setattr(json_lines, "MOST_BYTES", 8 * least)
        patch.setattr(text_lines, "BLOCK_BYTES", block)
        patch.setattr(jsonl, "SAMPLE_ROWS", 3)
        scan, schema, batches = read(file)
        patch.setattr(json_lines, "strict", lambda lines, columns: None)
        careful, careful_schema, careful_batches = read(file)
    assert scan.rows == careful.rows and schema.equals(careful_schema)
    assert scan.schema.equals(careful.schema) and scan.remarks.to_json() == careful.remarks.to_json()
    assert same(batches, careful_batches)


@pytest.fixture
def parsed(monkeypatch) -> list[bytes]:
    """Lines that are parsed one by one."""
    lines = list[bytes]()
    parse = json_rows.parse
    monkeypatch.setattr(json_rows, "parse", lambda line, *rest: (lines.append(line), parse(line, *rest))[1])
    return lines


def plain_lines(rows: int) -> list[str]:
    return [
        json.dumps(
            {"url": f"http://h.example/{i}.jpg", "text": "a 🐕\n", "n": i, "p": i / 7, "tags": ["a"], "at": {"x": i}}
        )
        for i in range(rows)
    ]


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_plain_lines_are_arrow_s(tmp_path, parsed, end):
    """Line by line are only those that show what the columns are; a file of known columns has none."""
    lines = plain_lines(20_000)
    (tmp_path / "x.jsonl").write_bytes(end.join(lines).encode())
    scan = jsonl.scan(str(tmp_path / "x.jsonl"))
    assert scan.rows == 20_000 and 0 < len(parsed) < 1_000
    parsed.clear()
    (batch,) = jsonl.read(str(tmp_path / "x.jsonl"), batch_rows=30_000, types=scan.schema)
    assert batch.num_rows == 20_000 and len(parsed) <= jsonl.SAMPLE_LINES
    assert batch.to_pylist()[-1] == json.loads(lines[-1]) | {"malformed": None}


def test_an_odd_line_takes_few_with_it(tmp_path, parsed):
    lines = plain_lines(40_000)
    lines[30_000] = "oops"
    (tmp_path / "x.jsonl").write_text("\n".join(lines))
    scan = jsonl.scan(str(tmp_path / "x.jsonl"))
    assert scan.remarks.lines() == ["1 malformed (line 30001: oops)"]
    assert len(parsed) < 2_000
