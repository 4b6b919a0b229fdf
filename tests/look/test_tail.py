"""`curate tail`: how many rows of each entry or concept are left after each step, and where too few are."""

from __future__ import annotations

import random
from pathlib import Path

import polars as pl
import pytest
from conftest import HERE, MakeStore
from typer.testing import CliRunner

import curate
from curate.annotate.step import annotate
from curate.catalog import load
from curate.cli import app
from curate.errors import CurateError
from curate.filter.rule import Filter
from curate.filter.step import select
from curate.look.tail import shortfalls, tail

NAMES = "\n".join(f"c{number:02}" for number in range(30)) + "\n"


def store_of(make_store: MakeStore, concepts: list[list[int]], ns: list[int], **more: list[object]) -> str:
    rows = [
        {"concepts": of, "n": n, **{name: values[i] for name, values in more.items()}}
        for i, (of, n) in enumerate(zip(concepts, ns, strict=True))
    ]
    first, _ = select(make_store(rows, 40), Filter(name="size", where={"small": "n > 0"}))
    select(first, Filter(name="fit", where={"bad": "n > 1"}))
    return first.store.url


def test_where_a_concept_falls_short(make_store: MakeStore, tmp_path: Path) -> None:
    """c00: 120 rows, 25 dropped by size, 90 by fit: 5 stay. c01: 12, all dropped by size. c02: 9 from the beginning."""
    rows = [(0, 0)] * 25 + [(0, 1)] * 90 + [(0, 2)] * 5 + [(1, 0)] * 12 + [(2, 2)] * 9
    root = store_of(make_store, [[c] for c, _ in rows], [n for _, n in rows])
    names = tmp_path / "names.tsv"
    names.write_text("zero\none\ntwo\nthree\nfour\n")
    lines = {row["name"]: row for row in tail(root, "concepts", str(names)).iter_rows(named=True)}
    parts = ("rows", "is_tail", "dropped_by_size", "dropped_by_fit", "kept", "none_at", "under_10_at", "under_100_at")
    assert {name: tuple(row[part] for part in parts) for name, row in lines.items()} == {
        "zero": (120, False, 25, 90, 5, None, "fit", "size"),
        "one": (12, False, 12, 0, 0, "size", "size", "in"),
        "two": (9, False, 0, 0, 9, None, "in", "in"),
        "three": (0, False, 0, 0, 0, "in", "in", "in"),
        "four": (0, True, 0, 0, 0, "in", "in", "in"),
    }
    short = shortfalls(tail(root, "concepts", str(names)), ["size", "fit"])
    assert short.rows() == [("in", 2, 3, 4), ("size", 3, 4, 5), ("fit", 3, 5, 5)]
    shown = CliRunner().invoke(
        app, ["tail", root, "--by", "concepts", "--names", str(names), "--output", str(tmp_path / "t.csv")]
    )
    assert shown.exit_code == 0 and "5 lines, 1 fell below 100 rows at a step" in shown.output
    assert pl.read_csv(tmp_path / "t.csv").height == 5
    assert curate.tail(root, "concepts").height == 3


def test_answers_of_a_verifier(make_store: MakeStore) -> None:
    answers: list[object] = [True, False, None, True, None]
    root = store_of(make_store, [[0], [0], [0], [0, 1], [2]], [2] * 5, yes=answers)
    lines = tail(root, "concepts", verified="yes")
    assert lines.select("number", "rows", "frequency").rows() == [(1, 1, 1.0), (0, 4, 4 * 2 / 3), (2, 1, None)]


def test_entries_know_their_list(make_store: MakeStore, tmp_path: Path) -> None:
    (tmp_path / "list.json").write_text('["dog", "cat", "red dog"]')
    view = make_store([{"text": "a red dog"}, {"text": "dog"}, {"text": None}])
    view = annotate(view, [load({"score.entries": {"metadata": str(tmp_path / "list.json")}})], HERE)
    select(view, Filter(name="f", where={"short": "text != 'dog'"}))
    lines = tail(view.store.url)
    assert lines.select("name", "rows", "kept").rows() == [("cat", 0, 0), ("red dog", 1, 1), ("dog", 2, 1)]


def test_against_a_count_of_all_rows(make_store: MakeStore) -> None:
    draw = random.Random(3)
    concepts = [sorted(draw.sample(range(30), draw.randint(0, 3))) for _ in range(500)]
    ns = [draw.randint(0, 3) for _ in concepts]
    lines = tail(store_of(make_store, concepts, ns), "concepts")
    for row in lines.iter_rows(named=True):
        of = [n for c, n in zip(concepts, ns, strict=True) if row["number"] in c]
        assert (row["rows"], row["dropped_by_size"], row["dropped_by_fit"]) == (len(of), of.count(0), of.count(1))
        left = {"in": len(of), "size": len(of) - of.count(0), "fit": len(of) - of.count(0) - of.count(1)}
        for limit, column in ((1, "none_at"), (10, "under_10_at"), (100, "under_100_at")):
            assert row[column] == next((step for step, rows in left.items() if rows < limit), None)
    assert lines["rows"].to_list() == sorted(lines["rows"]) and lines["is_tail"].sum() == lines.height // 5


def test_faults(make_store: MakeStore, tmp_path: Path) -> None:
    root = store_of(make_store, [[7]], [2])
    (tmp_path / "short.tsv").write_text("a\nb\n")
    for arguments, fault in (
        (("concept",), r"no column 'concept' \(did you mean 'concepts'"),
        (("n",), "'n' holds Int64, expected lists of numbers"),
        (("concepts", "none.tsv"), r"tail: no file 'none.tsv'"),
        (("concepts", str(tmp_path / "short.tsv")), "'concepts' has number 7, and the list has 2"),
        (("concepts", "", "n"), "'n' holds Int64, expected true, false or null"),
    ):
        with pytest.raises(CurateError, match=fault):
            tail(root, *arguments)
