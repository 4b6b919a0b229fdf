"""`curate list`: what ships, a line each, and one of it in full."""

from __future__ import annotations

import pytest

from curate.errors import CurateError
from curate.look import listing

OPS = '''
import pyarrow as pa
from curate.function import score_function
from curate.op import Score


@score_function(reads="text", makes={"loud": pa.float32()}, cite="a paper")
def loud(text, mark: str = "!", most: float | None = None):
    """Share of characters
    that are `mark`."""


class Near(Score):
    bank: str

    def reads(self):
        return (f"{self.bank}_img",)

    def makes(self):
        return {"near": pa.bool_()}

    def batch(self, rows):
        return {"near": []}
'''


@pytest.fixture
def my_listed_ops(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "my_listed_ops.py").write_text(OPS)
    return "my_listed_ops"


def test_the_library_lists_what_ships(capsys):
    listing.print_library()
    text = capsys.readouterr().out
    for name in ("score.words", "dedupe.exact", "balance.metaclip", "datacomp_basic", "parquet", "webdataset"):
        assert name in text
    assert "demo" in text


def test_an_op_in_full(capsys):
    listing.print_one("score.words")
    text = capsys.readouterr().out
    assert text.startswith("score.words: Words and characters of the caption, as DataComp counts them.\n\n`words` is")
    assert "\ntable    words\nreads    text\nmakes    words: int32, characters: int32\n" in text
    assert "\noption   batch_size: int = 10000\n" in text


@pytest.mark.parametrize(
    ("name", "lines"),
    [
        ("dedupe.exact", ["keeps    dup_url_of IS NULL, else: the same url", "step     'duplicates' of `dedupe:`"]),
        (
            "balance.one_text",
            [
                "keeps    one_text_keep, else: not drawn by MetaCLIP 2",
                "reason   for each row in one_text_why",
                "step     'one_text' of `balance:`",
            ],
        ),
        ("score.words", []),
    ],
)
def test_what_an_op_decides(name, lines, capsys):
    listing.print_one(name)
    text = capsys.readouterr().out.splitlines()
    assert [line for line in text if line.startswith(("keeps ", "reason ", "step "))] == lines


def test_a_function_of_a_user_s(my_listed_ops, capsys):
    listing.print_one(f"{my_listed_ops}:loud")
    assert capsys.readouterr().out.splitlines() == [
        "my_listed_ops:loud",
        "",
        "Share of characters",
        "that are `mark`.",
        "",
        "table    loud",
        "reads    text",
        "makes    loud: float",
        "option   name: str = ''",
        "option   batch_size: int = 256",
        "option   mark: str = '!'",
        "option   most: float | None = None",
        "cite     a paper",
    ]


def test_columns_that_hang_on_an_option_that_is_required(my_listed_ops, capsys):
    listing.print_one(f"{my_listed_ops}:Near")
    text = capsys.readouterr().out
    assert "(it has no docstring)" in text and "option   bank: str\n" in text
    assert "columns  depend on its options (my_listed_ops:Near: option 'bank' is required)" in text


@pytest.mark.parametrize("name", ["coyo", "web"])
def test_a_filter_and_a_pipeline_are_shown_as_their_files_have_them(name, capsys):
    listing.print_one(name)
    text = capsys.readouterr().out
    assert text.startswith("# ") and text.splitlines()[0].endswith(f"{name}.yaml") and f"\nname: {name}\n" in text


@pytest.mark.parametrize(
    ("name", "near"),
    [("score.wrds", "score.words"), ("wrods", "score.words"), ("exakt", "dedupe.exact"), ("cojo", "coyo")],
)
def test_a_name_that_nothing_has_is_told_with_the_nearest(name, near):
    with pytest.raises(CurateError, match=rf"no op, filter or pipeline '{name}' \(did you mean '{near}'\?\)"):
        listing.print_one(name)


def test_a_module_that_is_not_there():
    with pytest.raises(CurateError, match="no module named 'no_such_module'"):
        listing.print_one("no_such_module:loud")
