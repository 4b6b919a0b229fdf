"""Submitting: a pipeline as a Ray job, so that it outlives the terminal."""

from __future__ import annotations

import logging
import os
import shlex
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from curate.errors import CurateError, Findings
from curate.messages.causes import explained
from curate.messages.packages import lacking
from curate.messages.terminal import console
from curate.pipeline.file import load_pipeline, open_pipeline, values_of
from curate.pipeline.steps import Pipeline, ops_of
from curate.store.folder import identity
from curate.submit.carry import carried, copy
from curate.submit.job_log import follow_log

#: A cluster that has just started takes jobs a while after its dashboard answers.
READY_SECONDS = 90.0

#: Exit code after Ctrl-C: 128 + SIGINT.
STOPPED = 130

#: Seconds until a dashboard that does not answer is given up.
ANSWER_SECONDS = 15.0

#: Loggers of Ray that say what every submit does.
_TALKATIVE = (
    "ray.dashboard.modules.dashboard_sdk",
    "ray.dashboard.modules.job.sdk",
    "ray._private.runtime_env.packaging",
)

T = TypeVar("T")


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

    All that `run --check` sees is seen here, before there is a job; what lies on the cluster's storage is for the job
    to see.

    Raises:
        CurateError: for a pipeline with faults, paths that a job cannot have, or a cluster that takes no job.
    """
    if fault := lacking("submitting", ("ray", "requests")):
        raise CurateError(fault)
    values = values_of(variables)
    loaded = load_pipeline(pipeline, values, elsewhere=True)
    if faults := path_faults(loaded):
        raise Findings(faults)
    opened = open_pipeline(pipeline, values)
    files = carried(opened.steps, ops_of(loaded))
    at = dashboard(address)
    client = _connected(at)
    with tempfile.TemporaryDirectory() as folder:
        copy(files, Path(folder))
        path = opened.path
        name = path.name if path.name not in files else f"{path.stem}-pipeline{path.suffix}"
        (Path(folder) / name).write_bytes(path.read_bytes())
        command = entrypoint(name, variables, workers, memory)
        job, new = _job(client, job_id(opened.data, variables), command, folder)
    stop = f"ray job stop --address {at} {job}"
    try:
        taken = f"; it takes along {_listed(list(files))}" if files else ""
        console.say(f"submitted {job}{taken}" if new else f"this run is already on its way as {job}")
        console.say(f"stop it with: {stop}")
        if follow:
            return follow_log(client, job)
        console.say(
            f"follow it with: ray job logs --follow --address {at} {job}, or the same command without --no-follow"
        )
        return 0
    except KeyboardInterrupt:
        console.say(f"{job} goes on; the same command follows it again, this one stops it: {stop}")
        return STOPPED


def path_faults(pipeline: Pipeline) -> list[str]:
    """Paths that mean another place on the cluster: what a job writes must be named the same on every node."""
    places = [("root", pipeline.root)]
    places += [("write: to", folder) for folder in pipeline.writes_to]
    return [
        f"{what} '{place}' is a relative path: on the cluster that is a job's temporary folder, which is deleted. Name "
        f"storage that every node sees: --set root=s3://BUCKET/{Path(place).name}, or, where this folder is mounted on "
        f"every node, --set root={os.path.abspath(place)}"
        for what, place in places
        if "://" not in place and not os.path.isabs(place)
    ]


def dashboard(address: str) -> str:
    """The dashboard's URL; `http://` may be left out.

    >>> dashboard("head:8265")
    'http://head:8265'

    Raises:
        CurateError: for an address of another of Ray's ports.
    """
    if address.startswith("ray://") or address == "auto":
        raise CurateError(f"--address {address}: jobs are submitted to the dashboard, write it as http://HOST:8265")
    if "://" not in address:
        address = f"http://{address}"
    if not address.startswith(("http://", "https://")):
        raise CurateError(f"--address {address}: expected the dashboard, e.g. http://HOST:8265")
    return address.rstrip("/")


def _connected(address: str) -> Any:
    import requests
    from ray.job_submission import JobSubmissionClient

    hint = "expected the dashboard of a Ray cluster, e.g. http://HOST:8265 (`ray dashboard FILE.yaml` forwards it)"
    try:
        # Ray's client waits without end for a port that takes connections and says nothing.
        requests.get(f"{address}/api/version", timeout=ANSWER_SECONDS, allow_redirects=False)
    except requests.exceptions.RequestException as error:
        raise CurateError(f"no Ray dashboard answers at '{address}' ({_why(error)}); {hint}") from error
    for name in _TALKATIVE:
        logging.getLogger(name).setLevel(logging.WARNING)
    try:
        return JobSubmissionClient(address)
    except Exception as error:
        if type(error).__name__ == "AuthenticationError":
            raise CurateError(str(explained(error))) from error
        raise CurateError(f"what answers at '{address}' is no Ray dashboard ({_last(error)}); {hint}") from error


def _why(error: Exception) -> str:
    """Why an address does not answer, in a few words."""
    text = str(error)
    reasons = {
        "refused": "connection refused",
        "timed out": f"no answer in {ANSWER_SECONDS:g} s",
        "resolve": "no such host",
        "getaddrinfo": "no such host",
        "Name or service": "no such host",
        "BadStatusLine": "what answers speaks no HTTP",
        "aborted": "what answers speaks no HTTP",
    }
    return next((reason for mark, reason in reasons.items() if mark in text), _last(error))


def _job(client: Any, stem: str, command: str, folder: str) -> tuple[str, bool]:
    """The id of the job of this run that is going, or of a new one, and whether it is new."""
    announced, until = False, time.monotonic() + READY_SECONDS
    while True:
        jobs = [job for job in _ask(client.list_jobs) if (job.submission_id or "").startswith(f"{stem}-")]
        going = next((job for job in jobs if not job.status.is_terminal()), None)
        if going is not None:
            return str(going.submission_id), False
        # A submission id cannot be used twice on a cluster; a run that ended may be submitted again.
        numbers = [int(job.submission_id.rpartition("-")[2]) for job in jobs]
        job = f"{stem}-{max(numbers, default=0) + 1}"
        try:
            client.submit_job(entrypoint=command, submission_id=job, runtime_env={"working_dir": folder})
            return job, True
        except Exception as error:
            text = str(error)
            # Another submit of the same run came first: the next look finds its job.
            passing = "already exists" in text or "No available agent" in text
            if not passing or time.monotonic() > until:
                raise CurateError(
                    f"the cluster takes no job: {explained(error) or _last(error)}; {_NOT_TAKEN}"
                ) from error
            if "already exists" not in text and not announced:
                console.say("the cluster is not ready for jobs yet: waiting")
                announced = True
        time.sleep(1)


_NOT_TAKEN = "see `ray status` and the dashboard, then run the same command again"


def _ask(call: Callable[[], T]) -> T:
    try:
        return call()
    except Exception as error:
        raise CurateError(f"the cluster does not answer: {explained(error) or _last(error)}; {_NOT_TAKEN}") from error


def _last(error: BaseException) -> str:
    """The last line of an error: Ray puts a traceback of the server's before it."""
    lines = [line.strip() for line in str(error).replace("\\n", "\n").splitlines() if line.strip(" .'\"}")]
    return f"{type(error).__name__}: {lines[-1][:300] if lines else ''}"


def _listed(names: list[str]) -> str:
    shown = ", ".join(sorted(names)[:8])
    return shown + (f" and {len(names) - 8} other files" if len(names) > 8 else "")
