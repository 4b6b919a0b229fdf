"""Memory as the machine or its container has it, and as a user writes it."""

from __future__ import annotations

import psutil
import pytest

from curate.cluster.memory import container_limits, machine_memory, memory_size
from curate.errors import CurateError


def test_never_more_than_the_machine_has():
    assert 0 < machine_memory() <= psutil.virtual_memory().total


@pytest.mark.parametrize(
    ("own", "files", "limits"),
    [
        ("0::/", {"memory.max": "max"}, []),
        ("0::/", {"memory.max": "4096"}, [4096]),
        ("0::/pod/worker", {"pod/worker/memory.max": "max", "pod/memory.max": "8192"}, [8192]),
        ("0::/pod/worker", {"pod/worker/memory.max": "1024", "memory.max": "max"}, [1024]),
        ("9:cpu:/a\n8:memory:/job", {"memory/job/memory.limit_in_bytes": "2048"}, [2048]),
        ("8:cpu,memory:/job", {"memory/memory.limit_in_bytes": "512"}, [512]),
        ("9:cpu:/a", {"memory.max": "4096"}, []),
    ],
)
def test_the_limits_of_the_groups_around_a_process(tmp_path, own, files, limits):
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text + "\n")
    (tmp_path / "own").write_text(own + "\n")
    assert container_limits(tmp_path, tmp_path / "own") == limits


def test_a_system_without_groups(tmp_path):
    assert container_limits(tmp_path, tmp_path / "none") == []


@pytest.mark.parametrize(("text", "size"), [("8GB", 8_000_000_000), ("2GiB", 2 << 30), (600_000_000, 600_000_000)])
def test_sizes(text, size):
    assert memory_size(text, "--memory") == size


@pytest.mark.parametrize("text", ["8 apples", "-1GB", "1MB", "nan"])
def test_what_is_no_size(text):
    with pytest.raises(CurateError, match="--memory"):
        memory_size(text, "--memory")
