"""Published models run as published: score.clip gives what a plain open_clip loop gives that is told everything."""

from __future__ import annotations

import importlib
import io
import json
import random
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import HERE
from model_hub import Hub, save
from PIL import Image

from curate.annotate.step import annotate
from curate.catalog import load
from curate.demo import scenes
from curate.errors import CurateError
from curate.models.encoder import Encoder
from curate.models.names import column_name
from curate.models.open_clip_import import open_clip
from curate.models.published import doubt, settings_of
from curate.models.weights import model_weights

pytestmark = pytest.mark.slow

torch = importlib.import_module("torch")

ROWS, TOLERANCE = 9, 1e-6
CLIP = {"mean": (0.48145466, 0.4578275, 0.40821073), "std": (0.26862954, 0.26130258, 0.27577711)}
HALF = {"mean": (0.5, 0.5, 0.5), "std": (0.5, 0.5, 0.5)}
IMAGENET = {"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)}
BARE = {"mean": (0.0, 0.0, 0.0), "std": (1.0, 1.0, 1.0)}

#: Model: QuickGELU, mean and deviation, interpolation, resize mode, tokenizer's repository, as open_clip's list has it.
PUBLISHED = {
    "ViT-B-32/openai": (True, CLIP, "bicubic", "shortest", None),
    "ViT-B-32/laion400m_e32": (True, CLIP, "bicubic", "shortest", None),
    "ViT-B-32/laion2b_s34b_b79k": (False, CLIP, "bicubic", "shortest", None),
    "ViT-B-32-quickgelu/openai": (True, CLIP, "bicubic", "shortest", None),
    "ViT-L-14/openai": (True, CLIP, "bicubic", "shortest", None),
    "ViT-L-14/laion2b_s32b_b82k": (False, HALF, "bicubic", "shortest", None),
    "RN50/openai": (True, CLIP, "bicubic", "shortest", None),
    "ViT-H-14/dfn5b": (True, CLIP, "bicubic", "squash", None),
    "ViT-H-14/metaclip_altogether": (False, CLIP, "bicubic", "shortest", None),
    "coca_ViT-B-32/laion2b_s13b_b90k": (False, CLIP, "bicubic", "shortest", None),
    "MobileCLIP-S1/datacompdr": (False, BARE, "bilinear", "shortest", None),
    "PE-Core-B-16/meta": (False, HALF, "bilinear", "squash", None),
    "ViTamin-S/datacomp1b": (False, CLIP, "bicubic", "shortest", None),
    "ViT-L-14-CLIPA/datacomp1b": (False, IMAGENET, "bilinear", "squash", "bert-base-uncased"),
    "ViT-B-16-SigLIP/webli": (False, HALF, "bicubic", "squash", "timm/ViT-B-16-SigLIP"),
    "ViT-H-14-worldwide/metaclip2_worldwide": (True, CLIP, "bicubic", "shortest", "facebook/xlm-v-base"),
}


def drawn(count: int = ROWS) -> tuple[list[bytes], list[str]]:
    """Wide and tall pictures as PNG files, with short and long captions."""
    rng, files, texts = random.Random(5), [], []
    for number in range(count):
        picture, text, _ = scenes.draw(rng, size_px=(rng.randint(90, 300), rng.randint(90, 300)))
        file = io.BytesIO()
        picture.save(file, "PNG")
        files.append(file.getvalue())
        texts.append(text if number % 4 else f"A RED bus; it's {text} " * 30)
    return files, texts


def plain(architecture: str, tokenizer: str, files: Sequence[bytes], texts: Sequence[str], **told: Any) -> np.ndarray:
    """Cosines by open_clip alone, one row after the other."""
    model, _, preprocess = open_clip().create_model_and_transforms(architecture, **told)
    model.eval()
    tokens = open_clip().get_tokenizer(tokenizer)
    cosines = []
    with torch.no_grad():
        for file, text in zip(files, texts, strict=True):
            image = model.encode_image(preprocess(Image.open(io.BytesIO(file)))[None])
            cosines.append(torch.nn.functional.cosine_similarity(image, model.encode_text(tokens([text])))[0])
    return np.array(cosines, np.float32)


def told(weights: Path, quick: bool, norm: dict[str, Any], interpolation: str, resize_mode: str) -> dict[str, Any]:
    sizes = {"image_mean": norm["mean"], "image_std": norm["std"], "image_interpolation": interpolation}
    return {"pretrained": str(weights), "force_quick_gelu": quick, "image_resize_mode": resize_mode, **sizes}


def scored(make_store, model: str, files: Sequence[bytes], texts: Sequence[str]) -> np.ndarray:
    view = make_store([{"text": text} for text in texts], images=files)
    op = load({"score.clip": {"model": model, "device": "cpu"}})
    op.check()
    annotate(view, [op], HERE)
    name = column_name(model)
    table = view.store[name].select(name, f"{name}_status").collect()
    assert set(table[f"{name}_status"]) == {"ok"}
    return table[name].to_numpy()


#: One of each kind; `make soak` has the others.
QUICK_TO_MAKE = {"ViT-B-16-SigLIP/webli", "RN50/openai"}


@pytest.mark.parametrize(
    "model", [pytest.param(model, marks=[pytest.mark.soak] * (model not in QUICK_TO_MAKE)) for model in PUBLISHED]
)
def test_a_tag_runs_as_published(make_store, hub: Hub, small_models, model):
    *how, tokenizer = PUBLISHED[model]
    if tokenizer:
        hub.tokenizer(tokenizer)
    weights, (files, texts) = hub.weights(model), drawn()
    name = model.partition("/")[0]
    wanted = plain(name, name, files, texts, **told(weights, *how))
    np.testing.assert_allclose(scored(make_store, model, files, texts), wanted, rtol=0, atol=TOLERANCE)
    other = plain(name, name, files, texts, **told(weights, *how), quick_gelu=not how[0])
    assert np.abs(other - wanted).max() > 100 * TOLERANCE, "the activation can be told apart"


@pytest.mark.parametrize("model", ["ViT-B-32/openai", "ViT-B-16-SigLIP/webli", "ViT-L-14/laion2b_s32b_b82k"])
@pytest.mark.parametrize("where", ["in the cache", "beside its config", "by its hash"])
def test_a_file_of_published_weights_runs_as_its_tag(
    make_store,
    hub: Hub,
    small_models,
    tmp_path,
    monkeypatch,
    model,
    where,
):
    quick, norm, interpolation, resize_mode, tokenizer = PUBLISHED[model]
    if tokenizer:
        hub.tokenizer(tokenizer)
    file, (files, texts) = hub.weights(model), drawn(5)
    name, _, tag = model.partition("/")
    if where != "in the cache":
        file = Path(shutil.copyfile(file, tmp_path / "weights.safetensors"))
    if where == "beside its config":
        preprocess = {**norm, "interpolation": interpolation, "resize_mode": resize_mode}
        config = {**open_clip().get_model_config(name), "quick_gelu": quick}
        told_beside = json.dumps({"model_cfg": config, "preprocess_cfg": preprocess})
        (tmp_path / "open_clip_config.json").write_text(told_beside)
    if where == "by its hash":
        from curate.store.file_hash import file_sha256

        url = f"https://a.example/weights-{file_sha256(str(file))[:8]}.pt"
        monkeypatch.setitem(importlib.import_module("open_clip.pretrained")._PRETRAINED[name][tag], "url", url)
    wanted = plain(name, name, files, texts, **told(file, quick, norm, interpolation, resize_mode))
    np.testing.assert_allclose(scored(make_store, f"{name}/{file}", files, texts), wanted, rtol=0, atol=TOLERANCE)


@pytest.mark.parametrize("way", ["hf-hub:", "local-dir:"])
@pytest.mark.parametrize("quick", [True, False])
@pytest.mark.parametrize("resize_mode", ["longest", "squash"])
def test_a_folder_and_a_hub_model_run_as_their_config_says(make_store, hub: Hub, small_models, way, quick, resize_mode):
    folder = hub.place("our/model")
    save("ViT-B-16", folder / "open_clip_model.safetensors", 3)
    text = {**open_clip().get_model_config("ViT-B-16")["text_cfg"], "context_length": 77}
    model = {**open_clip().get_model_config("ViT-B-16"), "text_cfg": text, "quick_gelu": quick}
    preprocess = {**HALF, "interpolation": "bilinear", "resize_mode": resize_mode, "fill_color": 200}
    (folder / "open_clip_config.json").write_text(json.dumps({"model_cfg": model, "preprocess_cfg": preprocess}))
    files, texts = drawn(5)
    name = {"hf-hub:": "hf-hub:our/model", "local-dir:": f"local-dir:{folder}"}[way]
    wanted = plain(name, name, files, texts)
    np.testing.assert_allclose(scored(make_store, name, files, texts), wanted, rtol=0, atol=TOLERANCE)


@pytest.mark.parametrize("architecture", ["ViT-B-16-SigLIP", "PE-Core-B-16"])
def test_random_weights_have_the_preprocess_of_their_architecture(hub: Hub, small_models, architecture):
    hub.tokenizer("timm/ViT-B-16-SigLIP")
    steps = Encoder(f"{architecture}/random", "cpu").preprocess.transforms
    assert tuple(steps[0].size) == (160, 160) and tuple(steps[-1].mean) == (0.5, 0.5, 0.5)


def test_openais_archives_are_read_and_run_with_quickgelu(make_store, hub: Hub, small_models, tmp_path):
    save("ViT-B-32", tmp_path / "w.safetensors", 2)
    model = open_clip().create_model("ViT-B-32", pretrained=str(tmp_path / "w.safetensors"))

    class Archive(torch.nn.Module):
        def __init__(self, state):
            super().__init__()
            for name, value in state.items():
                place, parts = self, name.split(".")
                for part in parts[:-1]:
                    if not hasattr(place, part):
                        place.add_module(part, torch.nn.Module())
                    place = getattr(place, part)
                place.register_buffer(parts[-1], value)

        def forward(self, x):
            return x

    torch.jit.script(Archive(model.state_dict())).save(str(tmp_path / "ViT-B-32.pt"))
    files, texts = drawn(5)
    how = told(tmp_path / "w.safetensors", True, CLIP, "bicubic", "shortest")
    wanted = plain("ViT-B-32", "ViT-B-32", files, texts, **how)
    found = scored(make_store, f"ViT-B-32/{tmp_path / 'ViT-B-32.pt'}", files, texts)
    np.testing.assert_allclose(found, wanted, rtol=0, atol=TOLERANCE)


def test_of_all_published_pairs_27_need_an_activation_that_their_architecture_does_not_have():
    clip, corrected = open_clip(), []
    for architecture, tag in clip.list_pretrained():
        own = bool(clip.get_model_config(architecture).get("quick_gelu"))
        settings = settings_of(f"{architecture}/{tag}")
        assert settings.quick_gelu == (own or bool(clip.get_pretrained_cfg(architecture, tag).get("quick_gelu")))
        assert not settings.preprocess, "open_clip itself takes the tag's"
        if settings.quick_gelu and not own:
            corrected.append(f"{architecture}/{tag}")
    assert len(corrected) == 27
    assert {"ViT-L-14/openai", "ViT-B-16/dfn2b", "ViT-H-14/dfn5b", "ViT-bigG-14/metaclip_fullcc"} <= set(corrected)


def test_a_file_of_unknown_origin_runs_as_its_architecture_and_says_so(tmp_path):
    (tmp_path / "mine.pt").write_bytes(b"weights")
    model = f"ViT-B-32/{tmp_path / 'mine.pt'}"
    assert settings_of(model).words() == "GELU, mean 0.481455 0.457827 0.408211, std 0.26863 0.261303 0.275777, " + (
        "interpolation bicubic, resize_mode shortest"
    )
    assert f"those are ViT-B-32-quickgelu/{tmp_path / 'mine.pt'}" in doubt(model)
    assert "(GELU, " in model_weights(model)
    quick = model.replace("ViT-B-32/", "ViT-B-32-quickgelu/")
    assert settings_of(quick).quick_gelu and not doubt(quick) and "(QuickGELU, " in model_weights(quick)
    assert not doubt(f"ViT-B-32-256/{tmp_path / 'mine.pt'}"), "none of its tags has QuickGELU"


def test_a_file_called_as_a_tag_is_not_taken_for_it(tmp_path, monkeypatch):
    (tmp_path / "openai").write_bytes(b"weights")
    monkeypatch.chdir(tmp_path)
    assert model_weights("ViT-B-32/openai") == "ViT-B-32/openai"


@pytest.mark.parametrize(("told_in_config", "quick"), [({}, True), ({"quick_gelu": False}, False)])
def test_a_hub_repository_that_a_tag_is_published_in(hub: Hub, small_models, told_in_config, quick):
    """Its config says how it runs; where that says nothing of the activation, the tag does."""
    folder = hub.place("timm/vit_base_patch32_clip_224.openai")
    config = {**open_clip().get_model_config("ViT-B-32"), **told_in_config}
    (folder / "open_clip_config.json").write_text(json.dumps({"model_cfg": config}))
    assert settings_of("hf-hub:timm/vit_base_patch32_clip_224.openai").quick_gelu is quick


def write_config(folder: Path, architecture: str = "ViT-B-32") -> None:
    config = {"model_cfg": open_clip().get_model_config(architecture), "preprocess_cfg": {}}
    (folder / "open_clip_config.json").write_text(json.dumps(config))


@pytest.mark.parametrize("model", ["hf-hub:our/empty", "local-dir:empty"])
def test_a_model_without_weights_is_not_run_with_random_ones(hub: Hub, small_models, tmp_path, monkeypatch, model):
    """open_clip alone logs a warning and goes on."""
    write_config(hub.place("our/empty"))
    (tmp_path / "empty").mkdir()
    write_config(tmp_path / "empty")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(CurateError, match=f"model '{model}' cannot be loaded: .*could not be loaded"):
        Encoder(model, "cpu")


@pytest.mark.parametrize("data", [b"no weights", b"PK\x05\x06" + bytes(18)])
def test_weights_that_cannot_be_read_are_named(tmp_path, small_models, data):
    (tmp_path / "w.pt").write_bytes(data)
    with pytest.raises(CurateError, match=r"model 'ViT-B-32/.*w\.pt' cannot be loaded: ") as caught:
        Encoder(f"ViT-B-32/{tmp_path / 'w.pt'}", "cpu")
    assert "\n" not in str(caught.value)


def test_weights_of_another_architecture_are_named(tmp_path, small_models):
    save("RN50", tmp_path / "w.safetensors", 1)
    with pytest.raises(
        CurateError, match=r"cannot be loaded: RuntimeError: Error\(s\) in loading state_dict"
    ) as caught:
        Encoder(f"ViT-B-32/{tmp_path / 'w.safetensors'}", "cpu")
    assert "\n" not in str(caught.value)
