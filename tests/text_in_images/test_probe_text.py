import numpy as np
import pytest
from PIL import ImageFont

from curate.errors import CurateError
from curate.text_in_images.probe_text import STYLES, measure, probe, render

pytestmark = pytest.mark.slow

WORDS = ["stop sign", "hello", "red apple", "a cat", "open door", "photosynthesis", "one", "two", "three", "four"]


def units(vectors):
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def reader(words):
    """Two towers that read: a picture has the vector of the text that it was made of, plus a little of its own."""
    code = units(np.random.default_rng(0).normal(size=(len(words), 64)))
    made = {render(word, style).tobytes(): code[i] for i, word in enumerate(words) for style in STYLES}
    images = lambda pictures: np.stack([made[picture.tobytes()] for picture in pictures])  # noqa: E731
    texts = lambda captions: np.stack([code[words.index(caption)] for caption in captions])  # noqa: E731
    return images, texts


def test_an_encoder_that_reads():
    images, texts = reader(WORDS)
    found = measure("reader", images, texts, WORDS, n=10, seed=0)
    assert found.texts == 10 and found.own == pytest.approx(1) and found.first == 1 and found.chance == 0.1
    assert found.spotting == pytest.approx(found.own - found.other)
    assert set(found.by_style) == set(STYLES)
    assert np.mean(list(found.by_style.values())) == pytest.approx(found.spotting)


def test_an_encoder_that_sees_only_colour():
    texts = reader(WORDS)[1]

    def images(pictures):
        means = [np.asarray(picture, float).mean(axis=(0, 1)) for picture in pictures]
        return units(np.pad(np.round(np.stack(means) / 64) + 1, ((0, 0), (0, 61))))

    found = measure("blind", images, texts, WORDS, n=10, seed=0)
    assert abs(found.spotting) < 0.1 and found.first < 0.5


def test_draws_by_seed_whatever_the_order_of_the_words():
    images, texts = reader(WORDS)
    first = measure("reader", images, texts, WORDS, n=4, seed=1)
    again = measure("reader", images, texts, [*WORDS[::-1], "  hello ", ""], n=4, seed=1)
    other = measure("reader", images, texts, WORDS, n=4, seed=2)
    assert first == again and first.other != other.other


@pytest.mark.parametrize("words", [[], ["one"], ["one", " one "]])
def test_too_few_texts(words):
    with pytest.raises(CurateError, match="two different texts"):
        measure("reader", *reader(["one"]), words, n=10, seed=0)


@pytest.mark.parametrize("text", ["a", "stop sign", "pneumonoultramicroscopicsilicovolcanoconiosis", "word " * 30])
@pytest.mark.parametrize("style", STYLES)
def test_text_is_in_the_middle_and_within_the_canvas(text, style):
    pixels = np.asarray(render(text, style), int)
    assert pixels.shape == (224, 224, 3)
    inked = np.argwhere((pixels != pixels[0, 0]).any(axis=2))
    (top, left), (bottom, right) = inked.min(axis=0), inked.max(axis=0)
    assert min(top, left) > 0 and max(bottom, right) < 223
    assert abs((top + bottom) / 2 - 111.5) <= 2 and abs((left + right) / 2 - 111.5) <= 2


def test_the_styles_are_the_published_four():
    papers_and_inks = {
        style: (render("stop", style).getpixel((0, 0)), darkest_and_brightest(style)) for style in STYLES
    }
    white, black, grey = (255,) * 3, (0,) * 3, (128,) * 3
    assert papers_and_inks == {
        "black on white": (white, (0, 255)),
        "white on black": (black, (0, 255)),
        "white on grey": (grey, (128, 255)),
        "black on grey": (grey, (0, 128)),
    }


def darkest_and_brightest(style):
    pixels = np.asarray(render("stop", style))
    return int(pixels.min()), int(pixels.max())


def test_a_font_of_ones_own(tmp_path):
    file = tmp_path / "own.ttf"
    file.write_bytes(ImageFont.load_default(20).path.getvalue())
    assert render("stop", font=str(file)) == render("stop"), "Pillow's own, from a file"
    with pytest.raises(CurateError, match=r"no font 'nowhere\.ttf': .*; expected a \.ttf or \.otf file"):
        render("stop", font="nowhere.ttf")


def test_probe_of_the_embedded_encoder():
    found = probe("lite0-minilm", WORDS, n=4, device="cpu")
    assert found.model == "lite0-minilm" and found.texts == 4 and -1 < found.spotting < 1
    assert found.as_dict()["chance"] == 0.25


def test_probe_of_no_model():
    with pytest.raises(CurateError, match="no model"):
        probe("ViT-B-33/openai", WORDS)
