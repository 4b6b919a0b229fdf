"""An edited op of the user is another op; comments and layout are not its meaning."""

from __future__ import annotations

import importlib
import sys

import pytest

from curate.catalog import find, load

OP = '''
"""An op."""
import pyarrow as pa
from curate.op import Score
from {helper} import factor

class Marks(Score):
    """Counts."""
    reads = ("text",)

    def makes(self):
        return {{"marks": pa.int64()}}

    def batch(self, rows):
        return {{"marks": [{value} * factor() for _ in range(len(rows))]}}
'''


@pytest.fixture
def written(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(tmp_path))

    def write(value: str = "1", factor: str = "return 2", comment: str = "") -> str:
        (tmp_path / "marks_factor.py").write_text(f"def factor():\n    {factor}\n")
        (tmp_path / "marks_op.py").write_text(OP.format(helper="marks_factor", value=value) + comment)
        for name in ("marks_op", "marks_factor"):
            sys.modules.pop(name, None)
        importlib.invalidate_caches()
        return load("marks_op:Marks").spec()["code"]

    yield write
    for name in ("marks_op", "marks_factor"):
        sys.modules.pop(name, None)


def test_the_code_is_part_of_the_identity(written):
    assert written() == written()
    assert len({written(), written(value="3"), written(factor="return 5")}) == 3


def test_comments_docstrings_and_layout_do_not_count(written):
    assert written() == written(comment="\n\n# a remark\n") == written(factor="'''Two.'''\n    return 2")


def test_ops_that_ship_have_a_version_instead():
    assert "code" not in load("score.words").spec()
    assert find("score.words").version >= 1
