"""Weight files: what is opened, and what is refused with which words."""

import hashlib
import io
import pickle

import fsspec
import numpy as np
import pyarrow as pa
import pytest
import torch
from safetensors.torch import save_file

from curate.arrays.vectors import read_vectors
from curate.catalog import load
from curate.errors import CurateError
from curate.models.heads import UNUSED, check_source, checked, identity, linear, open_weights, read_checked, result

pytestmark = pytest.mark.slow

LAYER = {"dense.weight": torch.arange(6.0).reshape(2, 3), "dense.bias": torch.tensor([1.0, -1.0])}
SHAPES = {"dense.weight": (2, 3), "dense.bias": (2,)}


def sha256(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "head.pth"
    torch.save(LAYER, path)
    return path


@pytest.mark.parametrize("kind", ["pth", "pt", "safetensors"])
def test_every_format_gives_the_same_arrays(tmp_path, kind):
    path = tmp_path / f"head.{kind}"
    save_file(LAYER, path) if kind == "safetensors" else torch.save(LAYER, path)
    found = open_weights(str(path), sha256(path))
    assert {name: values.tolist() for name, values in found.items()} == {n: t.tolist() for n, t in LAYER.items()}
    assert all(values.dtype == np.float32 for values in found.values())
    assert linear(np.array([[1, 0, 2]], np.float32), found, "dense").tolist() == [[0 + 4 + 1, 3 + 10 - 1]]


def test_bfloat16_and_a_bare_tensor(tmp_path):
    save_file({"a": torch.tensor([0.5], dtype=torch.bfloat16)}, tmp_path / "a.safetensors")
    assert open_weights(str(tmp_path / "a.safetensors"))["a"].tolist() == [0.5]
    torch.save(torch.ones(2, 3, requires_grad=True), tmp_path / "b.pt")
    assert open_weights(str(tmp_path / "b.pt"))[""].shape == (2, 3)
    np.save(tmp_path / "c.npy", np.ones((2, 3)))
    assert open_weights(str(tmp_path / "c.npy"))[""].dtype == np.float32


def test_a_url_needs_a_sha256_and_then_is_read(file):
    import fsspec

    with fsspec.open("memory://heads/head.pth", "wb") as out:
        out.write(file.read_bytes())
    for url in ("memory://heads/head.pth", "https://a.example/head.pth?raw=true", "s3://bucket/head.pth"):
        with pytest.raises(CurateError, match="is a URL: give its `sha256`"):
            open_weights(url)
    assert set(open_weights("memory://heads/head.pth", sha256(file).upper())) == set(LAYER)
    with pytest.raises(CurateError, match=f"has the sha256 {sha256(file)}, expected {'0' * 64}"):
        open_weights("memory://heads/head.pth", "0" * 64)


def test_a_member_of_a_zip(tmp_path, file):
    import zipfile

    with zipfile.ZipFile(tmp_path / "heads.zip", "w") as archive:
        archive.write(file, "inner/head.pth")
    source = f"zip://inner/head.pth::{tmp_path}/heads.zip"
    assert set(open_weights(source, sha256(file))) == set(LAYER)


def test_wrong_sha256_of_a_local_file(file):
    with pytest.raises(CurateError, match="has the sha256"):
        open_weights(str(file), "ab" * 32)


class Evil:
    def __reduce__(self):
        return (pytest.fail, ("a pickle was run",))


@pytest.mark.parametrize("name", ["prompts.p", "head.pkl", "head.pickle"])
def test_a_pickle_is_refused_with_the_way_out(tmp_path, name):
    (tmp_path / name).write_bytes(pickle.dumps(Evil()))
    with pytest.raises(CurateError, match=rf"a pickle can run code.*numpy\.save\(.*'{name}'"):
        open_weights(str(tmp_path / name))


def test_code_in_a_torch_or_numpy_file_is_not_run(tmp_path):
    torch.save({"a": Evil()}, tmp_path / "evil.pth")
    (tmp_path / "plain.pth").write_bytes(pickle.dumps(Evil()))
    np.save(tmp_path / "evil.npy", np.array([Evil()], object), allow_pickle=True)
    for name in ("evil.pth", "plain.pth", "evil.npy"):
        with pytest.raises(CurateError, match=r"is no \.(pth|npy) file of tensors alone"):
            open_weights(str(tmp_path / name))


@pytest.mark.parametrize("kind", ["pth", "safetensors", "npy"])
@pytest.mark.parametrize("data", [b"", b"<html>not found</html>"])
def test_not_such_a_file(tmp_path, kind, data):
    path = tmp_path / f"head.{kind}"
    path.write_bytes(data)
    with pytest.raises(CurateError, match=rf"is no \.{kind} file of tensors alone"):
        open_weights(str(path))


@pytest.mark.parametrize("kind", ["pth", "safetensors", "npy"])
def test_a_file_cut_short(tmp_path, kind):
    path = tmp_path / f"head.{kind}"
    if kind == "npy":
        np.save(path, np.ones((2, 3)))
    else:
        save_file(LAYER, path) if kind == "safetensors" else torch.save(LAYER, path)
    whole = path.read_bytes()
    for length in range(0, len(whole), 1 + len(whole) // 40):
        path.write_bytes(whole[:length])
        with pytest.raises(CurateError, match=rf"is no \.{kind} file of tensors alone"):
            open_weights(str(path))


def test_something_else_than_tensors(tmp_path):
    torch.save({"epoch": 3, "model": LAYER}, tmp_path / "head.pt")
    with pytest.raises(CurateError, match="something other than a tensor"):
        open_weights(str(tmp_path / "head.pt"))
    torch.save({"dense.bias": torch.tensor([1.0, float("nan")])}, tmp_path / "nan.pt")
    with pytest.raises(CurateError, match=r"layer 'dense\.bias' has numbers that are not finite"):
        open_weights(str(tmp_path / "nan.pt"))


def test_missing_file_other_ending_too_long(tmp_path, file):
    with pytest.raises(CurateError, match="no file"):
        check_source(str(tmp_path / "none.pth"))
    with pytest.raises(CurateError, match=r"ends in '\.onnx', expected \.pth, \.pt, \.safetensors, \.npy"):
        check_source("head.onnx")
    with pytest.raises(CurateError, match="longer than 10 bytes"):
        read_checked(str(file), "", 10)


def test_shapes_are_checked_by_layer():
    weights = {name: tensor.numpy() for name, tensor in LAYER.items()}
    counted = {**weights, f"dense.{UNUSED}": np.array(7)}
    assert set(checked(counted, SHAPES, "f")) == set(SHAPES)
    assert checked(weights, {**SHAPES, "dense.weight": (2, None)}, "f")
    with pytest.raises(CurateError, match=r"'f': layer 'dense\.weight' is \[2, 3\], expected \[4, any\]"):
        checked(weights, {**SHAPES, "dense.weight": (4, None)}, "f")
    with pytest.raises(CurateError, match=r"layer 'dense\.bias' is \[2\], expected \[2, 1\]"):
        checked(weights, {**SHAPES, "dense.bias": (2, 1)}, "f")
    with pytest.raises(CurateError, match=r"no layer 'last\.bias'; it has: dense\.bias, dense\.weight"):
        checked(weights, {**SHAPES, "last.bias": (1,)}, "f")
    with pytest.raises(CurateError, match=r"has a layer 'dense\.weight' that the architecture has not"):
        checked(weights, {"dense.bias": (2,)}, "f")


def test_identity_is_the_content(tmp_path, file):
    other = tmp_path / "elsewhere.pth"
    other.write_bytes(file.read_bytes())
    assert identity(str(file)) == identity(str(other)) == sha256(file)
    assert identity("https://a.example/head.pth", "AB" * 32) == "ab" * 32
    torch.save({"a": torch.ones(4000)}, other)
    assert identity(str(other)) == sha256(other) != sha256(file)
    with pytest.raises(CurateError, match="sha256"):
        identity("https://a.example/head.pth")


def test_a_vector_of_zeros_has_no_score():
    vectors = read_vectors(pa.array([[1.0, 0.0], [0.0, 0.0], [float("nan"), 1.0], [1.0], []]), "v", 2)
    made = result(vectors, {"score": np.array([0.5, 0.7, 0.1, 0.2, 0.3])})
    assert made["score"].to_pylist() == [0.5, None, None, None, None]
    assert made["status"].tolist() == ["ok", "zero_vector", "not_finite_vector", "vector_of_1", "empty_vector"]


@pytest.mark.parametrize("name", ["score.aesthetic", "score.nsfw", "score.q16"])
def test_ops_are_checked_at_load(tmp_path, file, name):
    with pytest.raises(CurateError, match="option 'file' is required"):
        load(name)
    with pytest.raises(CurateError, match="option 'sha256'"):
        load({name: {"file": str(file), "sha256": "abc"}})
    with pytest.raises(CurateError, match="give its `sha256`"):
        load({name: {"file": "https://a.example/head.pth"}}).check()
    fsspec.filesystem("memory").pipe("/there.pth", b"any")
    load({name: {"file": "memory://there.pth", "sha256": "0" * 64}}).check()
    for place, words in (("memory://gone.pth", "cannot read"), ("http://127.0.0.1:9/head.pth", "cannot read")):
        with pytest.raises(CurateError, match=f"{words} '{place}': "):
            load({name: {"file": place, "sha256": "0" * 64}}).check()
    fsspec.filesystem("memory").pipe("/empty.pth", b"")
    with pytest.raises(CurateError, match="is empty"):
        load({name: {"file": "memory://empty.pth", "sha256": "0" * 64}}).check()
    with pytest.raises(CurateError, match=r"layer|2 tensors"):
        load({name: {"file": str(file)}}).check()


@pytest.mark.parametrize("name", ["score.aesthetic", "score.nsfw", "score.q16"])
def test_where_the_file_lies_is_no_part_of_the_identity(tmp_path, file, name):
    other = tmp_path / "elsewhere.pth"
    other.write_bytes(file.read_bytes())
    one, two = (load({name: {"file": str(path)}}).spec() for path in (file, other))
    by_url = load({name: {"file": "https://a.example/head.pth", "sha256": sha256(file)}}).spec()
    assert one == two == by_url and one["weights"] == sha256(file)
    assert load({name: {"file": str(file), "by": "clip_l14_2_img"}}).spec() != one


def test_reading_leaves_no_file_open(file):
    data = read_checked(str(file))
    file.unlink()
    assert set(torch.load(io.BytesIO(data), weights_only=True)) == set(LAYER)
