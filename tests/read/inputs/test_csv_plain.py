"""Blocks of plain lines are read as a whole, and as `csv_rows` reads them line by line."""

from __future__ import annotations

import csv as python_csv
import io
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from test_csv import FILES

from curate.read import csv_rows, text_lines
from curate.read.csv_dialect import Dialect
from curate.read.csv_plain import plain
from curate.read.inputs import csv

FIELDS = st.text(st.sampled_from("ab :/é\ufeff\0"), max_size=5) | st.sampled_from(["http://h.example/1.jpg", ""])
ODD_FIELDS = FIELDS | st.text(st.sampled_from('ab,\t;"\n\r\x1f'), max_size=5)
#: Lines of two fields that are rows by the rules, and lines that are not or need a closer look.
LAWFUL = [",", '"""a",b', "\ufeffa,b", '"a,,b",', '"",""', "a\0,b\x1f"]
ODD = [
    *('"', 'a"b,c', '"a,b', 'a,"b" c', '"a""b","c" ', '""', '"","",""', "a,b\x1f,", ",,,", "a,b,", "a,b,,", "a", "\r"),
    *('"a\nb",c', '"a",b"', 'a,"b', 'c",d', "a,b\rc", '"a\r\nb",c', "", " ", "a,b\r", '"a"\r,b', "a\x1fb", '"a" ,b'),
]


@st.composite
def files(draw: st.DrawFn) -> tuple[str, bytes]:
    """A file by the rules of CSV, all of it or most."""
    width, separator = draw(st.integers(1, 3)), draw(st.sampled_from(",\t;"))
    odd, end = draw(st.booleans()), draw(st.sampled_from(["\n", "\r\n"]))
    quoting = draw(st.sampled_from([python_csv.QUOTE_MINIMAL, python_csv.QUOTE_ALL]))
    names = draw(st.permutations(["url", "text", "n"]))[:width]
    lines = []
    for row in [
        names,
        *draw(st.lists(st.lists(ODD_FIELDS if odd else FIELDS, min_size=width, max_size=width), max_size=20)),
    ]:
        out = io.StringIO()
        python_csv.writer(out, delimiter=separator, lineterminator=end, quoting=quoting).writerow(row)
        lines.append(out.getvalue())
        if odd and draw(st.integers(0, 5)) == 0:
            lines.append(
                draw(st.sampled_from([*LAWFUL, *ODD])).replace(",", separator) + draw(st.sampled_from(["\n", end]))
            )
    text = "".join(lines)
    ending = "csv" if separator != "\t" else draw(st.sampled_from(["tsv", "txt"] if width > 1 else ["tsv"]))
    return f"x.{ending}", (text.removesuffix(end) if draw(st.booleans()) else text).encode()


def read(file: Path) -> tuple:
    scan = csv.scan(str(file))
    batches = list(csv.read(str(file), batch_rows=4))
    for batch in batches:
        batch.validate(full=True)
    return (
        scan.rows,
        scan.schema,
        scan.remarks.to_json(),
        [batch.to_pylist() for batch in batches],
        csv.schema(str(file)),
    )


@settings(max_examples=FILES, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(written=files(), block=st.sampled_from([16, 64, 1 << 20]))
def test_as_a_whole_and_line_by_line_are_equal(tmp_path, written, block):
    """Rows, remarks and batches, whatever is in the lines and wherever blocks end."""
    file = tmp_path / written[0]
    file.write_bytes(written[1])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(text_lines, "BLOCK_BYTES", block)
        fast = read(file)
        patch.setattr(csv, "plain", lambda data, dialect: None)
        assert fast == read(file)


@pytest.mark.parametrize("line", LAWFUL)
def test_a_lawful_line_is_plain(line):
    block = plain(f"a,b\n{line}\nc,d\n".encode(), Dialect(",", 2, returns=False))
    assert block and block.count() == block.table(["a", "b"], "malformed").num_rows == 3


@pytest.mark.parametrize("line", ODD)
def test_an_odd_line_is_not_plain(line):
    assert plain(f"a,b\n{line}\nc,d\n".encode(), Dialect(",", 2, returns=False)) is None


@pytest.mark.parametrize("line", ["a,b\rc", "a\r,b", "\ra,b", '"a\r",b', '"a\r\nb",c', "a,b\r\r"])
def test_a_return_that_ends_no_line(line):
    dialect = Dialect(",", 2, returns=True)
    assert plain(b"a,b\r\nc,d\n", dialect) and plain(b"a,b\r\nc,d\r", dialect) is None
    assert plain(f"a,b\r\n{line}\r\nc,d\r\n".encode(), dialect) is None


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_plain_files_are_read_as_a_whole(tmp_path, monkeypatch, end):
    """Also with quotes by the rules; one odd line costs its block alone."""
    blocks = list[int]()
    first = csv_rows.Block.__init__
    monkeypatch.setattr(csv_rows.Block, "__init__", lambda self, *rest: (blocks.append(rest[2]), first(self, *rest))[1])
    monkeypatch.setattr(text_lines, "BLOCK_BYTES", 100_000)
    lines = [f'http://h.example/{i}.jpg,"a 🐕, ""{i}"""' for i in range(20_000)]
    (tmp_path / "x.csv").write_bytes(end.join(["url,text", *lines]).encode())
    rows = pa.Table.from_batches(csv.read(str(tmp_path / "x.csv")))
    assert rows.num_rows == 20_000 == csv.scan(str(tmp_path / "x.csv")).rows and not blocks
    assert rows["text"][-1].as_py() == 'a 🐕, "19999"'
    lines[10_000] = "oops"
    (tmp_path / "x.csv").write_bytes(end.join(["url,text", *lines]).encode())
    assert csv.scan(str(tmp_path / "x.csv")).remarks.lines() == ["1 malformed (line 10002: oops)"]
    assert len(blocks) == 1
