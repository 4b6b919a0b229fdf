"""A file that an identity depends on, rewritten while the process lives."""

from __future__ import annotations

import hashlib
import json
import os

import fsspec
import pytest

from curate.catalog import load
from curate.store.file_hash import file_sha256

pytestmark = pytest.mark.slow


def test_the_digest_is_that_of_the_bytes(tmp_path):
    file = tmp_path / "list.json"
    file.write_bytes(b"abc")
    assert file_sha256(str(file)) == hashlib.sha256(b"abc").hexdigest()
    assert file_sha256(f"file://{file}") == hashlib.sha256(b"abc").hexdigest()


def test_a_file_of_the_same_size_and_time_is_read_again(tmp_path):
    file = tmp_path / "list.json"
    for data in (b"abc", b"abd", b"abe"):
        file.write_bytes(data)
        os.utime(file, (0, 0))
        assert file_sha256(str(file)) == hashlib.sha256(data).hexdigest()


def test_a_file_in_memory_storage_too():
    for data in (b"abc", b"abd"):
        with fsspec.open("memory://hashed/list.json", "wb") as out:
            out.write(data)
        assert file_sha256("memory://hashed/list.json") == hashlib.sha256(data).hexdigest()


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(FileNotFoundError):
        file_sha256(str(tmp_path / "no.json"))


@pytest.mark.parametrize(
    ("name", "spec"),
    [
        ("list.json", lambda path: {"score.entries": {"metadata": path}}),
        ("det.onnx", lambda path: {"score.text_boxes": {"detector": path}}),
        ("lid.ftz", lambda path: {"score.language": {"model": path}}),
        ("head.safetensors", lambda path: {"score.aesthetic": {"file": path}}),
        ("clip.pt", lambda path: {"score.clip": {"model": f"ViT-B-32/{path}", "name": "clip"}}),
    ],
)
def test_an_op_has_another_identity_once_its_file_was_rewritten(tmp_path, name, spec):
    file = tmp_path / name
    identities = set()
    for word in ("one", "two"):
        file.write_text(json.dumps([word, "dog"]))
        identities.add(load(spec(str(file))).weights())
    assert len(identities) == 2
