"""Names say what a thing is, not what happened to it: `found`, `made`, `left` and their like name nothing."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest

import curate

PACKAGE = Path(curate.__file__).parent
empty_names = runpy.run_path(str(PACKAGE.parent / "tools" / "plain_words.py"))["empty_names"]


@pytest.mark.parametrize(
    ("source", "names"),
    [
        ("found = 1", [(1, "found")]),
        ("def _made(given, *, told): pass", [(1, "_made"), (1, "given"), (1, "told")]),
        ("for mine in x: pass\nwith y as there: pass", [(1, "mine"), (2, "there")]),
        ("class A:\n    have: int = 1\n    def b(self):\n        self._left = 2", [(2, "have"), (4, "_left")]),
        ("print(x.found, f(found=1), 'made')", []),
        ("def f():\n    left, right = 1, 2", []),
        ("def f():\n    left = 1\ndef g():\n    right = 2", [(2, "left")]),
        ("rows_left = found_at = 1", []),
    ],
)
def test_what_counts(source, names):
    assert empty_names(source) == names


@pytest.mark.parametrize("room", sorted({p.relative_to(PACKAGE).parts[0] for p in PACKAGE.rglob("*.py")}))
def test_a_name_says_what_a_thing_is(room):
    files = [PACKAGE / room] if room.endswith(".py") else sorted((PACKAGE / room).rglob("*.py"))
    assert {str(file): names for file in files if (names := empty_names(file.read_text()))} == {}
