"""An error in a user's op shows the user's own line, before any work where it can be seen before."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from curate.annotate.step import annotate
from curate.catalog import load
from curate.cluster.cluster import Cluster
from curate.errors import CurateError
from curate.pipeline.place_check import op_faults

GOOD = """
import pyarrow as pa; from typing import ClassVar
from curate.op import Score


class Loud(Score):
    mark: str = "!"

    def reads(self):
        return ("text",)

    def makes(self):
        return {"loud": pa.float32()}

    def batch(self, rows):
        return {"loud": [text.count(self.mark) for text in rows["text"].to_pylist()]}
"""

READS = 'def reads(self):\n        return ("text",)'
MAKES = 'def makes(self):\n        return {"loud": pa.float32()}'

#: What is changed in the good op, into what, and what the error holds.
FAULTS = {
    "untyped": ('mark: str = "!"', 'mark = "!"', 'line 7: mark = "!": an option needs its type: `mark: str ='),
    "untyped_list": (
        'mark: str = "!"',
        "marks = [1, 2]",
        "line 7: marks = [1, 2]: an option needs its type: `marks: list",
    ),
    "untyped_none": ('mark: str = "!"', "mark = None", "line 7: mark = None: an option needs its type: `mark: ... ="),
    "text_reads": ('("text",)', '"text"', "`reads` returns 'text', expected a tuple of columns: (\"text\",)"),
    "number_reads": ('("text",)', "(1,)", '`reads` returns (1,), expected a tuple of columns: ("text",)'),
    "old_reads": (
        READS,
        'reads = ("a", "b")',
        'line 9: reads = ("a", "b"): `reads` is a method of an op: `def reads(self): return ("a", "b")`',
    ),
    "old_typed_reads": (
        READS,
        'reads: ClassVar[tuple[str, ...]] = ("text",)',
        '`reads` is a method of an op: `def reads(self): return ("text",)`',
    ),
    "old_reads_text": (READS, 'reads = "text"', '`def reads(self): return ("text",)`'),
    "old_needs": (
        "def reads",
        "def needs",
        "line 9: def needs(self):: the method is called `reads`: `def reads(self): return (...)`",
    ),
    "old_prepare_texts": (
        "    mark: str",
        "    prepare_texts = len\n    mark: str",
        "`prepare_texts` is a method of an op: `def prepare_texts(self, texts): return [...]`",
    ),
    "old_prepare_lambda": (
        "    mark: str",
        "    prepare_texts = lambda texts: texts\n    mark: str",
        "`prepare_texts` is a method of an op",
    ),
    "makes_attribute": (
        MAKES,
        'makes = {"loud": pa.float32()}',
        'line 12: makes = {"loud": pa.float32()}: `makes` is a method of an op: `def makes(self): return',
    ),
    "import_error": (
        "import pyarrow as pa",
        "import pyarrow as pa, no_such_package",
        "line 2: import pyarrow as pa, no_s",
    ),
    "name_error": (
        "mark: str",
        "mark: strr",
        "NameError: name 'strr' is not defined (name_error.py, line 7, in Loud: mark",
    ),
    "crash": (
        "    mark: str",
        "    LIMIT = 1 / 0\n    mark: str",
        "ZeroDivisionError: division by zero (crash.py, line 7",
    ),
    "syntax": (
        "def makes(self):",
        "def makes(self)",
        "SyntaxError: expected ':' (syntax.py, line 12: def makes(self))",
    ),
    "indent": ("        return {", "    return {", "IndentationError: expected an indented block"),
    "makes_list": ('{"loud": pa.float32()}', '["loud"]', "`makes` returns ['loud'], expected columns and their types"),
    "makes_type": ("pa.float32()", "float", "`makes` returns {'loud': <class 'float'>}, expected columns"),
    "makes_error": ("pa.float32()", "self.kind", "has no attribute 'kind' (makes_error.py, line 13, in makes: return"),
    "decision": (
        "    def makes(self):",
        '    def decision(self):\n        return "loud < 1"\n\n    def makes(self):',
        '`decision` returns \'loud < 1\', expected a filter: {"keep": [{"if": ',
    ),
    "makes_uid": ('{"loud": pa', '{"uid": pa', "'uid' cannot be a column that an op makes"),
    "makes_escape": ('{"loud": pa', '{"\\x1b[31m": pa', r"'\x1b[31m' cannot be a column"),
    "abstract": ("def batch", "def batches", "abstract.Loud lacks batch: an op defines it"),
    "no_reads": ("def reads", "def read", "no_reads.Loud lacks reads: an op defines it"),
    "counted": (
        "op import Score",
        "op import Counted as Score",
        "TypeError: Counted is now Fitted: `fit(self, summed)`",
    ),
    "no_op": ("(Score)", "", "no_op.Loud is no subclass of Score, Grouped, Linked or Fitted"),
    "other_name": ("class Loud", "class Lout", "no op 'Loud' (did you mean 'Lout'?)"),
    "version": ("    mark: str", '    version = "2"\n    mark: str', "`version` and `cpus` are numbers, got '2'"),
    "reserved": ("    mark: str", '    name: str = "images"\n    mark: str', "'images' cannot be the name of a table"),
}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.syspath_prepend(str(tmp_path))
    return tmp_path


def written(folder: Path, name: str, old: str, new: str) -> str:
    assert old in GOOD
    (folder / f"{name}.py").write_text(GOOD.replace(old, new))
    sys.modules.pop(name, None)
    return f"{name}:Loud"


@pytest.mark.parametrize("name", FAULTS)
def test_at_load(folder: Path, name: str) -> None:
    old, new, message = FAULTS[name]
    with pytest.raises(CurateError) as caught:
        load(written(folder, name, old, new))
    assert message in str(caught.value), str(caught.value)
    assert str(caught.value).startswith(f"op '{name}:Loud'") or name == "reserved"
    assert "\n" not in str(caught.value) and "errors.pydantic.dev" not in str(caught.value)


def test_a_good_op_loads(folder: Path) -> None:
    op = load({written(folder, "good", "!", "?"): {"mark": "x"}})
    assert op_faults(op) == []
    with pytest.raises(CurateError, match=r"good:Loud: no option 'marc' \(did you mean 'mark'\?\)"):
        load({"good:Loud": {"marc": "x"}})


def test_a_package_that_only_setup_imports_is_missed_at_check(folder: Path) -> None:
    later = "    def setup(self):\n        import no_such_package.part\n\n    def makes"
    op = load(written(folder, "later", "    def makes", later))
    assert op_faults(op) == ["later:Loud needs the package 'no_such_package': pip install no-such-package"]
    tried = "        try:\n            import no_such\n        except ImportError:\n            pass"
    optional = f"    def setup(self):\n{tried}\n\n    def makes"
    assert op_faults(load(written(folder, "optional", "    def makes", optional))) == []


def test_an_error_of_its_check_has_its_line(folder: Path) -> None:
    wrong = "    def check(self):\n        raise KeyError('weights')\n\n    def makes"
    (fault,) = op_faults(load(written(folder, "wrong", "    def makes", wrong)))
    assert fault == "wrong:Loud: KeyError: 'weights' (wrong.py, line 13, in check: raise KeyError('weights'))"


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (
            "open('/no/such/weights.bin')",
            "FileNotFoundError: .*'/no/such/weights.bin' .setup.py, line 13, in setup: open",
        ),
        (
            "self._net = 1\n        self.late = 2",
            "setup.py, line 14, in setup: self.late = 2.: declare it with `PrivateAttr",
        ),
        ("raise RuntimeError('two\\nlines')", "RuntimeError: two lines .setup.py, line 13, in setup"),
    ],
)
def test_an_error_of_setup_has_its_line(folder: Path, make_store, line: str, message: str) -> None:  # type: ignore[no-untyped-def]
    op = load(written(folder, "setup", "    def makes", f"    def setup(self):\n        {line}\n\n    def makes"))
    with pytest.raises(CurateError, match=f"a worker cannot start: .*{message}") as caught:
        annotate(make_store(3), [op], Cluster(workers=0))
    assert "\n" not in str(caught.value)


def test_an_exit_is_a_fault_wherever_it_stands(folder: Path, make_store) -> None:  # type: ignore[no-untyped-def]
    """It would end the command with exit code 0 and nothing done."""
    message = r"sys\.exit\(0\) ends no step: raise an error instead \(exit_{}\.py, line "
    with pytest.raises(CurateError, match="cannot import 'exit_import': RuntimeError: " + message.format("import")):
        load(written(folder, "exit_import", "import pyarrow as pa", "import pyarrow as pa, sys; sys.exit(0)"))
    with pytest.raises(CurateError, match="`makes` fails: RuntimeError: " + message.format("makes")):
        load(
            written(
                folder, "exit_makes", "    def makes(self):", "    def makes(self):\n        import sys; sys.exit(0)"
            )
        )
    batch = '        return {"loud": ['
    op = load(written(folder, "exit_batch", batch, f"        import sys; sys.exit(0)\n{batch}"))
    with pytest.raises(CurateError, match="all 8 rows of a batch failed: RuntimeError: " + message.format("batch")):
        annotate(make_store([{"text": "a"}] * 8), [op], Cluster(workers=0))
