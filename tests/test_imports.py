"""Who may import whom, and what a command that computes nothing must not load."""

from __future__ import annotations

import ast
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest
from conftest import picture, write_tar

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


#: The rooms of the package, a floor a line, from what a user calls down to what a row is. A room is a folder, or a file
#: beside them; its modules import their own room and what lies on lower floors.
FLOORS = (
    {"__main__"},
    {"cli", "demo"},
    {"api"},
    {"url_list"},
    {"look", "run", "submit"},
    {"pipeline", "score", "dedupe", "balance"},
    {"annotate", "download", "remove", "reshard", "retrieval", "metadata", "text_in_images"},
    {"read", "write"},
    {"refuse"},
    {"filter", "alike", "models"},
    {"catalog", "function"},
    {"cluster", "op", "metaclip"},
    {"pictures"},
    {"store", "library", "arrays"},
    {"record", "errors", "messages"},
)

VERBS = {"read", "download", "annotate", "filter", "write"}


def room(module: str) -> str:
    return module.split(".")[1]


def rooms() -> set[str]:
    return {room(module) for module in modules() if "." in module}


def test_every_room_has_its_floor():
    assert rooms() == set().union(*FLOORS)
    assert sum(map(len, FLOORS)) == len(rooms())


@pytest.mark.parametrize("module", [m for m in modules() if "." in m])
def test_a_module_imports_its_own_room_and_what_lies_below(module):
    """Late imports, too: no arrow runs back up, so no circle of rooms."""
    height = {name: number for number, floor in enumerate(FLOORS) for name in floor}
    others = {name for name in ours(module) if room(name) != room(module)}
    assert not {name for name in others if height[room(name)] <= height[room(module)]}


def test_there_are_no_circles_of_files():
    for module in modules():
        assert module not in reached(module), module


@pytest.mark.parametrize("verb", sorted(VERBS))
def test_a_verb_has_one_door(verb):
    """Other verbs are not known to it, and whoever stands above it calls its step."""
    assert f"curate.{verb}.step" in modules()
    inside = {name for name in modules() if name.startswith(f"curate.{verb}.")}
    beside = {room(name) for module in inside for name in reached(module)} & (VERBS - {verb})
    allowed = {"download": {"filter"}, "annotate": {"filter"}}
    assert beside <= allowed.get(verb, set())


OPS = [m for m in modules() if m.startswith(("curate.score.", "curate.dedupe.", "curate.balance."))]


@pytest.mark.parametrize("module", OPS)
def test_an_op_is_one_file(module):
    """It leads to no other op and to nothing that reads, schedules or stores rows, however far one follows. The
    language of conditions, which knows one row, is open to all."""
    kinds = ("curate.score", "curate.dedupe", "curate.balance")
    assert not {name for name in ours(module) if name.startswith(kinds) and not name.rpartition(".")[2].startswith("_")}
    rest = {name for name in reached(module) if not name.startswith("curate.filter.sql")} - {"curate.filter"}
    assert not {room(name) for name in rest} & {*VERBS, "cluster", "pipeline", "run", "look", "submit"}


def test_the_store_knows_no_op():
    for module in (m for m in modules() if m.startswith("curate.store.")):
        assert "curate.op" not in reached(module), module


def test_a_face_holds_no_logic():
    for module, path in modules().items():
        if path.name == "__init__.py" and module not in ("curate", "curate.cli", "curate.read.inputs"):
            assert len(ast.parse(path.read_text()).body) == 1, module
    names = [ast.unparse(node).split()[0] for node in ast.parse(path_of("curate.cli").read_text()).body[1:]]
    assert names == ["from", "from", "__all__"], "the entry point's names"


def test_the_tests_mirror_the_package():
    folders = {path.name for path in Path(__file__).parent.iterdir() if path.is_dir() and not path.name.startswith("_")}
    assert folders <= rooms() and {*VERBS, "store", "score", "dedupe", "balance"} <= folders


def test_who_imports_the_heavy_ones():
    for module in modules():
        parties = third_parties(module)
        assert "img2dataset" not in parties, module
        if parties & {"open_clip", "open_clip_train"}:
            assert module.startswith("curate.models."), module
        if "ray" in parties:
            assert room(module) in {"cluster", "submit"}, module


def test_what_is_loaded_late():
    """No module of ours loads these when it is imported, save those that nothing imports before it needs them."""
    late = {"torch", "ray", "open_clip", "img2dataset", "transformers", "timm"}
    commands = reached("curate.cli", at_load=True) | {
        "curate.cli",
        "curate.pipeline.file",
        "curate.filter.step",
        "curate.look.show",
    }
    for module in (
        commands | reached("curate.pipeline.file", at_load=True) | reached("curate.filter.step", at_load=True)
    ):
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


@pytest.mark.slow
def test_commands_that_compute_nothing_load_nothing_heavy(make_store):
    view = make_store(5)
    heavy = {"torch", "ray", "open_clip", "img2dataset", "transformers"}
    assert not loaded() & {*heavy, "polars", "pyarrow", "numpy"}
    assert not loaded("list") & heavy
    assert not loaded("filter", view.store.url, "--where", "text != 'x'") & heavy
    assert view.store["keep_custom"].collect()["kept"].to_list() == [True] * 5


@pytest.mark.slow
def test_a_run_with_nothing_to_do_loads_nothing_heavy(tmp_path):
    pairs = [{"text": text, "n": 1} for text in ("a red dog", "cat", "a blue dog")]
    write_tar(tmp_path / "pairs.tar", pairs, [picture(0), picture(1), None])
    steps = [
        f"read: {{input: {tmp_path}/pairs.tar}}",
        "score: [score.words, score.phash]",
        "dedupe: [exact: {by: url_text}, perceptual: {by: phash, radius: 4}]",
        "filter: {name: long, keep: [{if: words > 1, else: short}]}",
        "write: {}",
    ]
    file = tmp_path / "steps.yaml"
    file.write_text("steps:\n" + "".join(f"  - {step}\n" for step in steps))
    command = ("run", str(file), "--set", f"root={tmp_path}/store", "--workers", "0")
    heavy = {
        "aiohttp",
        "cv2",
        "datasketch",
        "faiss",
        "jinja2",
        "llvmlite",
        "numba",
        "pandas",
        "ray",
        "scipy",
        "torch",
        "wordfreq",
    }
    assert loaded(*command) & heavy  # what works loads what it works with
    assert not loaded(*command) & heavy
