"""The funnel by a column: every row is counted under its value, once, and the sums are those of the funnel."""

from __future__ import annotations

import random
from collections import Counter
from pathlib import Path

import polars as pl
import pytest
from conftest import MakeStore
from typer.testing import CliRunner

import curate
from curate.cli import app
from curate.errors import CurateError
from curate.filter.rule import Filter
from curate.filter.step import select
from curate.look import funnel_by as module
from curate.look.funnel_by import funnel_by
from curate.store.view import View


@pytest.fixture
def view(make_store: MakeStore) -> View:
    draw = random.Random(1)
    rows = [{"source": draw.choice(["web", "web", "books", None]), "n": draw.randint(0, 9)} for _ in range(500)]
    rows += [{"source": "clean", "n": 9}, {"source": "lost", "n": 0}]
    first, _ = select(make_store(rows, 60), Filter(name="small", where={"small": "n > 2"}))
    return select(first, Filter(name="even", where={"even": "n % 2 = 1"}))[0]


def test_against_a_count_of_all_rows(view: View) -> None:
    frame = curate.open(view.store.url).table("source", "dropped_by", "kept").collect()
    rows = [
        (source or "null", str(step) if step else None)
        for source, step in frame.select(pl.col("source"), pl.col("dropped_by").cast(pl.String)).rows()
    ]
    counts, total = Counter(rows), Counter(source for source, _ in rows)
    expected = {
        (source, total[source], step, count, counts[(source, None)]) for (source, step), count in counts.items() if step
    } | {("clean", 1, None, 0, 1)}
    lines = funnel_by(view.store.url, "source")
    assert lines.columns == ["value", "rows", "step", "dropped", "kept"] and set(lines.rows()) == expected
    assert lines["rows"].to_list() == sorted(lines["rows"], reverse=True)
    assert lines.filter(pl.col("value") == "web")["step"].to_list() == ["small", "even"]


def test_up_to_a_step(view: View) -> None:
    assert set(funnel_by(view.store.url, "source", "small")["step"]) == {"small", None}


def test_what_the_command_and_the_page_show(view: View, tmp_path: Path) -> None:
    shown = CliRunner().invoke(app, ["show", view.store.url, "--by", "source"], catch_exceptions=False).output
    lines = {line.split()[0]: line.split()[1:] for line in shown.splitlines()}
    assert lines["source"] == ["in", "small", "even", "kept", "share"]
    assert lines["clean"] == ["1", "0", "0", "1", "100.0%"] and lines["lost"] == ["1", "-1", "0", "0", "0.0%"]
    kept = curate.open(view.store.url).funnel()["left"].to_list()[-1]
    assert f"{kept:,} of 502 rows kept, 5 values of source" in shown
    page = Path(curate.report(view.store.url, str(tmp_path / "a.html"), by="source")).read_text()
    assert "<h2>Funnel by source" in page and '<td>clean</td><td class="n">1</td>' in page
    assert "Funnel by" not in Path(curate.report(view.store.url, str(tmp_path / "b.html"))).read_text()


def test_columns_that_tell_no_sources_apart(view: View, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(CurateError, match=r"no column 'sorce' \(did you mean 'source'"):
        funnel_by(view.store.url, "sorce")
    monkeypatch.setattr(module, "MOST_VALUES", 4)
    with pytest.raises(CurateError, match="'uid' has over 4 values"):
        funnel_by(view.store.url, "uid")


def test_lists_are_refused(make_store: MakeStore) -> None:
    view, _ = select(make_store([{"tags": ["a", "b"]}]), Filter(name="f", where={"x": "1 = 1"}))
    with pytest.raises(CurateError, match="'tags' holds List"):
        funnel_by(view.store.url, "tags")
