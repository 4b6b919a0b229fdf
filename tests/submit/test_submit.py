"""Submitting to a real Ray cluster: a head and a worker node of their own, the job seen to its end."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from types import SimpleNamespace

import polars as pl
import pytest
from conftest import patience
from ray.job_submission import JobStatus

import curate
from curate.catalog import load
from curate.errors import CurateError
from curate.pipeline.file import load_pipeline
from curate.submit import submit as submitting
from curate.submit.carry import carried
from curate.submit.job_log import follow_log
from curate.submit.submit import dashboard, entrypoint, job_id, path_faults

pytestmark = pytest.mark.slow

RAY = str(Path(sys.executable).parent / "ray")
CURATE = str(Path(sys.executable).parent / "curate")


class FakeJob:
    """A cluster's client of which the test says what it answers."""

    def __init__(self, logs: list[object] = (), statuses: list[str] = (), submits: list[str] = ()) -> None:  # type: ignore[assignment]
        self.logs, self.statuses, self.submits = [*logs], [*statuses], [*submits]
        self.jobs: list[str] = []

    async def tail_job_logs(self, job: str) -> AsyncIterator[str]:
        for text in self.logs.pop(0) if self.logs else ():  # type: ignore[attr-defined]
            if isinstance(text, Exception):
                raise text
            yield text

    def get_job_status(self, job: str) -> JobStatus:
        status = self.statuses.pop(0) if len(self.statuses) > 1 else self.statuses[0]
        if status == "lost":
            raise ConnectionError("lost")
        return JobStatus(status)

    def get_job_logs(self, job: str) -> str:
        return self.whole  # type: ignore[attr-defined,no-any-return]

    def get_job_info(self, job: str) -> SimpleNamespace:
        return SimpleNamespace(status=JobStatus(self.statuses[-1]), driver_exit_code=127)

    def list_jobs(self) -> list[SimpleNamespace]:
        return [SimpleNamespace(submission_id=job, status=JobStatus.RUNNING) for job in self.jobs]

    def submit_job(self, submission_id: str, **_: object) -> str:
        answer = self.submits.pop(0) if self.submits else ""
        if "already exists" in answer:
            self.jobs.append(submission_id)
        if answer:
            raise RuntimeError(answer)
        return submission_id


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
    # Not pytest's folder: the paths of Ray's sockets would be too long.
    short = tempfile.mkdtemp(prefix="ray", dir="/tmp")
    try:
        for arguments in (head, workers, workers):
            # Each its own port: any other Ray on this machine has the usual one, and a head without it takes no jobs.
            agent = f"--dashboard-agent-listen-port={free_port()}"
            # And its own folder, as nodes have: in a shared one they unpack what a job takes along over each other's.
            own = f"--temp-dir={short}/{len(nodes)}"
            command = [RAY, "start", "--block", "--node-ip-address=127.0.0.1", agent, own, *arguments]
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
            node.wait(patience(30))
        shutil.rmtree(short, ignore_errors=True)


def wait_for(address: str, nodes: int) -> None:
    script = f"""
import time, ray
for _ in range({patience(60)}):
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
    subprocess.run(
        [sys.executable, "-c", script], env=environment(), check=True, capture_output=True, timeout=patience(120)
    )


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
    first = subprocess.run(command, env=environment(), capture_output=True, text=True, timeout=patience(200))
    assert first.returncode == 0, first.stdout + first.stderr
    assert re.search(r"submitted curate-words-\w{12}-1", first.stderr)
    assert "16 kept + 34 dropped = 50 in: exact" in first.stdout
    assert curate.open(str(tmp_path / "store")).ledger().collect()["kept"].sum() == 16
    second = subprocess.run(command, env=environment(), capture_output=True, text=True, timeout=patience(200))
    assert second.returncode == 0 and "-2" in second.stderr, "an ended run may be submitted again"


OP = """
import time

import pyarrow as pa
from curate.op import Score
from neighbour import SECONDS


class Slow(Score):
    def reads(self):
        return ("text",)

    def makes(self):
        return {"letters": pa.int32()}

    def batch(self, rows):
        time.sleep(SECONDS)
        return {"letters": [len(text) for text in rows["text"].to_pylist()]}
"""


@pytest.fixture
def project(tmp_path: Path, job: list[str]) -> Path:
    """A folder as a user has it: a package and a module of ops, a filter, an entry list, an input."""
    folder = tmp_path / "project"
    for name, text in {
        "lab/__init__.py": "",
        "lab/slow.py": OP,
        "neighbour.py": "SECONDS = 1",
        "filters/long.yaml": 'columns: {letters: "lab.slow:Slow"}\nwhere: letters > 0\n',
        "lists/en.json": '["red car", "dog"]',
        "lab/__pycache__/slow.pyc": "x",
        "job.yaml": "name: own\nset: {input: }\nsteps:\n"
        '- read: {input: "${input}", rows_per_shard: 10}\n'
        "- annotate: [{score.entries: {metadata: lists/en.json}}]\n"
        "- filter: filters/long.yaml\n",
    }.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    (tmp_path / "in.parquet").rename(folder / "in.parquet")
    return folder


@pytest.mark.soak
def test_a_job_takes_along_what_is_the_users(cluster: tuple[str, str], project: Path, tmp_path: Path) -> None:
    """Two submits at the same moment make one job; Ctrl-C leaves it going; its log comes whole to those who stay."""
    root = tmp_path / "store"
    address = cluster[0].removeprefix("http://")
    command = [CURATE, "submit", "job.yaml", "--address", address, "--set", "input=in.parquet", "--set", f"root={root}"]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    both = [subprocess.Popen(command, cwd=project, env=environment(), **pipes) for _ in range(2)]  # type: ignore[call-overload]
    leaver = both[0]
    for line in leaver.stderr:
        if "stop it with" in line:
            break
    leaver.send_signal(signal.SIGINT)
    assert leaver.wait(patience(60)) == 130
    said = leaver.stderr.read()
    assert "goes on; the same command follows it again" in said and "ray job stop --address" in said
    assert "stopped; what is done is kept" not in said
    out, err = both[1].communicate(timeout=patience(200))
    assert both[1].returncode == 0, out + err
    assert "33 kept + 17 dropped = 50 in: exact" in out
    jobs = set(re.findall(r"curate-own-\w+-\d", err + said))
    assert len(jobs) == 1 and next(iter(jobs)).endswith("-1"), "one job"
    assert curate.open(str(root)).ledger().collect()["kept"].sum() == 33
    assert "INFO" not in err


def test_faults_are_found_before_there_is_a_job(cluster: tuple[str, str], project: Path, tmp_path: Path) -> None:
    def tried(*words: str, **change: str) -> str:
        command = [CURATE, "submit", "job.yaml", "--address", cluster[0], "--set", "input=in.parquet", *words]
        done = subprocess.run(
            command, cwd=project, env={**environment(), **change}, capture_output=True, text=True, timeout=patience(100)
        )
        assert done.returncode == 1 and "Traceback" not in done.stderr, done.stderr
        assert "submitted" not in done.stderr and not (tmp_path / "store").exists()
        return " ".join(done.stderr.split())

    root = f"root={tmp_path / 'store'}"
    assert re.search(f"root 'mine' is a relative path.* --set root={project}/mine", tried("--set", "root=mine"))
    assert "RAY_AUTH_TOKEN" in tried("--set", root, RAY_AUTH_MODE="disabled", RAY_AUTH_TOKEN="")
    (project / "filters/long.yaml").write_text("where: letterss > 0")
    assert "'letterss', which is not there" in tried("--set", root)


@pytest.mark.soak
def test_run_joins_a_running_cluster_and_leaves_it_running(
    cluster: tuple[str, str], job: list[str], tmp_path: Path
) -> None:
    command = [CURATE, "run", *job, "--address", cluster[1]]
    done = subprocess.run(command, env=environment(), capture_output=True, text=True, timeout=patience(200))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Ray: 2 CPUs" in done.stderr
    wait_for(cluster[1], 3)
    # All nodes are this machine; in the last one's eyes the file is not there.
    code = (
        "import sys, ray; from curate import cli; from curate.pipeline import place_check\n"
        "sees, blind = place_check.sees, []\n"
        "def last_is_blind(node, path):\n"
        "    blind.append(node)\n"
        "    assert sees(node, path)\n"
        "    return len(blind) < 3\n"
        "place_check.sees = last_is_blind\n"
        "sys.argv[0] = 'curate'; cli.main()\n"
    )
    command = [sys.executable, "-c", code, "run", *job[:-1], f"root={tmp_path / 'other'}", "--address", cluster[1]]
    done = subprocess.run(command, env=environment(), capture_output=True, text=True, timeout=patience(200))
    assert done.returncode == 1 and "is not seen by 1 of 3 nodes" in done.stderr, done.stderr
    assert not any((tmp_path / "other").iterdir())


def test_a_job_that_fails_says_so(cluster: tuple[str, str], job: list[str], tmp_path: Path) -> None:
    (tmp_path / "in.parquet").unlink()
    command = [CURATE, "submit", *job, "--address", cluster[0]]
    done = subprocess.run(command, env=environment(), capture_output=True, text=True, timeout=patience(200))
    assert done.returncode == 1
    assert "no input at" in done.stdout


def test_no_dashboard_is_one_sentence(job: list[str]) -> None:
    command = [CURATE, "submit", *job, "--address", f"http://127.0.0.1:{free_port()}"]
    done = subprocess.run(command, env=environment(), capture_output=True, text=True, timeout=patience(100))
    assert done.returncode == 1
    assert "no Ray dashboard answers" in done.stderr and "Traceback" not in done.stderr


def test_the_same_run_has_the_same_id() -> None:
    assert job_id({"name": "a"}, {"x": "1"}) == job_id({"name": "a"}, {"x": "1"}) != job_id({"name": "a"}, {"x": "2"})
    assert job_id({"name": "a"}, {}) == job_id({"name": "a", "memory": "8GB"}, {}) != job_id({"name": "a", "t": 1}, {})
    assert entrypoint("p.yaml", {"input": "a b"}, 3) == (
        "curate run p.yaml --address auto --set 'input=a b' --workers 3"
    )
    assert entrypoint("p.yaml", {}, None, "8 GB") == "curate run p.yaml --address auto --memory '8 GB'"


def test_a_cluster_that_is_not_ready_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(submitting.time, "sleep", lambda seconds: None)
    not_ready = "Request failed with status code 500: No available agent to submit job, please try again later."
    assert submitting._job(FakeJob(submits=[not_ready] * 3), "curate-a-0", "x", "") == ("curate-a-0-1", True)
    client = FakeJob(submits=["Job with submission_id curate-a-0-1 already exists"])
    assert submitting._job(client, "curate-a-0", "x", "") == ("curate-a-0-1", False), "another one was first"
    with pytest.raises(CurateError, match="the cluster takes no job: RuntimeError: no memory left; see `ray status`"):
        submitting._job(FakeJob(submits=["Traceback ...\nno memory left\n"]), "curate-a-0", "x", "")
    monkeypatch.setattr(submitting, "READY_SECONDS", -1)
    with pytest.raises(CurateError, match="No available agent"):
        submitting._job(FakeJob(submits=[not_ready]), "curate-a-0", "x", "")


def test_a_log_through_lost_connections(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """A new connection begins with the log's beginning: nothing comes twice, nothing is lost, nothing is obeyed."""
    whole = "one\n\x1b[33mtwo\x1b[0m\nthree \x1b]0;t\x07\nfour"
    logs = [[whole[:2], whole[2:7], ConnectionError("lost")], [whole[:9]], [whole[:20], whole[20:-2]]]
    client = FakeJob(logs=logs, statuses=["RUNNING", "lost", "RUNNING", "RUNNING", "SUCCEEDED"])  # type: ignore[arg-type]
    client.whole = whole  # type: ignore[attr-defined]
    assert follow_log(client, "job") == 0
    assert capsys.readouterr().out == "one\ntwo\nthree \\x1b]0;t\\x07\nfour\n"
    failed = FakeJob(statuses=["FAILED"])
    failed.whole = ""  # type: ignore[attr-defined]
    assert follow_log(failed, "job") == 1
    assert "no `curate` on its PATH" in capsys.readouterr().err


def test_what_a_job_takes_along(project: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(project)
    monkeypatch.syspath_prepend(str(project))
    for name in [name for name in sys.modules if name.split(".")[0] in ("lab", "neighbour")]:
        del sys.modules[name]
    op = load("lab.slow:Slow")
    modules = {"lab/__init__.py", "lab/slow.py", "neighbour.py"}
    assert set(carried([], [op])) == modules
    steps = [
        {"read": {"input": "in.parquet"}},
        {"filter": "filters/long.yaml"},
        {"annotate": [{"score.entries": {"metadata": "lists"}}, {"score.clip": {"model": "local-dir:lists"}}]},
        {
            "annotate": [
                "score.words",
                {"x": ["ViT-B-32/neighbour.py", "s3://bucket/in.parquet", "/etc/hosts", "no/such"]},
            ]
        },
        {"read": {"input": "zip://a.txt::lists/en.json", "other": "lists/*.json"}},
    ]
    assert set(carried(steps, [])) == {"in.parquet", "filters/long.yaml", "lists/en.json", "neighbour.py"}
    assert set(carried(steps, [load("score.words")])) == set(carried(steps, [])), "curate itself is on the cluster"
    with pytest.raises(CurateError, match=r"'\.\./project/in.parquet' lies outside of the folder"):
        carried([{"read": {"input": "../project/in.parquet"}}], [])
    with (project / "big.bin").open("wb") as file:
        file.truncate(2 * 10**8)
    with pytest.raises(CurateError, match=r"200 MB of local files, at most 100 MB fit: big.bin \(200 MB\)"):
        carried(["big.bin"], [])


@pytest.mark.parametrize(
    ("root", "relative"),
    [("store", True), ("./a/b", True), ("~/x", True), ("/data/store", False), ("s3://b/store", False)],
)
def test_what_a_job_writes_has_one_name_on_all_nodes(
    project: Path, root: str, relative: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(project)
    (project / "words.yaml").write_text("name: w\nsteps: [read: {input: in.parquet}, annotate: score.words]\n")
    loaded = load_pipeline("words.yaml", {"root": root}, elsewhere=True)
    faults = path_faults(loaded)
    assert len(faults) == relative and all("--set root=s3://BUCKET/" in fault for fault in faults)


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("ray://head:10001", "the dashboard, write it as http"),
        ("auto", "the dashboard"),
        ("ftp://head", "e.g. http://HOST"),
    ],
)
def test_addresses(address: str, message: str) -> None:
    with pytest.raises(CurateError, match=message):
        dashboard(address)
    assert dashboard("head:8265") == dashboard("http://head:8265/") == "http://head:8265"


def test_a_port_that_says_nothing(job: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(submitting, "ANSWER_SECONDS", 0.5)
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        with pytest.raises(CurateError, match=r"no Ray dashboard answers at .* .no answer in 0.5 s"):
            submitting._connected(f"http://127.0.0.1:{silent.getsockname()[1]}")
