"""Pipelines: checked in full before work, resumed after SIGKILL with the same bytes, re-thresholded without rework."""

from __future__ import annotations

import hashlib
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pytest
import yaml
from conftest import patience

import curate
from curate.cluster.cluster import Cluster
from curate.demo.pool import build
from curate.demo.server import serve, stats
from curate.errors import CurateError
from curate.pipeline.file import load_pipeline
from curate.run import run

pytestmark = pytest.mark.slow

STEPS = """
- read: {input: "${input}", rows_per_shard: 30}
- annotate: [score.words, {dedupe.exact: {by: url_text}}]
- filter: {name: captions, keep: [{if: words > 2, else: too short}, {if: dup_url_text_of IS NULL, else: repeated}]}
- download: {image_size: 128, resize_mode: keep_ratio, timeout_seconds: 1, max_bytes: 2000000,
             allow_private_addresses: [127.0.0.0/8]}
- score: [phash]
- filter: {name: images, keep: [{if: original_width >= 100, else: small}]}
- dedupe: [exact: {by: sha256}, perceptual: {by: phash, radius: 2}]
- score: [entries]
- balance: [metaclip: {t: "${t}"}]
- write: {samples_per_shard: 25}
"""


@pytest.fixture(scope="module")
def pool(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, str]]:
    folder = tmp_path_factory.mktemp("pool")
    with serve(folder) as base_url:
        build(folder, 200, base_url=base_url)
        yield folder / "pool.parquet", base_url


def pipeline_file(folder: Path, steps: str = STEPS, **more: object) -> Path:
    path = folder / "job.yaml"
    text = {"name": "job", "set": {"input": None, "t": 5}, "steps": yaml.safe_load(steps), **more}
    path.write_text(yaml.safe_dump(text))
    return path


def digest(root: Path) -> dict[str, str]:
    """sha256 of every file of the store but its manifest (it holds seconds) and the report."""
    files = [p for p in root.rglob("*") if p.is_file() and p.name not in ("manifest.json", "report.html")]
    # When rows were fetched is another time in every run, and is kept apart for that.
    files = [p for p in files if not p.relative_to(root).parts[0].startswith(("fetches-", "robots-", "write_notes"))]
    files += root.glob("shards-*/manifest.json")
    return {str(p.relative_to(root)): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}


def go(job: Path, pool: Path, root: Path, **more: str) -> dict[str, object]:
    return run(load_pipeline(job, {"input": str(pool), "root": str(root), **more}), Cluster(workers=0))


def test_every_row_is_accounted_for(pool: tuple[Path, str], tmp_path: Path) -> None:
    result = go(pipeline_file(tmp_path), pool[0], tmp_path / "s")
    rows = pl.read_parquet(pool[0])
    store = curate.open(str(tmp_path / "s"))
    ledger = store.table("url", "text", "kept", "dropped_by", "reason").collect()
    assert ledger.select("url", "text").equals(rows.select("url", "text"))
    assert ledger.filter(~pl.col("kept")).select("dropped_by", "reason").null_count().row(0) == (0, 0)
    assert ledger.filter("kept").select(pl.col("dropped_by", "reason").is_null().all()).row(0) == (True, True)
    funnel = result["funnel"]
    assert isinstance(funnel, list)
    assert [step["step"] for step in funnel] == [
        "captions",
        "download",
        "images",
        "duplicates",
        "near_duplicates",
        "balance",
    ]
    assert sum(step["entered"] - step["kept"] for step in funnel) + funnel[-1]["kept"] == 200
    for step in funnel:
        assert sum(step["dropped"].values()) == step["entered"] - step["kept"]
    assert result["written"]["samples"] == int(ledger["kept"].sum())  # type: ignore[index]
    statuses = ledger.filter(pl.col("dropped_by") == "download")["reason"].unique().to_list()
    assert {"http_404", "http_500", "timeout", "not_an_image", "truncated", "bad_url", "connect"} <= set(statuses)


def test_a_second_run_does_nothing_again(pool: tuple[Path, str], tmp_path: Path) -> None:
    job = pipeline_file(tmp_path)
    go(job, pool[0], tmp_path / "s")
    before, asked = digest(tmp_path / "s"), stats(pool[1])["requests"]
    go(job, pool[0], tmp_path / "s")
    assert digest(tmp_path / "s") == before
    assert stats(pool[1])["requests"] == asked


def test_a_new_threshold_neither_fetches_nor_scores(pool: tuple[Path, str], tmp_path: Path) -> None:
    job = pipeline_file(tmp_path)
    first = go(job, pool[0], tmp_path / "s", t="5")
    asked, before = stats(pool[1])["requests"], digest(tmp_path / "s")
    second = go(job, pool[0], tmp_path / "s", t="3")
    after = digest(tmp_path / "s")
    assert stats(pool[1])["requests"] == asked
    assert {name: after[name] for name in before} == before, "what was there stays as it was"
    fresh = {name.split("-")[0].split("/")[0] for name in set(after) - set(before)}
    assert fresh == {"metaclip", "keep_balance", "shards"}
    assert second["written"]["samples"] < first["written"]["samples"]  # type: ignore[index]
    go(job, pool[0], tmp_path / "s", t="5")
    assert digest(tmp_path / "s") == after


@pytest.mark.soak
def test_killed_three_times_and_restarted_ends_with_the_same_bytes(pool: tuple[Path, str], tmp_path: Path) -> None:
    job = pipeline_file(tmp_path)
    undisturbed = tmp_path / "undisturbed"
    command = [sys.executable, "-m", "curate", "run", str(job), "--workers", "1", "--set", f"input={pool[0]}", "--set"]
    began = time.monotonic()
    subprocess.run([*command, f"root={undisturbed}"], check=True, capture_output=True, timeout=patience(200))
    whole = time.monotonic() - began
    killed = tmp_path / "killed"
    moments = random.Random(os.environ.get("CURATE_KILL_SEED", "0"))
    parts = []
    for _ in range(3):
        process = subprocess.Popen([*command, f"root={killed}"], start_new_session=True, stderr=subprocess.DEVNULL)
        time.sleep(moments.uniform(0.35, 0.95) * whole)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        # Ray's workers outlive the driver by a moment: what they write may come and go while it is counted.
        parts.append(sum(len(files) for _, _, files in os.walk(killed)))
    subprocess.run([*command, f"root={killed}"], check=True, capture_output=True, timeout=patience(200))
    found = {name: sha for name, sha in digest(killed).items() if not name.endswith(".tmp")}
    assert found == digest(undisturbed), f"parts after each kill: {parts}"
    assert ledger_of(killed).equals(ledger_of(undisturbed))


def ledger_of(root: Path) -> pl.DataFrame:
    return curate.open(str(root)).ledger().collect()


@pytest.mark.parametrize(
    ("steps", "message"),
    [
        ("- raed: {input: x}", r"no step 'raed' \(did you mean 'read'\?\)"),
        ('- read: {input: "${input}", rows_pre_shard: 3}', "no option 'rows_pre_shard' .did you mean 'rows_per_shard'"),
        ("- read: {input: /no/such/file.parquet}", "no input at '/no/such/file.parquet'"),
        ('- read: {input: "${input}"}\n- annotate: [score.wrds]', "no op 'score.wrds' .did you mean 'score.words'"),
        ('- read: {input: "${input}"}\n- annotate: [{score.words: {batch: 3}}]', "no option 'batch'"),
        ('- read: {input: "${input}"}\n- annotate: [score.phash]', "score.phash reads images: download comes first"),
        ('- read: {input: "${input}"}\n- annotate: [balance.metaclip]', "no column 'entries'"),
        (
            '- read: {input: "${input}"}\n- filter: datacomp_basc',
            "no filter 'datacomp_basc' .did you mean 'datacomp_basic'",
        ),
        ('- read: {input: "${input}"}\n- filter: {where: wrods > 2}', "filter filter needs column 'wrods'"),
        ('- read: {input: "${input}"}\n- filter: {where: "text >"}', "not a SQL condition"),
        ('- read: {input: "${input}"}\n- write: {}', "there are no images to write"),
        ('- read: {input: "${inptu}"}', "no variable 'inptu' .did you mean 'input'"),
        ('- read: {input: "${input}"}\n- download: {resize_mode: keep_ration}', "option 'resize_mode'"),
        (
            '- read: {input: "${input}"}\n- download: {}\n- annotate: [{score.clip: {model: ViT-L-41/openai}}]',
            "ViT-L-14",
        ),
        (
            '- read: {input: "${input}"}\n- download: {}\n- annotate: [{score.clip: {model: ViT-L-14/opnai}}]',
            "'openai'",
        ),
        ('- read: {input: "${input}"}\n- read: {input: "${input}"}', "`read` can only be the first step"),
        ("- filter: datacomp_basic", "holds no records"),
        ("[]", "`steps` must be a list"),
    ],
)
def test_config_faults_stop_before_any_work(pool: tuple[Path, str], tmp_path: Path, steps: str, message: str) -> None:
    job = pipeline_file(tmp_path, steps)
    with pytest.raises(CurateError, match=message):
        go(job, pool[0], tmp_path / "s")
    assert not (tmp_path / "s").exists()


@pytest.mark.parametrize(
    ("text", "message"),
    [("- a list", "must hold a mapping"), ("a: [", "is not YAML"), ("stpes: []", "no key 'stpes'")],
)
def test_files_that_are_no_pipeline(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "x.yaml").write_text(text)
    with pytest.raises(CurateError, match=message):
        load_pipeline(tmp_path / "x.yaml", {"root": "s"})


def test_the_memory_of_a_worker(pool: tuple[Path, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Results do not depend on it; the command line's comes first."""
    steps = '- read: {input: "${input}", rows_per_shard: 30}\n- annotate: [{dedupe.exact: {by: text}}]'
    given = {"input": str(pool[0]), "root": str(tmp_path / "s")}
    job = load_pipeline(pipeline_file(tmp_path, steps, memory="2GB"), given)
    assert job.memory == 2_000_000_000 and load_pipeline(pipeline_file(tmp_path, steps), given).memory is None
    limits: list[int] = []
    monkeypatch.setattr(Cluster, "worker_memory", lambda self, cpus: limits.append(self.memory) or self.memory)
    cluster, own = Cluster(workers=0), Cluster(workers=0, memory=10**9)
    run(job, cluster)
    before = digest(tmp_path / "s")
    shutil.rmtree(tmp_path / "s")
    run(job, own)
    assert set(limits) == {2_000_000_000, 10**9} and digest(tmp_path / "s") == before
    assert (cluster.memory, own.memory) == (None, 10**9), "the caller's cluster is left as it is"
    with pytest.raises(CurateError, match=r"job.yaml: memory: 100MB is too little for a worker"):
        load_pipeline(pipeline_file(tmp_path, steps, memory="100MB"), given)


def test_a_missing_variable_is_asked_for(tmp_path: Path) -> None:
    with pytest.raises(CurateError, match=r"needs --set input=\.\.\."):
        load_pipeline(pipeline_file(tmp_path), {"root": "s"})


def test_failed_downloads_are_tried_again_when_asked(pool: tuple[Path, str], tmp_path: Path) -> None:
    options = "image_size: 128, timeout_seconds: 1, max_bytes: 2000000, allow_private_addresses: [127.0.0.0/8]"
    read = '- read: {input: "${input}", rows_per_shard: 30}\n'
    go(pipeline_file(tmp_path, read + f"- download: {{{options}}}"), pool[0], tmp_path / "s")
    before, asked = stats(pool[1]), digest(tmp_path / "s")
    go(pipeline_file(tmp_path, read + f"- download: {{{options}, retry: [http_500]}}"), pool[0], tmp_path / "s")
    after = stats(pool[1])
    again = {path for path, n in after["paths"].items() if n["requests"] > before["paths"][path]["requests"]}
    again.discard("/robots.txt")  # read once in each run
    assert again and all("/500/" in path for path in again)
    images = curate.open(str(tmp_path / "s"))
    kept = images.table("uid", "status").filter(pl.col("status") == "success").collect()["uid"]
    assert all(image is not None for image in images.images(kept.to_list()[:20])), "earlier images are still there"
    assert asked != digest(tmp_path / "s")
