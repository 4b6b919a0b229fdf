"""Two commands at once on one store: each ends with its right result or with a clear refusal, never a third thing."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import finished_run
import pytest

import curate
from curate.store.store import Store
from curate.store.verify import verify

pytestmark = pytest.mark.slow

#: Pairs tried; CURATE_PAIRS=20 tries more.
PAIRS = int(os.environ.get("CURATE_PAIRS", "4"))


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> Path:
    return Path(finished_run.finish(tmp_path_factory.mktemp("pairs"), 150))


def keep_of(name: str) -> Callable[[Path, Path], object]:
    return lambda root, to: Store(str(root))[f"keep_{name}"].collect().rows()


def table_of(name: str) -> Callable[[Path, Path], object]:
    return lambda root, to: Store(str(root))[name].collect().rows()


def bytes_of(root: Path, to: Path) -> object:
    return {path.name: path.read_bytes() for path in sorted(to.glob("0*"))}


#: A command and what it leaves. `{to}` is a folder of its own.
COMMANDS: dict[str, tuple[list[str], Callable[[Path, Path], object]]] = {
    "short": (["filter", "{root}", "--where", "words < 9", "--name", "short"], keep_of("short")),
    "long": (["filter", "{root}", "--where", "words >= 9", "--name", "long"], keep_of("long")),
    "best": (["filter", "{root}", "--top", "lang_score=30%", "--name", "best"], keep_of("best")),
    "bytes": (["score", "{root}", "score.image_quality", "--workers", "0"], table_of("image_quality")),
    "groups": (["score", "{root}", "dedupe.shared", "--workers", "0"], table_of("text_images")),
    "write": (["write", "{root}", "--keep", "sure", "--to", "{to}", "--workers", "0"], bytes_of),
    "show": (["show", "{root}"], lambda root, to: None),
    "report": (["report", "{root}"], lambda root, to: None),
    "verify": (["verify", "{root}"], lambda root, to: None),
}


def started(name: str, root: Path, to: Path) -> subprocess.Popen[str]:
    arguments = [word.format(root=root, to=to) for word in COMMANDS[name][0]]
    environment = {**os.environ, "PYTHONPATH": str(Path(curate.__file__).parent.parent)}
    command = [sys.executable, "-m", "curate", *arguments]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)


@pytest.fixture(scope="module")
def alone(finished, tmp_path_factory) -> Callable[[str], object]:
    """What a command leaves when nothing else runs."""
    known: dict[str, object] = {}

    def result(name: str) -> object:
        if name not in known:
            folder = tmp_path_factory.mktemp(name)
            root = Path(shutil.copytree(finished, folder / "store"))
            process = started(name, root, folder / "to")
            _, told = process.communicate()
            assert process.returncode == 0, told
            known[name] = COMMANDS[name][1](root, folder / "to")
        return known[name]

    return result


@pytest.mark.parametrize("number", range(PAIRS))
def test_two_commands_at_once(number, finished, alone, tmp_path):
    pair = random.Random(number).choices([*COMMANDS], k=2)
    root = Path(shutil.copytree(finished, tmp_path / "store"))
    places = [tmp_path / "to-0", tmp_path / "to-1"]
    processes = [started(name, root, to) for name, to in zip(pair, places, strict=True)]
    for name, process in zip(pair, processes, strict=True):
        _, told = process.communicate()
        if process.returncode == 0:
            continue
        assert name not in ("show", "report"), told
        assert process.returncode == 1 and "is being changed by" in " ".join(told.split()), told
    for name, to, process in zip(pair, places, processes, strict=True):
        if process.returncode == 0:
            assert COMMANDS[name][1](root, to) == alone(name), name
    verify(str(root))
    manifest = Store(str(root)).manifest()
    assert set(manifest.current.values()) <= set(manifest.tables)


def test_a_command_during_a_long_one_is_refused_and_the_long_one_ends_right(finished, tmp_path):
    from curate.errors import CurateError
    from curate.store.lease import leased

    root = Path(shutil.copytree(finished, tmp_path / "store"))
    with leased(Store(str(root)), "curate run long.yaml"):
        process = started("short", root, tmp_path)
        _, told = process.communicate()
        assert process.returncode == 1
        assert "is being changed by `curate run long.yaml` (process" in " ".join(told.split())
        process = started("show", root, tmp_path)
        process.communicate()
        assert process.returncode == 0
    with pytest.raises(CurateError):
        Store(str(root))["keep_short"]
