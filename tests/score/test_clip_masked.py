import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

from curate.catalog import load
from curate.op import Rows
from curate.text_in_images.masking import without_text

MODEL = "lite0-minilm"
BOX = [4.0, 4.0, 27.0, 4.0, 27.0, 13.0, 4.0, 13.0]


class Colour:
    """An encoder whose image vector is the mean colour; it counts what it encodes."""

    def __init__(self):
        self.seen = []

    def images(self, pictures):
        self.seen += pictures
        return units([np.asarray(picture, float).mean(axis=(0, 1)) for picture in pictures])


def units(vectors):
    vectors = np.asarray(vectors, np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def spotted(colour="red"):
    """A blue sheet with a block of another colour, where BOX is."""
    image = Image.new("RGB", (32, 32), "blue")
    image.paste(colour, (4, 4, 28, 14))
    return image


def score(images, polygons, cosine, texts, **options):
    op = load({"score.clip_masked": options})
    encoder = Colour()
    object.__setattr__(op, "_encoder", encoder)
    columns = {
        "text_polygons": pa.array(polygons, pa.list_(pa.float32())),
        "lite": pa.array(cosine, pa.float32()),
        "lite_txt": pa.array(list(np.asarray(texts, np.float16)), pa.list_(pa.float16())),
    }
    return op.batch(Rows(columns, images))[op.table()], encoder


@pytest.mark.parametrize("fill", ["mean", "median", "inpaint"])
def test_the_block_is_gone_and_only_images_with_text_are_encoded(fill):
    images, red, blue = [spotted(), spotted(), spotted()], [1, 0, 0], [0, 0, 1]
    found, encoder = score(images, [BOX, [], BOX], [0.5, 0.25, 0.5], [red, red, blue], fill=fill)
    assert found.tolist() == pytest.approx([0, 0.25, 1], abs=1e-3)
    assert found.dtype == np.float32 and found[1] == np.float32(0.25)
    assert len(encoder.seen) == 2


def test_no_text_at_all_runs_no_model():
    found, encoder = score([spotted()], [[]], [0.125], [[1, 0, 0]])
    assert found.tolist() == [0.125] and not encoder.seen


def test_stored_caption_vectors_are_made_unit_again():
    found, _ = score([spotted()], [BOX], [0.5], [[0, 0, 2]])
    assert found.tolist() == pytest.approx([1])


def test_columns_are_named_after_model_and_fill():
    names = {
        "clip_b32_masked": {"model": "ViT-B-32/openai"},
        "clip_b32_inpainted": {"model": "ViT-B-32/openai", "fill": "inpaint"},
        "lite_masked": {},
        "clip_b32_masked_median": {"model": "ViT-B-32/openai", "fill": "median"},
        "mine": {"name": "mine"},
    }
    for name, options in names.items():
        op = load({"score.clip_masked": options})
        assert list(op.makes()) == [name] == [op.table()]
    assert load({"score.clip_masked": {"model": "ViT-B-32/openai"}}).reads() == (
        "image",
        "text_polygons",
        "clip_b32",
        "clip_b32_txt",
    )


@pytest.mark.slow
def test_with_the_embedded_encoder():
    """Against encoding the masked image by hand."""
    clip, masked = load({"score.clip": {"device": "cpu"}}), load({"score.clip_masked": {"device": "cpu"}})
    clip.setup()
    masked.setup()
    images = [spotted(), spotted("white")]
    text = pa.array(["a blue sheet", "a white block"])
    made = clip.apply({"text": text}, images)
    columns = {
        "text_polygons": pa.array([BOX, []], pa.list_(pa.float32())),
        "lite": made["lite"],
        "lite_txt": made["lite_txt"],
    }
    found = masked.batch(Rows(columns, images))["lite_masked"]
    by_hand = clip.apply({"text": text[:1]}, [without_text(images[0], np.array(BOX), "mean")])["lite"][0].as_py()
    assert found[0] == pytest.approx(by_hand, abs=1e-3) and found[1] == made["lite"][1].as_py()
