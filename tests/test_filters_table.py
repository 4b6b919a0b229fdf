"""README.md lists every filter as its file has it."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest

import curate
from curate.catalog import library
from curate.filter.rule import load_filter

ROOT = Path(curate.__file__).parent.parent
TOOL = runpy.run_path(str(ROOT / "tools" / "filters_table.py"))


def test_the_readme_is_up_to_date():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert TOOL["with_table"](text) == text, "run `python tools/filters_table.py`"


@pytest.mark.parametrize("name", library("filters"))
def test_every_filter_has_a_line_with_what_it_says_of_itself(name):
    rule = load_filter(name)
    line = TOOL["line"](rule)
    assert line.startswith(f"| `{name}` |") and line.count(" | ") == 4
    assert rule.rule in line and rule.published in line and rule.requires in line


def test_a_line():
    columns = {"clip_b32": {"score.clip": {"model": "ViT-B-32/openai"}}, "words": "score.words"}
    rule = load_filter(
        {"name": "x", "about": "Best pairs. More of it.", "cite": "A, 2023", "columns": columns, "keep": "words > 2"}
    )
    assert TOOL["line"](rule) == "| `x` | Best pairs | A, 2023 |  | score.clip ViT-B-32/openai, score.words |"
    more = rule.model_copy(update={"rule": "CLIP | words", "published": ".312", "requires": "a file", "columns": {}})
    more.__dict__.pop("ops", None)
    assert TOOL["line"](more) == "| `x` | CLIP / words | A, 2023 | .312 | a file |"


def test_a_readme_without_the_marks_is_told():
    with pytest.raises(SystemExit, match=r"README.md has no lines"):
        TOOL["with_table"]("no table")
