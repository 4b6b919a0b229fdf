import ast
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

pytestmark = pytest.mark.slow

LOOP = """
from numba import types
from numba.core import event
from curate.arrays.compiled import compiled, read

class Said(event.Listener):
    def on_start(self, event):
        print("compiled", flush=True)
    def on_end(self, event):
        pass

event.register("numba:compile", Said())

@compiled(read("uint8"), types.int64)
def plus(numbers, more):
    total = more
    for number in numbers:
        total += number
    return total
"""


def start(folder: Path, code: str) -> "subprocess.Popen[str]":
    environment = {"NUMBA_CACHE_DIR": str(folder / "cache"), "PYTHONPATH": f"{folder}:{Path(__file__).parents[2]}"}
    command = [sys.executable, "-c", code]
    return subprocess.Popen(command, env=environment, cwd=folder, text=True, stdout=subprocess.PIPE)


def test_of_processes_that_start_together_one_compiles(tmp_path: Path) -> None:
    (tmp_path / "loops.py").write_text(LOOP)
    code = "import numpy, loops; print(loops.plus(numpy.array([1, 2], numpy.uint8), 5))"
    processes = [start(tmp_path, code) for _ in range(3)]
    said = sorted(process.communicate(timeout=300)[0].split() for process in processes)
    assert said == [["8"], ["8"], ["compiled", "8"]]


def test_a_folder_of_somebody_else_is_no_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from curate.arrays import compiled

    monkeypatch.setattr(compiled.tempfile, "gettempdir", lambda: str(tmp_path))
    folder = Path(compiled._own_folder())
    assert folder.parent == tmp_path and folder.stat().st_mode & 0o777 == 0o700
    assert compiled._own_folder() == str(folder)
    folder.chmod(0o777)
    with pytest.raises(PermissionError, match="not a folder of this user alone"):
        compiled._own_folder()


def test_an_install_without_a_place_for_a_cache_has_it_among_temporary_files(tmp_path: Path) -> None:
    install = tmp_path / "install"
    install.mkdir()
    (install / "loops.py").write_text(LOOP)
    # Only numba's folder is one that can be made: the others are as on a read-only install without a home.
    code = (
        "import numpy, tempfile, numba.core.caching as caching\n"
        f"tempfile.tempdir = {str(tmp_path)!r}\n"
        "caching.CacheImpl._locator_classes = [caching.UserProvidedCacheLocator]\n"
        "import loops; print(loops.plus(numpy.array([1, 2], numpy.uint8), 5))"
    )
    said = []
    for _ in range(2):
        environment = {"PYTHONPATH": f"{install}:{Path(__file__).parents[2]}"}
        done = subprocess.run([sys.executable, "-c", code], env=environment, text=True, capture_output=True, check=True)
        said.append(done.stdout.split())
    assert said == [["compiled", "8"], ["8"]]


def test_a_loop_takes_what_converts_safely_and_refuses_the_rest(tmp_path: Path) -> None:
    from numba import types

    from curate.arrays.compiled import compiled, read

    @compiled(read("uint64"), types.int64)
    def first(numbers, more):  # type: ignore[no-untyped-def]
        return numbers[0] + np.uint64(more)

    numbers = np.array([1, 2, 3], np.uint64)
    assert first(numbers, 4) == 5
    numbers.setflags(write=False)
    assert first(numbers, 4) == 5
    assert len(first.signatures) == 1
    with pytest.raises(TypeError, match="No matching definition"):
        first(numbers[::2], 4)


KERNELS = sorted(str(path) for path in (Path(__file__).parents[2] / "curate").rglob("*kernels.py"))


@pytest.mark.parametrize("path", KERNELS, ids=lambda path: path.rsplit("/", 1)[-1])
def test_no_loop_has_what_is_dear_to_compile(path: str) -> None:
    """A slice that is assigned to takes numba two seconds, numpy's sort one."""
    loops = [node for node in ast.walk(ast.parse(Path(path).read_text())) if is_loop(node)]
    assert loops
    for node in (inner for loop in loops for inner in ast.walk(loop)):
        assert not (isinstance(node, ast.Attribute) and node.attr in ("sort", "argsort", "cumsum", "sum")), node.lineno
        targets = node.targets if isinstance(node, ast.Assign) and isinstance(node.value, ast.Subscript) else []
        assert not any(isinstance(t, ast.Subscript) and isinstance(t.slice, ast.Slice) for t in targets), node.lineno


def is_loop(node: ast.AST) -> bool:
    """A function that numba compiles."""
    decorators = node.decorator_list if isinstance(node, ast.FunctionDef) else []
    return any(
        getattr(d.func if isinstance(d, ast.Call) else d, "id", "") in ("compiled", "inlined") for d in decorators
    )
