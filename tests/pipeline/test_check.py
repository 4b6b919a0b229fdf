"""`--check` finds all that can be seen before work, a line for each fault; else it says what it looked at."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from conftest import patience

from curate.api import run
from curate.errors import CurateError, Findings
from curate.pipeline.file import load_pipeline, values_of
from curate.pipeline.steps import on_all_nodes


@pytest.fixture
def source(tmp_path: Path) -> str:
    (tmp_path / "in.csv").write_text("url,text\nhttp://a.example/1.jpg,a red bus\n")
    return str(tmp_path / "in.csv")


def findings(tmp_path: Path, source: str, steps: str, root: str = "", **more: bool) -> tuple[str, ...]:
    job = tmp_path / "job.yaml"
    job.write_text(f'name: job\nset: {{input: }}\nsteps:\n- read: {{input: "${{input}}"}}\n{steps}')
    before = sorted(tmp_path.rglob("*"))
    try:
        load_pipeline(job, {"input": source, "root": root or str(tmp_path / "store")}, **more)
    except Findings as error:
        return error.findings
    finally:
        assert sorted(tmp_path.rglob("*")) == before, "a check leaves nothing behind"
    return ()


def test_every_fault_is_a_line_of_its_own(tmp_path: Path, source: str) -> None:
    steps = """
- annotate: [score.wrds]
- annotate: [{score.words: {batch: 2}}]
- filter: {where: wrods > 2}
- download: {resize_mode: x}
- annotate: [{score.entries: {metadata: /no/list.json}}]
- filter: {name: "../x", where: words > 2}
"""
    lines = findings(tmp_path, source, steps, root="/proc/self/store")
    wanted = ["no op 'score.wrds'", "no option 'batch'", "'resize_mode'", "'../x' cannot be", "root '/proc/self/store'"]
    wanted.append("/no/list.json")
    assert [text for text in wanted if not any(text in line for line in lines)] == []
    assert len(lines) == len(wanted), "columns after a step that cannot be read are not guessed at"


@pytest.mark.parametrize(
    ("steps", "message"),
    [
        ("- filter: {where: wrods > 2}", "needs column 'wrods'"),
        ("- download: {retry: [timeuot]}", r"no status 'timeuot' (did you mean 'timeout'?)"),
        ("- download: {}\n- write: {columns: [wrods]}", "no column 'wrods'"),
        ("- download: {}\n- write: {to: /proc/self/x}", "to '/proc/self/x' cannot be written"),
        ("- annotate: [{score.entries: {metadata: no/list.json}}]", "no/list.json"),
        ("- download: {}\n- annotate: [{dedupe.decontaminate: {by: phash, against: no.npy, radius: 4}}]", "no.npy"),
        ("- download: {}\n- annotate: [{score.aesthetic: {file: no.pth}}]", "no.pth"),
        ("- download: {}\n- annotate: [{score.clip: {model: local-dir:no/folder}}]", "no/folder"),
    ],
)
def test_what_a_step_names(tmp_path: Path, source: str, steps: str, message: str) -> None:
    assert any(message in line for line in findings(tmp_path, source, steps)), findings(tmp_path, source, steps)


def test_statuses_that_there_are(tmp_path: Path, source: str) -> None:
    known = "[timeout, http_503, dns, truncated, not_an_image, resize_error, killed_its_worker]"
    assert findings(tmp_path, source, f"- download: {{retry: {known}}}") == ()


@pytest.mark.slow
def test_what_only_the_cluster_sees_is_left_to_it(tmp_path: Path, source: str) -> None:
    steps = "- annotate: [score.words]\n- filter: {where: words > 2}"
    elsewhere = {"elsewhere": True}
    assert findings(tmp_path, "s3://no-such-bucket/x.parquet", steps, root="s3://no/store", **elsewhere) == ()
    assert findings(tmp_path, "/on/the/cluster.parquet", steps, root="/proc/self/x", **elsewhere) == ()
    assert "no input at 'relative.csv'" in findings(tmp_path, "relative.csv", steps, **elsewhere)[0]
    assert "no op" in findings(tmp_path, "/on/the/cluster.parquet", "- annotate: [score.wrds]", **elsewhere)[0]


def curate(*words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "curate", *words]
    return subprocess.run(command, capture_output=True, text=True, timeout=patience(100), check=False)


@pytest.mark.slow
def test_the_command_says_what_it_looked_at(tmp_path: Path, source: str) -> None:
    (tmp_path / "job.yaml").write_text(f"name: job\nsteps:\n- read: {{input: {source}}}\n- annotate: [score.words]\n")
    command = ["run", str(tmp_path / "job.yaml"), "--set", f"root={tmp_path / 'store'}", "--check"]
    done = curate(*command)
    assert done.returncode == 0, done.stderr
    assert "job: 2 steps, nothing wrong found\nchecked: " in done.stdout and "can be written" in done.stdout
    dead = curate(*command, "--address", "127.0.0.1:1")
    assert dead.returncode == 1 and "no Ray cluster answers at '127.0.0.1:1'" in dead.stderr
    assert "nothing wrong" not in dead.stdout and not (tmp_path / "store").exists()


@pytest.mark.slow
def test_a_run_asks_for_its_cluster_first(tmp_path: Path, source: str) -> None:
    (tmp_path / "job.yaml").write_text(f"name: job\nsteps:\n- read: {{input: {source}}}\n- annotate: [score.words]\n")
    done = curate("run", str(tmp_path / "job.yaml"), "--set", f"root={tmp_path / 'store'}", "--address", "127.0.0.1:1")
    assert done.returncode == 1 and "no Ray cluster answers" in done.stderr
    assert not (tmp_path / "store").exists()


def test_a_relative_root_on_a_cluster(tmp_path: Path, source: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Workers run in folders of their own: it is the user's folder that is meant, and never that of a job."""
    (tmp_path / "job.yaml").write_text(f"name: job\nsteps:\n- read: {{input: {source}}}\n- annotate: [score.words]\n")
    monkeypatch.chdir(tmp_path)
    assert on_all_nodes(load_pipeline("job.yaml", {"root": "store"})).root == str(tmp_path / "store")
    assert on_all_nodes(load_pipeline("job.yaml", {"root": "/tmp/s"})).root == "/tmp/s"
    job = tmp_path / "runtime_resources/working_dir_files/_ray_pkg_1"
    job.mkdir(parents=True)
    monkeypatch.chdir(job)
    with pytest.raises(CurateError, match=r"the temporary folder of a job, which is deleted.* --set root=s3://"):
        on_all_nodes(load_pipeline("../../../job.yaml", {"root": "store"}))


@pytest.mark.parametrize(("typed", "root"), [("no", "no"), ("1e5", "1e5"), ("2024-01-02", "2024-01-02"), ("'x'", "x")])
def test_a_root_is_what_was_typed(tmp_path: Path, source: str, typed: str, root: str) -> None:
    (tmp_path / "job.yaml").write_text(f"name: job\nsteps:\n- read: {{input: {source}}}\n- annotate: [score.words]\n")
    assert load_pipeline(tmp_path / "job.yaml", values_of({"root": typed})).root == root


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("steps: [filter: 1]", "a filter is its name, its YAML file or a mapping"),
        ("steps: [filter: ]", "a filter is its name, its YAML file or a mapping"),
        ("steps: [annotate: ]", "an op is written `name`"),
        ("steps: [read: 1]", "read takes options"),
        ("steps: [1]", "a step is one `verb: what`"),
        ("steps: {a: 1}", "`steps` must be a list"),
        ("set: [1]\nsteps: []", "`set` must map variables"),
        ("memory: [1]\nsteps: [annotate: score.words]", "no size of memory"),
        ("set: {root: [1]}\nsteps: [annotate: score.words]", "root is a folder or a URL"),
        ("set: {a: , b: }\nsteps: []", "needs --set a=... --set b=... --set root=..."),
        ("a: &a [*a]", "a value contains itself"),
    ],
)
def test_pipelines_of_odd_shapes(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "job.yaml").write_text(text)
    with pytest.raises(CurateError) as caught:
        load_pipeline(tmp_path / "job.yaml", {} if "--set" in message or "root" in message else {"root": str(tmp_path)})
    assert message in str(caught.value)


def test_opt_out_lists_are_looked_at_before_any_work(tmp_path: Path, source: str) -> None:
    (tmp_path / "damaged.parquet").write_bytes(b"PAR1")
    steps = f"- download: {{opt_out: [{tmp_path}/none.txt, {tmp_path}/damaged.parquet]}}"
    lines = findings(tmp_path, source, steps)
    assert len(lines) == 2 and all("job.yaml: download (download): opt_out: the list" in line for line in lines)
    assert "none.txt' cannot be read: nothing is there" in lines[0] and "damaged.parquet' cannot be read" in lines[1]
    assert findings(tmp_path, source, steps, elsewhere=True) == (), "absolute paths are the cluster's"
    (tmp_path / "job.yaml").write_text(f"steps:\n- read: {{input: {source}, opt_out: [{tmp_path}/none.txt]}}\n")
    with pytest.raises(CurateError, match=r"read \(read\): opt_out: .*none.txt"):
        load_pipeline(tmp_path / "job.yaml", {"root": str(tmp_path / "store")})


def test_a_list_that_is_damaged_far_inside_stops_the_first_step(tmp_path: Path, source: str, monkeypatch) -> None:
    monkeypatch.setattr("curate.refuse.lists.BLOCK_BYTES", 100)
    (tmp_path / "list.txt").write_text("b.test\n" * 1000 + "no host at all\n")
    (tmp_path / "job.yaml").write_text(
        f"steps:\n- read: {{input: {source}}}\n- download: {{opt_out: [{tmp_path}/list.txt]}}\n"
    )
    with pytest.raises(CurateError, match="'no host at all' is no host"):
        run(tmp_path / "job.yaml", set={"root": str(tmp_path / "store")}, workers=0)
    assert not (tmp_path / "store" / "records").exists()
