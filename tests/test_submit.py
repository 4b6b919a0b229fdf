"""Submitting to a real Ray cluster: a head and a worker node of their own, the job seen to its end."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pytest

import curate
from curate.submit import entrypoint, job_id

RAY = str(Path(sys.executable).parent / "ray")
CURATE = str(Path(sys.executable).parent / "curate")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def environment() -> dict[str, str]:
    return {
        **os.environ,
        "RAY_USAGE_STATS_ENABLED": "0",
        # As a cluster that is not open to everyone: every node and every client has the token.
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN": "0123456789abcdef" * 4,
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
    }


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str]]:
    """A head without CPUs for work and two worker nodes: (dashboard address, cluster address)."""
    folder = tmp_path_factory.mktemp("ray")
    gcs, dashboard = free_port(), free_port()
    head = ["--head", f"--port={gcs}", f"--dashboard-port={dashboard}", "--num-cpus=0", "--include-dashboard=true"]
    workers = ["--address", f"127.0.0.1:{gcs}", "--num-cpus=1"]
    nodes = []
    try:
        for arguments in (head, workers, workers):
            command = [RAY, "start", "--block", "--node-ip-address=127.0.0.1", *arguments]
            nodes.append(
                subprocess.Popen(
                    command, env=environment(), stdout=(folder / "log").open("a"), stderr=subprocess.STDOUT
                )
            )
            wait_for(f"127.0.0.1:{gcs}", len(nodes))
        yield f"http://127.0.0.1:{dashboard}", f"127.0.0.1:{gcs}"
    finally:
        for node in reversed(nodes):
            node.terminate()
        for node in nodes:
            node.wait(30)


def wait_for(address: str, nodes: int) -> None:
    script = f"""
import time, ray
for _ in range(60):
    try:
        ray.init(address={address!r}, logging_level=50, log_to_driver=False)
        if sum(n["Alive"] for n in ray.nodes()) >= {nodes}:
            break
        ray.shutdown()
    except ConnectionError:
        pass
    time.sleep(0.5)
else:
    raise SystemExit("no cluster")
"""
    subprocess.run([sys.executable, "-c", script], env=environment(), check=True, capture_output=True, timeout=120)


@pytest.fixture
def job(tmp_path: Path) -> list[str]:
    pl.DataFrame(
        {"url": [f"http://a.example/{i}.jpg" for i in range(50)], "text": ["a red car " * (i % 3) for i in range(50)]}
    ).write_parquet(tmp_path / "in.parquet")
    (tmp_path / "words.yaml").write_text(
        "name: words\nset: {input: }\nsteps:\n"
        '- read: {input: "${input}", rows_per_shard: 10}\n'
        "- annotate: [score.words]\n"
        "- filter: {name: long, where: words > 3}\n"
    )
    variables = ["--set", f"input={tmp_path / 'in.parquet'}", "--set", f"root={tmp_path / 'store'}"]
    return [str(tmp_path / "words.yaml"), *variables]


def test_a_job_runs_on_the_cluster_to_its_end(cluster: tuple[str, str], job: list[str], tmp_path: Path) -> None:
    command = [CURATE, "submit", *job, "--address", cluster[0]]
    first = subprocess.run(command, env=environment(), capture_output=True, text=True, timeout=200)
    assert first.returncode == 0, first.stdout + first.stderr
    assert re.search(r"submitted curate-words-\w{12}-1", first.stderr)
    assert "16 kept + 34 dropped = 50 in: exact" in first.stdout
    assert curate.open(str(tmp_path / "store")).ledger().collect()["kept"].sum() == 16
    second = subprocess.run(command, env=environment(), capture_output=True, text=True, timeout=200)
    assert second.returncode == 0 and "-2" in second.stderr, "an ended run may be submitted again"


def test_run_joins_a_running_cluster_and_leaves_it_running(cluster: tuple[str, str], job: list[str]) -> None:
    command = [CURATE, "run", *job, "--address", cluster[1]]
    done = subprocess.run(command, env=environment(), capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Ray: 2 CPUs" in done.stderr
    wait_for(cluster[1], 3)


def test_a_job_that_fails_says_so(cluster: tuple[str, str], job: list[str], tmp_path: Path) -> None:
    (tmp_path / "in.parquet").unlink()
    command = [CURATE, "submit", *job, "--address", cluster[0]]
    done = subprocess.run(command, env=environment(), capture_output=True, text=True, timeout=200)
    assert done.returncode == 1
    assert "no input at" in done.stdout


def test_no_dashboard_is_one_sentence(job: list[str]) -> None:
    command = [CURATE, "submit", *job, "--address", f"http://127.0.0.1:{free_port()}"]
    done = subprocess.run(command, env=environment(), capture_output=True, text=True, timeout=100)
    assert done.returncode == 2
    assert "no Ray dashboard answers" in done.stderr and "Traceback" not in done.stderr


def test_the_same_run_has_the_same_id() -> None:
    assert job_id({"name": "a"}, {"x": "1"}) == job_id({"name": "a"}, {"x": "1"}) != job_id({"name": "a"}, {"x": "2"})
    assert job_id({"name": "a"}, {}) == job_id({"name": "a", "memory": "8GB"}, {}) != job_id({"name": "a", "t": 1}, {})
    assert entrypoint("p.yaml", {"input": "a b"}, 3) == (
        "curate run p.yaml --address auto --set 'input=a b' --workers 3"
    )
    assert entrypoint("p.yaml", {}, None, "8 GB") == "curate run p.yaml --address auto --memory '8 GB'"
