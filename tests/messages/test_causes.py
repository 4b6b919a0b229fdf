"""Faults of the machine, the storage and the installation: one sentence with the cause and the next command."""

from __future__ import annotations

import errno
import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from curate.messages.causes import explained, install_hint
from curate.pipeline.place_check import folder_fault

PIPELINE = 'name: words\nset: {input: }\nsteps:\n- read: {input: "${input}"}\n- annotate: [score.words]\n'


@pytest.fixture
def job(tmp_path: Path) -> list[str]:
    (tmp_path / "in.csv").write_text(
        "url,text\n" + "".join(f"http://a.example/{i}.jpg,a red bus\n" for i in range(200))
    )
    (tmp_path / "job.yaml").write_text(PIPELINE)
    return ["run", str(tmp_path / "job.yaml"), "--workers", "0", "--set", f"input={tmp_path / 'in.csv'}"]


def curate(*words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "curate", *words]
    return subprocess.run(command, capture_output=True, text=True, env={**os.environ, **environment}, check=False)


def one_sentence(done: subprocess.CompletedProcess[str], message: str, code: int = 1) -> None:
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    lines = [line for line in done.stderr.splitlines() if line.startswith("error:")]
    assert len(lines) == 1 and re.search(message, lines[0]), done.stderr


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (PermissionError(errno.EACCES, "Permission denied", "/a"), "no permission for '/a'"),
        (OSError(errno.EROFS, "Read-only file system", "/a"), "read-only for '/a'"),
        (OSError(errno.ENOSPC, "No space left on device"), "the disk is full .*free space.*same command again"),
        (OSError(errno.EDQUOT, "Disk quota exceeded", b"/a"), "quota is used up for '/a'"),
        (OSError(errno.EMFILE, "Too many open files"), "ulimit -n"),
        (OSError(errno.EBUSY, "Please reduce your request rate"), "overloaded .503.*wait a little.*same command again"),
        (PermissionError("Access Denied"), "refuses access .Access Denied.: check the credentials"),
        (FileNotFoundError("The specified bucket does not exist"), "nothing is there: The specified bucket"),
        (ConnectionResetError(errno.ECONNRESET, "reset"), "broken one.*check the address"),
        (TimeoutError(), "no answer in time"),
        (MemoryError(), "out of memory"),
        (ModuleNotFoundError("No module named 's3fs'", name="s3fs"), r"pip install 'curate\[s3\]'"),
        (ModuleNotFoundError("No module named 'abc_def'", name="abc_def.x"), "pip install abc-def"),
        (ImportError("Install s3fs to access S3"), r"Install s3fs to access S3: pip install 'curate\[s3\]'"),
    ],
)
def test_sentences(error: Exception, message: str) -> None:
    assert re.search(message, explained(error) or "")
    try:
        raise RuntimeError("further up") from error
    except RuntimeError as outer:
        assert explained(outer) == explained(error), "the cause is looked for"


@pytest.mark.parametrize("error", [ValueError("x"), KeyError("files"), ImportError("cannot import name 'x'")])
def test_faults_of_the_program_have_none(error: Exception) -> None:
    assert explained(error) is None


def test_an_extra_brings_the_package() -> None:
    assert install_hint("rapidocr") == "pip install 'curate[ocr]'"
    assert install_hint("hypothesis") == "pip install hypothesis", "dev is not for users"


@pytest.mark.slow
@pytest.mark.skipif(
    os.geteuid() == 0 and not Path("/proc/self").exists(), reason="needs a folder that root cannot write"
)
def test_a_folder_that_cannot_be_written(job: list[str], tmp_path: Path) -> None:
    # /proc/self takes no files, not even from root.
    assert "cannot be written" in folder_fault("/proc/self/store", "root")
    one_sentence(curate(*job, "--set", "root=/proc/self/store"), "root '/proc/self/store' cannot be written")
    (tmp_path / "file").write_text("x")
    one_sentence(curate(*job, "--set", f"root={tmp_path}/file/store"), "file' is a file, not a folder")
    one_sentence(curate("show", f"{tmp_path}/file"), "is a file, not the folder of a store")


def test_a_check_leaves_nothing(tmp_path: Path, s3: str) -> None:
    assert folder_fault(str(tmp_path / "new" / "store"), "root") == "" and not list(tmp_path.iterdir())
    assert folder_fault(f"{s3}/new/store", "root") == ""
    import s3fs

    assert s3fs.S3FileSystem().find(s3) == []
    assert re.search(
        "root 's3://no-such-bucket-x/s' cannot be written: nothing is there",
        folder_fault("s3://no-such-bucket-x/s", "root"),
    )


@pytest.fixture
def tiny_disk(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "tiny"
    folder.mkdir()
    if subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=128k", "tmpfs", str(folder)], capture_output=True
    ).returncode:
        pytest.skip("mounting a small disk needs more rights")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


@pytest.mark.slow
def test_a_full_disk(job: list[str], tiny_disk: Path) -> None:
    one_sentence(curate(*job, "--set", f"root={tiny_disk}/store"), "root '.*' cannot be written: the disk is full")


@pytest.mark.slow
def test_a_disk_that_fills_up(job: list[str], tiny_disk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It stops at the first shard that does not fit, not after a million."""
    from curate.cluster.cluster import Cluster
    from curate.errors import CurateError
    from curate.pipeline import place_check
    from curate.pipeline.file import load_pipeline
    from curate.run import run

    monkeypatch.setattr(place_check, "LEAST_FREE_BYTES", 0)
    loaded = load_pipeline(job[1], {"input": job[-1].removeprefix("input="), "root": f"{tiny_disk}/store"})
    (tiny_disk / "fill").write_bytes(b"x" * 116_000)
    with pytest.raises((CurateError, OSError)) as caught:
        run(loaded, Cluster(workers=0))
    assert "the disk is full" in (explained(caught.value) or str(caught.value))


def test_s3_without_credentials(job: list[str], s3_server: str) -> None:
    nobody = {"AWS_ENDPOINT_URL": s3_server, "AWS_EC2_METADATA_DISABLED": "true", "HOME": "/nonexistent"}
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        nobody[name] = ""
    message = "no credentials for the storage .*AWS_ACCESS_KEY_ID"
    one_sentence(
        curate(*job, "--set", "root=s3://bucket/store", **nobody), f"root 's3://bucket/store' cannot .*{message}"
    )
    one_sentence(curate("show", "s3://bucket/store", **nobody), message)


class Overloaded(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        body = b"<Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message></Error>"
        self.send_response(503)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(b"" if self.command == "HEAD" else body)

    do_HEAD = do_PUT = do_POST = do_GET

    def log_message(self, *_: object) -> None:
        pass


@pytest.mark.slow
def test_s3_that_is_overloaded() -> None:
    server = HTTPServer(("127.0.0.1", 0), Overloaded)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    keys = {"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b", "AWS_MAX_ATTEMPTS": "1", "NO_PROXY": "127.0.0.1"}
    done = curate("show", "s3://bucket/store", AWS_ENDPOINT_URL=f"http://127.0.0.1:{server.server_port}", **keys)
    server.shutdown()
    one_sentence(done, "(503|overloaded|reduce your request rate).*wait a little")


@pytest.mark.slow
def test_what_nobody_foresaw_is_one_line_too(tmp_path: Path) -> None:
    code = (
        "import sys, curate.cli, curate.look.listing\n"
        "def broken(*a): raise ValueError('odd \\x1b[31m\\nthing')\n"
        "curate.look.listing.print_library = broken\n"
        "sys.argv = ['curate', 'list']\n"
        "curate.cli.main()\n"
    )
    (tmp_path / "x.py").write_text("")
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    one_sentence(done, r"unexpected ValueError: odd .*CURATE_TRACEBACK=1 before the command .*please report it")
    assert "\x1b" not in done.stderr
    full = subprocess.run(
        command, capture_output=True, text=True, env={**os.environ, "CURATE_TRACEBACK": "1"}, check=False
    )
    assert full.returncode == 1 and "Traceback" in full.stderr
