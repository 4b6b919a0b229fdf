"""Submitting: a pipeline as a Ray job, so that it outlives the terminal."""

from __future__ import annotations

import shlex
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from curate.errors import CurateError
from curate.filter import library, read_yaml
from curate.progress import console
from curate.store import identity


def job_id(pipeline: Mapping[str, Any], variables: Mapping[str, str]) -> str:
    """The same pipeline with the same variables has the same id: it must not run twice at a time on one store."""
    # Memory is no part of what a run makes.
    made_of = {key: value for key, value in pipeline.items() if key != "memory"}
    return f"curate-{pipeline.get('name', 'pipeline')}-{identity(pipeline=made_of, variables=dict(variables))}"


def entrypoint(file: str, variables: Mapping[str, str], workers: int | None, memory: str | None = None) -> str:
    """The command that the cluster runs."""
    words = ["curate", "run", file, "--address", "auto"]
    for name, value in variables.items():
        words += ["--set", f"{name}={value}"]
    words += ["--workers", str(workers)] if workers is not None else []
    return shlex.join(words + (["--memory", memory] if memory else []))


def submit(
    pipeline: str, address: str, variables: Mapping[str, str], workers: int | None, memory: str | None, follow: bool
) -> int:
    """Submit, or attach to the job of the same run that is still going; returns the process's exit code.

    The pipeline's inputs are checked by the job, on the cluster, where their paths mean something.
    """
    path = library("pipelines").get(pipeline) or Path(pipeline)
    data = read_yaml(path)
    from ray.job_submission import JobStatus, JobSubmissionClient

    try:
        client: Any = JobSubmissionClient(address)
    except (ConnectionError, RuntimeError, ValueError) as error:
        raise CurateError(f"no Ray dashboard answers at '{address}': {error}") from error
    stem = job_id(data, variables)
    mine = [job for job in client.list_jobs() if (job.submission_id or "").startswith(stem)]
    going = next((job for job in mine if not job.status.is_terminal()), None)
    if going is not None:
        job = going.submission_id
        console.print(f"this run is already on its way as {job}")
    else:
        with tempfile.TemporaryDirectory() as folder:
            (Path(folder) / path.name).write_bytes(path.read_bytes())
            job = client.submit_job(
                entrypoint=entrypoint(path.name, variables, workers, memory),
                # A submission id cannot be used twice on a cluster; a run that ended may be submitted again.
                submission_id=f"{stem}-{len(mine) + 1}",
                runtime_env={"working_dir": folder},
            )
        console.print(f"submitted {job}; stop it with: ray job stop --address {address} {job}")
    if not follow:
        return 0
    seen = 0
    while True:
        status = client.get_job_status(job)
        log = client.get_job_logs(job)
        print(log[seen:], end="", flush=True)
        seen = len(log)
        if status.is_terminal():
            console.print(f"{job}: {status.value.lower()}")
            return 0 if status == JobStatus.SUCCEEDED else 1
        time.sleep(2)
