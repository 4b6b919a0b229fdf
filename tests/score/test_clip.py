"""score.clip through the whole pass gives what a plain open_clip loop gives, and says which rows have no score."""

from __future__ import annotations

import importlib
import io
import os
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pytest
from conftest import HERE, picture
from lite_folder import write_folder
from PIL import Image, ImageOps

from curate.annotate.step import annotate
from curate.catalog import load
from curate.demo import scenes
from curate.errors import CurateError
from curate.models.open_clip_import import open_clip
from curate.store.view import View

pytestmark = pytest.mark.slow

torch = importlib.import_module("torch")

#: A small architecture of open_clip's own, with CLIP's tokenizer.
SMALL = "ViT-S-32-alt/random"
COSINE, STORED = 1e-5, 1e-3
LONG = "a photo of a very large red bus that stands in the rain near a green house " * 8


@pytest.fixture(autouse=True)
def _without_network(monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")


def drawn(count: int, seed: int = 7) -> tuple[list[bytes], list[str]]:
    """Pictures between 224 and 900 px on a side as JPEG and PNG files, with their captions; the last is a long one."""
    rng, files, texts = random.Random(seed), [], []
    for number in range(count):
        image, text, _ = scenes.draw(rng)
        file = io.BytesIO()
        image.save(file, "JPEG" if number % 3 else "PNG", **({"quality": 92} if number % 3 else {}))
        files.append(file.getvalue())
        texts.append(text)
    return files, [*texts[:-1], LONG]


def plain(model: str, files: Sequence[bytes], texts: Sequence[str], tmp_path: Path) -> tuple[np.ndarray, np.ndarray]:
    """What anybody would write: open_clip's preprocess, model and tokenizer, one row after the other."""
    name = model.partition("/")[0]
    if model == "lite0-minilm":
        write_folder(tmp_path / "lite")
        name = f"local-dir:{tmp_path / 'lite'}"
    torch.manual_seed(0)
    encoder, _, preprocess = open_clip().create_model_and_transforms(name)
    encoder.eval()
    tokenizer = open_clip().get_tokenizer(name)
    images, captions = [], []
    with torch.no_grad():
        for file, text in zip(files, texts, strict=True):
            pixels = preprocess(on_white(file))
            image, caption = encoder.encode_image(pixels[None]), encoder.encode_text(tokenizer([text]))
            images.append((image / image.norm(dim=-1, keepdim=True))[0].numpy())
            captions.append((caption / caption.norm(dim=-1, keepdim=True))[0].numpy())
    return np.stack(images), np.stack(captions)


def on_white(file: bytes) -> Image.Image:
    """An opaque, upright image as it is; what is transparent lies on white, as a page shows it."""
    with Image.open(io.BytesIO(file)) as opened:
        upright = ImageOps.exif_transpose(opened)
        if upright.mode in ("LA", "RGBA", "PA") or "transparency" in upright.info:
            layers = upright.convert("RGBA")
            return Image.alpha_composite(Image.new("RGBA", layers.size, "white"), layers).convert("RGB")
        return upright.convert("RGB")


def scored(view: View, *names: str, **options: Any) -> list[tuple[Any, ...]]:
    """Columns of the table `match`, in the order of the rows, after a pass over the store."""
    op = load({"score.clip": {"device": "cpu", "name": "match", **options}})
    annotate(view, [op], HERE)
    return view.store["match"].select(names).collect().rows()


def same_as_plain(view: View, files: Sequence[bytes], texts: Sequence[str], model: str, tmp_path: Path) -> None:
    rows = scored(view, "match", "match_img", "match_txt", "match_status", model=model)
    cosine, image, text, status = zip(*rows, strict=True)
    assert set(status) == {"ok"}
    images, captions = plain(model, files, texts, tmp_path)
    np.testing.assert_allclose(cosine, (images * captions).sum(1), atol=COSINE)
    np.testing.assert_allclose(np.array(image, np.float32), images, atol=STORED)
    np.testing.assert_allclose(np.array(text, np.float32), captions, atol=STORED)


@pytest.mark.parametrize(("model", "count"), [("lite0-minilm", 100), (SMALL, 100)])
def test_same_as_a_plain_open_clip_loop(make_store, tmp_path, model, count):
    files, texts = drawn(count)
    view = make_store([{"text": text} for text in texts], rows_per_shard=64, images=files)
    same_as_plain(view, files, texts, model, tmp_path)


@pytest.mark.soak
@pytest.mark.skipif("CURATE_TEST_POOL" not in os.environ, reason="CURATE_TEST_POOL names no folder of real pairs")
def test_same_as_a_plain_open_clip_loop_on_real_pairs(make_store, tmp_path):
    """CURATE_TEST_POOL: a folder with pool.parquet, columns `file` (under the folder) and `caption`."""
    folder = Path(os.environ["CURATE_TEST_POOL"])
    pool = pl.read_parquet(folder / "pool.parquet", columns=["file", "caption"]).drop_nulls()
    pool = pool.filter(pool["caption"].str.strip_chars() != "").sample(500, seed=1)
    pairs = [((folder / name).read_bytes(), caption) for name, caption in pool.iter_rows()]
    # What a colour profile does to the pixels is held elsewhere.
    pairs = [(file, caption) for file, caption in pairs if "icc_profile" not in Image.open(io.BytesIO(file)).info]
    assert len(pairs) > 400
    files, texts = zip(*pairs, strict=True)
    view = make_store([{"text": text} for text in texts], rows_per_shard=250, images=files)
    same_as_plain(view, files, texts, "lite0-minilm", tmp_path)


def test_cuda_is_not_replaced_by_a_slow_cpu(make_store):
    if torch.cuda.is_available():
        pytest.skip("this machine has CUDA")
    with pytest.raises(CurateError, match="device: cuda was asked for"):
        load({"score.clip": {"device": "cuda"}}).setup()


def test_a_row_without_caption_or_image_has_no_score_and_says_why(make_store):
    jpeg = drawn(2)[0][1]
    files = [picture(1), picture(2), None, b"no picture", jpeg[: len(jpeg) // 2], picture(6)]
    texts = ["red", "  ", "no image", "no pixels", "half a file", LONG]
    view = make_store([{"text": text} for text in texts], images=files)
    rows = scored(view, "match", "match_img", "match_txt", "match_status", model=SMALL)
    status = ["ok", "empty_text", "no_image", "no_image", "undecodable", "ok"]
    assert [row[3].partition(":")[0] for row in rows] == status
    assert [row[0] is None for row in rows] == [False, True, True, True, True, False]
    assert [row[1] is None for row in rows] == [False, False, True, True, True, False], "pixels need no caption"
    assert [row[2] is None for row in rows] == [False, True, True, True, True, False]


@pytest.mark.parametrize(("model", "cut_at"), [("lite0-minilm", 75), (SMALL, 75)])
def test_says_which_captions_are_longer_than_the_context(make_store, model, cut_at):
    texts = [" ".join(["bus"] * n) for n in (1, cut_at - 1, cut_at, cut_at + 1, 400)] + [" "]
    view = make_store([{"text": text} for text in texts], images=[picture(n) for n in range(len(texts))])
    assert scored(view, "match_cut", model=model) == [(False,), (False,), (False,), (True,), (True,), (None,)]


@pytest.mark.parametrize("model", ["lite0-minilm", SMALL])
def test_windows_of_a_long_caption_are_averaged(make_store, model):
    first, second = " ".join(["bus"] * 75), " ".join(["tree"] * 20)
    texts = ["short", first, second, f"{first} {second}"]
    files = [picture(n) for n in range(4)]
    cut = scored(make_store([{"text": t} for t in texts], images=files), "match_txt", "match_cut", model=model)
    view = make_store([{"text": t} for t in texts], images=files)
    whole = scored(view, "match_txt", "match_cut", model=model, windows="average")
    assert [row[1] for row in cut] == [False, False, False, True]
    assert [row[1] for row in whole] == [False] * 4
    assert [row[0] for row in whole[:3]] == [row[0] for row in cut[:3]], "short captions are as ever"
    mean = np.array(whole[1][0], np.float32) + np.array(whole[2][0], np.float32)
    np.testing.assert_allclose(np.array(whole[3][0], np.float32), mean / np.linalg.norm(mean), atol=STORED)


def test_windows_and_precision_are_part_of_the_identity_and_compile_is_not():
    plain_spec = load("score.clip").spec()
    assert load({"score.clip": {"compile": True}}).spec() == plain_spec
    for option in ({"windows": "average"}, {"precision": "bf16"}):
        assert load({"score.clip": option}).spec() != plain_spec


def test_a_row_without_a_caption_has_its_images_vector_and_all_that_comes_of_it(make_store):
    """Clusters, semantic duplicates and heads need no caption; the vectors are those of the same images with one."""
    files = [picture(n) for n in (1, 2, 2, 3)]
    view = make_store([{"text": t} for t in ("", "red", "   ", "blue")], images=files)
    op = load({"score.clip": {"device": "cpu", "model": SMALL, "name": "match"}})
    clusters = load({"balance.clusters": {"by": "match_img", "k": 1}})
    semantic = load({"dedupe.semantic": {"by": "match_img"}})
    view = annotate(view, [op, clusters, semantic], HERE)
    table = view.store["match"].collect()
    assert table["match_img"].is_not_null().all() and table["match"].is_not_null().to_list() == [
        False,
        True,
        False,
        True,
    ]
    assert view.store["match_img_cluster"].collect()["match_img_cluster"].to_list() == [0] * 4
    assert view.store["semantic_match_img"].collect()["semantic_match_img_of"].is_not_null().sum() >= 1
    other = make_store([{"text": t} for t in ("a", "red", "b", "blue")], images=files)
    assert table["match_img"].to_list() == [row[0] for row in scored(other, "match_img", model=SMALL)]


def test_null_is_told_apart_from_an_empty_caption():
    images = [Image.open(io.BytesIO(picture(n))) for n in range(4)]
    for windows in ("cut", "average"):
        op = load({"score.clip": {"device": "cpu", "model": SMALL, "name": "match", "windows": windows}})
        op.setup()
        made = op.apply({"text": pa.array([None, " ", "red", LONG])}, images)
        assert made["status"].tolist() == ["no_text", "empty_text", "ok", "ok"]
        assert [v is None for v in made["match_txt"].to_pylist()] == [True, True, False, False]
        assert made["match_img"].is_valid().to_pylist() == [True] * 4
        none = op.apply({"text": pa.array([None, None], pa.string())}, images[:2])
        assert none["match"].to_pylist() == [None, None] and none["status"].tolist() == ["no_text"] * 2


def test_a_vector_that_is_not_finite_is_null_and_costs_no_other_row():
    op = load({"score.clip": {"device": "cpu", "model": SMALL, "name": "match"}})
    op.setup()
    encode = op._encoder.ready_images

    class Broken:
        tokens, pixels, begin_captions = op._encoder.tokens, op._encoder.pixels, op._encoder.begin_captions

        def begin_images(self, made: Sequence[Any]) -> Any:
            vectors = encode(made)
            vectors[1] = np.nan
            return lambda: vectors

    object.__setattr__(op, "_encoder", Broken())
    made = op.apply({"text": pa.array(["a", "b", "c"])}, [Image.open(io.BytesIO(picture(n))) for n in range(3)])
    assert made["status"].tolist() == ["ok", "not_finite_vector", "ok"]
    assert [v is None for v in made["match_img"].to_pylist()] == [False, True, False]
    assert [v is None for v in made["match"].to_pylist()] == [False, True, False]
