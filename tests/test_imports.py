"""Who may import whom, and what a command that computes nothing must not load."""

from __future__ import annotations

import ast
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

import curate

ROOT = Path(curate.__file__).parent
PLACE = ROOT.parent


@cache
def imports(module: str, at_load: bool = False) -> frozenset[str]:
    """Modules that a module's source imports; `at_load`: only outside of functions and of TYPE_CHECKING."""
    tree = ast.parse(path_of(module).read_text())
    found: set[str] = set()

    def visit(node: ast.AST) -> None:
        if at_load and isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)):
            return
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            for other in node.orelse:
                visit(other)
            return
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
            # `from curate import inputs` imports a module too.
            found.update(f"{node.module}.{a.name}" for a in node.names if f"{node.module}.{a.name}" in modules())
        for child in ast.iter_child_nodes(node):
            visit(child)

    visit(tree)
    return frozenset(found)


@cache
def modules() -> dict[str, Path]:
    found = {}
    for path in sorted(ROOT.rglob("*.py")):
        parts = path.relative_to(PLACE).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def path_of(module: str) -> Path:
    return modules()[module]


def ours(module: str, at_load: bool = False) -> set[str]:
    return {name for name in imports(module, at_load) if name in modules() and name != "curate"}


def reached(module: str, at_load: bool = False) -> set[str]:
    """Every module of ours that a module leads to."""
    seen: set[str] = set()
    todo = [module]
    while todo:
        for name in ours(todo.pop(), at_load) - seen:
            seen.add(name)
            todo.append(name)
    return seen


def third_parties(module: str) -> set[str]:
    return {name.split(".")[0] for name in imports(module) if not name.startswith("curate")}


#: From what a user calls down to what a record is: a module imports only what stands below it.
LAYERS = (
    {"curate.cli", "curate.__main__"},
    {"curate.show", "curate.report", "curate.submit"},
    {"curate.pipeline", "curate.dataset"},
    {"curate.check"},
    {"curate.steps"},
    {"curate.scoring", "curate.select", "curate.download", "curate.write", "curate.read"},
    {"curate.whole", "curate.threshold", "curate.annotate"},
    {"curate.cluster", "curate.filter", "curate.images"},
    {"curate.view"},
    {"curate.op", "curate.store"},
    {"curate.record", "curate.errors", "curate.names", "curate.terminal"},
)


def test_nothing_points_back():
    for number, layer in enumerate(LAYERS):
        above = set().union(*LAYERS[:number])
        for module in layer:
            assert not reached(module) & above, module


def test_neighbours_do_not_import_each_other():
    """The verbs of a pipeline know nothing of one another."""
    verbs = {"curate.scoring", "curate.select", "curate.download", "curate.write", "curate.read"}
    for module in verbs:
        assert not reached(module) & (verbs - {module}), module


def test_there_are_no_circles():
    for module in modules():
        assert module not in reached(module, at_load=True), module


OPS = [m for m in modules() if m.startswith(("curate.score.", "curate.dedupe.", "curate.balance."))]


@pytest.mark.parametrize("module", OPS)
def test_an_op_is_one_file(module):
    """It imports no other op and nothing of how rows are stored, scheduled or read."""
    kinds = ("curate.score", "curate.dedupe", "curate.balance")
    assert not {name for name in ours(module) if name.startswith(kinds)}
    insides = {
        "store",
        "view",
        "images",
        "annotate",
        "whole",
        "scoring",
        "select",
        "cluster",
        "pipeline",
        "dataset",
        "cli",
    }
    assert not {name for name in ours(module) if name.removeprefix("curate.") in insides}


def test_who_imports_the_heavy_ones():
    for module in modules():
        parties = third_parties(module)
        if "img2dataset" in parties:
            assert module in {"curate.download", "curate.picture"}
        if parties & {"open_clip", "open_clip_train"}:
            assert module.startswith("curate.encoder."), module
        if "ray" in parties:
            assert module in {"curate.cluster", "curate.submit"}, module


def test_what_is_loaded_late():
    """No module of ours loads these when it is imported, save those that nothing imports before it needs them."""
    late = {"torch", "ray", "open_clip", "img2dataset", "transformers", "timm"}
    commands = reached("curate.cli", at_load=True) | {"curate.cli", "curate.pipeline", "curate.select", "curate.show"}
    for module in commands | reached("curate.pipeline", at_load=True) | reached("curate.select", at_load=True):
        assert not {name.split(".")[0] for name in imports(module, at_load=True)} & late, module


def test_names_say_what_is_inside():
    vague = {"utils", "util", "helpers", "helper", "common", "base", "misc", "core", "manager", "registry"}
    assert not [m for m in modules() if vague & set(m.split("."))]


def test_only_curate_holds_modules():
    for folder in ("filters", "pipelines", "notebooks"):
        assert not list((PLACE / folder).rglob("*.py"))


def loaded(*command: str) -> set[str]:
    """Top-level modules that are loaded after a command of the CLI has run in a fresh process."""
    code = (
        "import sys, contextlib\n"
        "import curate\n"
        f"sys.argv = {['curate', *command]!r}\n"
        "if len(sys.argv) > 1:\n"
        "    from curate.cli import main\n"
        "    with contextlib.suppress(SystemExit):\n"
        "        main()\n"
        "print('LOADED', *{name.split('.')[0] for name in sys.modules})\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "error:" not in done.stderr, done.stderr
    return set(done.stdout.rpartition("LOADED")[2].split())


def test_commands_that_compute_nothing_load_nothing_heavy(make_store):
    view = make_store(5)
    heavy = {"torch", "ray", "open_clip", "img2dataset", "transformers"}
    assert not loaded() & {*heavy, "polars", "pyarrow", "numpy"}
    assert not loaded("list") & heavy
    assert not loaded("filter", view.store.url, "--where", "text != 'x'") & heavy
    assert view.store["keep_custom"].collect()["kept"].to_list() == [True] * 5
