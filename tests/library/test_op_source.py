"""An edited op of the user is another op; comments and layout are not its meaning."""

from __future__ import annotations

import importlib
import sys
from types import ModuleType

import pytest

from curate.catalog import find, load
from curate.errors import CurateError

OP = '''
"""An op."""
import pyarrow as pa
from curate.op import Score
from {helper} import factor

class Marks(Score):
    """Counts."""
    def reads(self):
        return ("text",)

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


@pytest.mark.parametrize(
    "statement",
    ["from marks_scale import SCALE", "import marks_scale", "def late():\n    from marks_scale import SCALE"],
)
def test_a_constant_of_another_module_is_part_of_it(tmp_path, monkeypatch, statement):
    """A number does not know where it comes from, and what a function imports may not be loaded yet."""
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "marks_op.py").write_text(OP.format(helper="marks_factor", value="1") + f"\n{statement}\n")
    (tmp_path / "marks_factor.py").write_text("def factor():\n    return 2\n")
    codes = []
    for scale in ("SCALE = 1", "SCALE = 1  # the same", "SCALE = 10"):
        (tmp_path / "marks_scale.py").write_text(scale + "\n")
        for name in ("marks_op", "marks_factor", "marks_scale"):
            sys.modules.pop(name, None)
        importlib.invalidate_caches()
        codes.append(load("marks_op:Marks").spec()["code"])
        importlib.import_module("marks_scale")
        assert load("marks_op:Marks").spec()["code"] == codes[-1], "whether it is loaded makes no difference"
    assert codes[0] == codes[1] != codes[2]
    for name in ("marks_op", "marks_factor", "marks_scale"):
        sys.modules.pop(name, None)


def test_relative_imports_lead_to_their_modules(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(tmp_path))
    package = tmp_path / "marks_package"
    (package / "inner").mkdir(parents=True)
    (package / "__init__.py").write_text("")
    (package / "inner" / "__init__.py").write_text("")
    (package / "inner" / "op.py").write_text(OP.format(helper="..factor", value="1") + "\nfrom . import scale\n")
    (package / "inner" / "scale.py").write_text("from ..deep import DEPTH\n")
    (package / "factor.py").write_text("def factor():\n    return 2\n")
    codes = set()
    for depth in (1, 2):
        (package / "deep.py").write_text(f"DEPTH = {depth}{'0' * depth}\n")
        for name in [name for name in sys.modules if name.startswith("marks_package")]:
            sys.modules.pop(name)
        importlib.invalidate_caches()
        codes.add(load("marks_package.inner.op:Marks").spec()["code"])
    for name in [name for name in sys.modules if name.startswith("marks_package")]:
        sys.modules.pop(name)
    assert len(codes) == 2


def test_ops_that_ship_have_a_version_instead():
    assert "code" not in load("score.words").spec()
    assert find("score.words").version >= 1


def test_an_op_of_no_file_is_refused_but_can_be_tried(monkeypatch):
    """A notebook's cells leave no source behind: an edited op would pass for the one before."""
    module = ModuleType("no_file_ops")
    monkeypatch.setitem(sys.modules, "no_file_ops", module)
    exec(OP.format(helper="builtins", value="1").replace("import factor", "import len as factor"), vars(module))
    op = module.Marks()
    with pytest.raises(CurateError, match=r"Marks is defined in no file.*write it into a module, my_ops\.py"):
        load(op)
    module.factor = lambda: 5
    assert op.apply({"text": ["a", "b"]}) == {"marks": [5, 5]}


def test_an_edited_module_that_was_not_loaded_again_is_told(tmp_path, monkeypatch):
    """In a notebook: the old code would run, and its values pass for those of the new."""
    monkeypatch.syspath_prepend(str(tmp_path))
    for name in ("marks_op", "marks_factor"):
        sys.modules.pop(name, None)
    (tmp_path / "marks_factor.py").write_text("def factor():\n    return 2\n")
    (tmp_path / "marks_op.py").write_text(OP.format(helper="marks_factor", value="1"))
    importlib.invalidate_caches()
    # Before curate has looked at the class.
    first = importlib.import_module("marks_op").Marks
    (tmp_path / "marks_op.py").write_text(OP.format(helper="marks_factor", value="1000"))
    with pytest.raises(CurateError, match=r"marks_op.py has changed since it was imported.*reload\(marks_op\)"):
        load("marks_op:Marks")
    importlib.reload(sys.modules["marks_op"])
    code = load("marks_op:Marks").spec()["code"]
    with pytest.raises(CurateError, match="before it was loaded again: take it anew"):
        load(first)
    (tmp_path / "marks_factor.py").write_text("def factor():\n    return 2000\n")
    with pytest.raises(CurateError, match=r"marks_factor\.py has changed"):
        load("marks_op:Marks")
    importlib.reload(sys.modules["marks_factor"])
    assert load("marks_op:Marks").spec()["code"] != code
    for name in ("marks_op", "marks_factor"):
        sys.modules.pop(name, None)
