import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont

from curate.annotate.step import annotate
from curate.catalog import load
from tests.conftest import HERE, column, picture

pytestmark = pytest.mark.slow


def sign(*lines, size=(320, 240)):
    image = Image.new("RGB", size, "white")
    for number, line in enumerate(lines):
        ImageDraw.Draw(image).text((30, 30 + 70 * number), line, "black", ImageFont.load_default(36))
    return image


@pytest.fixture(scope="module")
def op():
    made = load("score.ocr")
    made.setup()
    return made


def read(op, *images):
    return op.apply({}, images)


def test_reads_words_line_by_line(op):
    found = read(op, sign("A red", "STOP sign"))
    assert found["ocr_words"] == [["A", "red", "STOP", "sign"]] and found["n_ocr_words"] == [4]
    assert found["ocr_word_boxes"] == [[0, 0, 1, 1]] and found["n_text_boxes"] == [2]
    assert all(0.9 < score <= 1 for score in found["ocr_word_scores"][0])
    upper, lower = found["text_polygons"][0].reshape(2, 4, 2)
    assert upper[:, 1].max() < lower[:, 1].min()


def test_no_text_is_an_empty_list(op):
    found = read(op, Image.new("RGB", (100, 80), "green"))
    assert found["n_ocr_words"] == [0] and found["n_text_boxes"] == [0]
    assert found["ocr_words"] == found["ocr_word_scores"] == found["ocr_word_boxes"] == [[]]


def test_boxes_are_those_of_text_boxes(op):
    boxes = load("score.text_boxes")
    boxes.setup()
    images = [sign("one"), sign("two", "three"), sign()]
    ours, theirs = read(op, *images), boxes.apply({}, images)
    assert all((a == b).all() for a, b in zip(ours["text_polygons"], theirs["text_polygons"], strict=True))
    assert all(ours[name] == theirs[name] for name in ("n_text_boxes", "n_unread_boxes", "text_area_frac"))


@pytest.mark.parametrize(("boxes", "kept", "numbers"), [("read", 0, []), ("found", 1, [])])
def test_an_unsure_line_gives_no_words(boxes, kept, numbers):
    strict = load({"score.ocr": {"min_word_score": 1, "boxes": boxes}})
    strict.setup()
    found = read(strict, sign("hello"))
    assert found["n_text_boxes"] == [kept] and found["n_unread_boxes"] == [1]
    assert found["n_ocr_words"] == [0] and found["ocr_word_boxes"] == [numbers]


def test_colours_are_not_swapped(op):
    """Recognisers want BGR: letters that differ from their ground in blue alone are read in either order, so look
    at what they are given."""
    seen = []

    class Spy:
        def crop_text_regions(self, pixels, polygons):
            seen.append(pixels[0, 0].tolist())
            return []

        def recognize_txt(self, crops):
            return type("Read", (), {"txts": (), "scores": ()})

    engine = op._engine
    inner, engine._own.engine = engine._own.engine, Spy()
    try:
        engine._read(Image.new("RGB", (9, 9), (1, 2, 3)), np.zeros((1, 4, 2), np.float32))
    finally:
        engine._own.engine = inner
    assert seen == [[3, 2, 1]]


def test_in_a_pass_with_rows_without_an_image(make_store, tmp_path):
    sign("hello world").save(tmp_path / "sign.png")
    view = make_store(4, images=[None, (tmp_path / "sign.png").read_bytes(), b"no image", picture(1)])
    view = annotate(view, [load("score.ocr"), load("score.cotr")], HERE)
    assert column(view, "ocr_words") == [None, ["hello", "world"], None, []]
    assert column(view, "ocr_word_boxes") == [None, [0, 0], None, []]
    assert column(view, "cotr") == [None, 0, None, 0]
