"""Rows that name files: only in file systems that the user named, bounded, with a status of the table for each."""

from __future__ import annotations

import os
from pathlib import Path

import fsspec
import pytest
from conftest import HERE, MakeStore, column, picture
from pydantic import ValidationError
from web_server import PICTURE, get, serving

from curate.download import stored_files
from curate.download.options import DownloadOptions
from curate.download.step import download

#: How a list may spell a file of the machine that reads it.
SPELLINGS = [
    "/etc/passwd",
    "file:///etc/passwd",
    "FILE:///etc/passwd",
    " file:///etc/passwd\n",
    "file:/etc/passwd",
    "local:///etc/passwd",
    "//etc/passwd",
    "simplecache::file:///etc/passwd",
    "filecache::/etc/passwd",
    "zip://passwd::/etc/passwd",
    "s3://bucket/a.jpg",
    "memory://a.jpg",
    "reference://::file:///etc/passwd",
    "a.jpg",
    "../../../etc/passwd",
    "http:///etc/passwd",
]


@pytest.mark.parametrize("url", SPELLINGS)
def test_no_row_of_a_list_reads_a_file_of_this_machine(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[str] = []
    monkeypatch.setattr(stored_files.fsspec, "filesystem", lambda *names: opened.append(names[0]))
    (answer,) = get(url)
    assert answer.status in ("bad_url", "dns") and answer.body is None and opened == []


def test_nor_does_a_redirect(tmp_path: Path) -> None:
    secret = tmp_path / "secret.jpg"
    secret.write_bytes(PICTURE)
    with serving() as server:
        (answer,) = get(f"{server.url}/to?to=file://{secret}", allow_filesystems=("file",), file_roots=(str(tmp_path),))
    assert (answer.status, answer.body) == ("bad_url", None)


@pytest.mark.parametrize("url", SPELLINGS)
def test_a_root_holds_whatever_the_spelling(url: str, tmp_path: Path) -> None:
    (answer,) = get(url, allow_filesystems=("file",), file_roots=(str(tmp_path),))
    assert answer.status in ("address_refused", "bad_url", "dns") and answer.body is None


def test_files_under_a_root(tmp_path: Path) -> None:
    root, outside = tmp_path / "images", tmp_path / "outside"
    (root / "sub").mkdir(parents=True)
    outside.mkdir()
    for file in (root / "a.jpg", root / "sub" / "b c%20é.jpg", outside / "secret.jpg"):
        file.write_bytes(PICTURE)
    (root / "empty.jpg").touch()
    (root / "large.jpg").write_bytes(b"x" * 100_001)
    (root / "out.jpg").symlink_to(outside / "secret.jpg")
    (root / "in.jpg").symlink_to(root / "a.jpg")
    os.mkfifo(root / "pipe.jpg")
    expected = {
        f"{root}/a.jpg": "success",
        f"file://{root}/a.jpg": "success",
        f"file://{root}/sub/b c%20é.jpg": "success",
        f"{root}/in.jpg": "success",
        f"{root}/sub/../a.jpg": "success",
        f"{root}/no.jpg": "no_file",
        f"{root}/sub": "no_file",
        f"{root}/pipe.jpg": "no_file",
        f"{root}/empty.jpg": "empty",
        f"{root}/large.jpg": "too_large",
        f"{root}/out.jpg": "address_refused",
        f"{root}/../outside/secret.jpg": "address_refused",
        f"{outside}/secret.jpg": "address_refused",
        f"{root}2/a.jpg": "address_refused",
        f"{root}/nul\0.jpg": "error",
    }
    answers = get(*expected, allow_filesystems=("file",), file_roots=(str(root),), max_bytes=100_000)
    assert dict(zip(expected, [answer.status for answer in answers], strict=True)) == expected
    assert {answer.body for answer in answers if answer.status == "success"} == {PICTURE}
    assert answers[0].attempts == 1 and answers[0].final_url == f"{root}/a.jpg" and answers[0].retrieved


def test_a_device_is_no_file() -> None:
    (answer,) = get("/dev/zero", allow_filesystems=("file",), file_roots=("/dev",))
    assert answer.status == "no_file"


def test_equal_rows_are_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.jpg").write_bytes(PICTURE)
    reads: list[str] = []
    whole = stored_files.body_of
    monkeypatch.setattr(stored_files, "body_of", lambda url, options: (reads.append(url), whole(url, options))[1])
    answers = get(*[f"{tmp_path}/a.jpg"] * 3, allow_filesystems=("file",), file_roots=(str(tmp_path),))
    assert [answer.body for answer in answers] == [PICTURE] * 3 and len(reads) == 1


def test_passing_failures_are_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[str] = []

    def fails_twice(url: str, options: object) -> bytes:
        calls.append(url)
        if len(calls) < 3:
            raise OSError(5, "Input/output error")
        return PICTURE

    monkeypatch.setattr(stored_files, "body_of", fails_twice)
    options = {"allow_filesystems": ("file",), "file_roots": ("/",), "backoff_seconds": 0.001}
    (answer,) = get("/a.jpg", retries=2, **options)
    assert (answer.status, answer.attempts) == ("success", 3)
    calls.clear()
    (answer,) = get("/a.jpg", retries=1, **options)
    assert (answer.status, answer.attempts, len(calls)) == ("connect", 2, 2)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"allow_filesystems": ["file"]}, "file_roots"),
        ({"file_roots": ["/data"]}, "file_roots"),
        ({"allow_filesystems": ["file"], "file_roots": ["data"]}, "paths from the root"),
        ({"allow_filesystems": ["http"]}, "no file system 'http'"),
        ({"allow_filesystems": ["simplecache"]}, "no file system 'simplecache'"),
    ],
)
def test_options_that_are_refused(options: dict[str, list[str]], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        DownloadOptions(**options)


@pytest.mark.slow
def test_objects_of_s3_beside_the_web(s3: str, make_store: MakeStore, tmp_path: Path) -> None:
    """Images of both go into one shard, in the order of the rows."""
    pictures = [picture(n, size=(40, 30)) for n in range(3)]
    for number, data in enumerate(pictures):
        with fsspec.open(f"{s3}/images/{number}.jpg", "wb") as handle:
            handle.write(data)
    with fsspec.open(f"{s3}/images/empty.jpg", "wb") as handle:
        handle.write(b"")
    (tmp_path / "local.jpg").write_bytes(picture(7, size=(40, 30)))
    with serving() as server:
        urls = [
            *(f"{s3}/images/{number}.jpg" for number in range(3)),
            f"{server.url}/ok",
            f"{s3}/images/none.jpg",
            f"{s3}/images/empty.jpg",
            f"{tmp_path}/local.jpg",
        ]
        view = make_store([{"url": url} for url in urls])
        options = DownloadOptions(
            allow_filesystems=("s3",), allow_private_addresses=("127.0.0.0/8",), disable_all_reencoding=True
        )
        view = download(view, options, HERE)
    assert column(view, "status") == ["success"] * 3 + ["not_an_image", "no_file", "empty", "bad_url"]
    assert column(view, "size")[:3] == [len(data) for data in pictures]
