"""A store in S3 that answers 503, cuts off, loses answers and is late: the same bytes, or one clear sentence."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
import s3fs
from faulty_s3 import FaultyS3
from late_s3 import KEYS
from test_pipeline import pipeline_file

from curate.demo.pool import build
from curate.demo.server import serve

pytestmark = [pytest.mark.slow, pytest.mark.soak]

STEPS = """
- read: {input: "${input}", rows_per_shard: 20}
- download: {image_size: 64, timeout_seconds: 1, max_bytes: 2000000, allow_private_addresses: [127.0.0.0/8]}
- score: [words, phash]
- dedupe: [perceptual: {by: phash, radius: 2}]
- filter: {name: images, keep: [{if: words > 1, else: short}]}
- write: {samples_per_shard: 20}
"""


class Job(NamedTuple):
    """A pipeline, its server of pictures, and an S3 that does as it is told."""

    s3: FaultyS3
    file: Path
    pool: Path

    def run(self, root: str, **env: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "curate", "run", str(self.file), "--workers", "0"]
        sets = ["--set", f"input={self.pool}", "--set", f"root=s3://bucket/{root}"]
        environment = {**os.environ, **KEYS, "AWS_ENDPOINT_URL": self.s3.address, "NO_PROXY": "127.0.0.1", **env}
        return subprocess.run([*command, *sets], env=environment, capture_output=True, text=True, check=False)

    def digest(self, root: str) -> dict[str, str]:
        """sha256 of every object but those that hold times: see test_pipeline."""
        with_times = ("fetches-", "robots-", "write_notes", "manifest.json", "report.html", "lease.json")
        objects = {path.removeprefix(f"bucket/{root}/"): path for path in bucket(self.s3).find(f"bucket/{root}")}
        return {
            name: hashlib.sha256(bucket(self.s3).cat_file(path)).hexdigest()
            for name, path in objects.items()
            if not name.startswith(with_times)
        }


def bucket(s3: FaultyS3) -> s3fs.S3FileSystem:
    return s3fs.S3FileSystem(
        endpoint_url=s3.address, key="test", secret="test", use_listings_cache=False, skip_instance_cache=True
    )


@pytest.fixture(scope="module")
def job(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Job]:
    folder = tmp_path_factory.mktemp("faulty")
    with serve(folder / "pool") as base_url, FaultyS3() as s3:
        pool = build(folder / "pool", 25, base_url=base_url)
        bucket(s3).mkdir("bucket")
        job = Job(s3, pipeline_file(folder, STEPS), pool)
        done = job.run("calm")
        assert done.returncode == 0, done.stderr
        yield job


def test_every_tenth_request_fails(job: Job) -> None:
    job.s3.share, job.s3.seed, job.s3.late_seconds = 0.1, 7, 0.1
    done = job.run("faulty")
    job.s3.share = 0
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    assert {"503", "500", "reset", "lost", "cut", "late"} == set(job.s3.faults)
    assert job.digest("faulty") == job.digest("calm")


def test_storage_that_goes_away_and_comes_back(job: Job) -> None:
    """Each request is sent a few times, then the run ends with a sentence; the same command goes on."""
    root = "away"
    job.s3.down_after = job.s3.requests + 150
    done = job.run(root, AWS_MAX_ATTEMPTS="1")
    job.s3.down_after, job.s3.down = None, False
    assert done.returncode == 1
    assert "Traceback" not in done.stderr, done.stderr
    assert "the storage is overloaded (503)" in done.stderr.splitlines()[-1], done.stderr
    again = job.run(root)
    assert again.returncode == 0, again.stderr
    assert job.digest(root) == job.digest("calm")
