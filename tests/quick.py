"""Which tests are quick: `pytest -m quick` is the loop while one works, two minutes on two cores.

A test is quick unless it, or its file (`pytestmark = pytest.mark.slow`), says slow, or it asks for a fixture that is.
The rule is what a test does: it starts no process and no server, loads neither torch nor ray, and compiles nothing. In
`pytest -m quick` a test that does so fails and says it. What merely takes long may be marked slow, too.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

#: Fixtures that start a server or Ray, or load a model.
SLOW_FIXTURES = {"hub", "late_s3", "ray_cluster", "s3", "s3_server", "small_models"}
#: numba stands for what it compiles.
HEAVY = ("torch", "ray", "numba", "transformers", "open_clip")
#: What Python's audit hooks call the start of a process, and of a server.
STARTS = {"subprocess.Popen", "os.fork", "os.posix_spawn", "os.system", "socket.bind"}
#: In the source of a file whose tests are all slow.
SLOW_FILE = "\npytestmark = pytest.mark.slow\n"

_started: list[str] = []


def _audit(event: str, details: tuple[Any, ...]) -> None:
    if event in STARTS:
        _started.append(f"{event} {details[0] if event == 'subprocess.Popen' else ''}".strip())


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Files that are slow as a whole are not even imported: some import torch."""
    wholly = collection_path.suffix == ".py" and config.option.markexpr == "quick"
    return True if wholly and SLOW_FILE in collection_path.read_text() else None


def mark_quick(items: list[pytest.Item]) -> None:
    """Marks what is not slow, and begins to listen."""
    for item in items:
        callspec = getattr(item, "callspec", None)
        names = {*getattr(item, "fixturenames", ()), *(map(str, callspec.params.values()) if callspec else ())}
        if SLOW_FIXTURES & names:
            item.add_marker("slow")
        if not item.get_closest_marker("slow"):
            item.add_marker("quick")
    sys.addaudithook(_audit)


def _loaded() -> set[str]:
    return {name for name in HEAVY if name in sys.modules}


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    """What was loaded and started before a test is not its doing."""
    item.stash[BEFORE] = (_loaded(), len(_started))
    return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Iterator[None]:
    """
    Raises:
        Failed: for a quick test that was not quick.
    """
    result = yield
    # Among slow tests it cannot be told who loaded a module first.
    if item.config.option.markexpr == "quick":
        loaded, started = item.stash[BEFORE]
        slow = [*(f"loads {name}" for name in sorted(_loaded() - loaded)), *_started[started:]]
        if slow:
            pytest.fail(f"this test is not quick ({', '.join(slow)}): mark it, or its file, with pytest.mark.slow")
    return result


BEFORE = pytest.StashKey[tuple[set[str], int]]()
