"""What the command line prints: exact sums, all reasons, and names as they are, brackets too."""

from __future__ import annotations

import io

import pytest
from conftest import HERE, MakeStore
from rich.console import Console

from curate.annotate.step import annotate
from curate.catalog import load_all
from curate.errors import CurateError
from curate.filter.rule import Filter
from curate.filter.step import select
from curate.look import show
from curate.look.results import WriteResult

pytestmark = pytest.mark.slow

STEPS = [
    {
        "step": "captions",
        "entered": 12000,
        "kept": 9000,
        "dropped": {"two [words] or fewer": 2000, "not English": 1000},
    },
    {"step": "download", "entered": 9000, "kept": 9000, "dropped": {}},
    {"step": "fit", "entered": 9000, "kept": 3000, "dropped": {f"reason {n}": 400 for n in range(15)}},
]


@pytest.fixture
def printed(monkeypatch: pytest.MonkeyPatch):
    """Prints on 160 columns without colour; gives the text."""
    file = io.StringIO()
    monkeypatch.setattr(show, "out", Console(file=file, width=160, highlight=False))
    return file.getvalue


def lines(text: str) -> list[list[str]]:
    return [line.split() for line in text.splitlines()]


def test_the_funnel_of_literal_steps(printed) -> None:
    show.print_funnel(STEPS)
    text = printed()
    said = lines(text)
    assert said[0] == ["step", "rows", "why"]
    assert said[1] == ["in", "12,000"]
    assert said[2] == ["captions", "-3,000"]
    assert said[3] == ["2,000", "two", "[words]", "or", "fewer"]
    assert said[5] == ["download", "0"]
    assert said[6] == ["fit", "-6,000"]
    assert ["1,200", "3", "other", "reasons"] in said
    assert said[-2] == ["kept", "3,000", "25.0%"]
    assert text.endswith("3,000 kept + 9,000 dropped = 12,000 in: exact\n")


def test_a_sum_that_is_not_exact_says_so(printed) -> None:
    show.print_funnel(
        [{"step": "a", "entered": 10, "kept": 5, "dropped": {"x": 5}}, {**STEPS[1], "entered": 4, "kept": 4}]
    )
    assert "4 kept + 5 dropped = 10 in: NOT EXACT, please report this" in printed()


def test_no_steps_at_all(printed) -> None:
    show.print_funnel([], rows=1234)
    assert "1,234 kept + 0 dropped = 1,234 in: exact" in printed()


def test_what_was_written(printed) -> None:
    written = WriteResult("s3://b/[x]", 2990, 3, 1_234_567, {"fit": 4, "x": 6}, STEPS)
    show.print_funnel(STEPS, written)
    assert "written: 2,990 samples in 3 shards, 1.2 MB; 10 kept rows have no image: s3://b/[x]\n" in printed()


@pytest.mark.parametrize("name", ["a\\", "[/]", "[bold]x", "x[/bold]"])
def test_names_are_printed_as_they_are(printed, name: str) -> None:
    show.print_funnel([{"step": name, "entered": 2, "kept": 1, "dropped": {name: 1}}])
    assert printed().count(name) == 2


def test_a_store(printed, make_store: MakeStore) -> None:
    view = annotate(make_store(25, rows_per_shard=10), load_all(["score.words"]), HERE)
    select(view, Filter(name="some", where={"too few": "words > 30"}))
    show.print_store(view.store.url)
    text = printed()
    assert f"{view.store.url}: 25 rows in 3 shards" in text
    assert "(parquet, 1 file, 25 rows)" in text
    assert "0 kept + 25 dropped = 25 in: exact" in text
    assert "score.words v1" in text
    assert "filter: words > 30" in text


def test_a_store_without_a_filter_is_shown_too(printed, make_store: MakeStore) -> None:
    view = make_store(3)
    show.print_store(view.store.url)
    assert "nothing was filtered yet" in printed()
    with pytest.raises(CurateError, match="no filter step 'x'"):
        show.print_store(view.store.url, "x")


def test_which_columns_were_taken_is_shown(make_store, capsys):
    view = make_store([{"url": "http://a.example/1.jpg", "text": "a dog"}])
    show.print_store(view.store.url)
    assert "url <- url, text <- text" in capsys.readouterr().out
