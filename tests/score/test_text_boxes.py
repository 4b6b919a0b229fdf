import importlib
import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image, ImageDraw, ImageFont

from curate.annotate.step import annotate
from curate.catalog import load
from curate.errors import CurateError
from curate.text_in_images.masking import boxes_of, polygons_of
from curate.text_in_images.ocr_engine import Line, is_read
from tests.conftest import HERE, column, picture

pytestmark = pytest.mark.slow

rapidocr = importlib.import_module("rapidocr")


def sign(text, size=(320, 200), at=(30, 80), font_px=36):
    """Black letters on white; and the pixels that they take, as (left, top, right, bottom)."""
    image = Image.new("RGB", size, "white")
    font = ImageFont.load_default(font_px)
    ImageDraw.Draw(image).text(at, text, "black", font)
    ink = np.argwhere(np.asarray(image).min(axis=2) < 128)
    (top, left), (bottom, right) = ink.min(axis=0), ink.max(axis=0)
    return image, (left, top, right, bottom)


def detector_file() -> Path:
    return next(Path(rapidocr.__file__).parent.glob("models/*det*.onnx"))


@pytest.fixture(scope="module")
def op():
    made = load("score.text_boxes")
    made.setup()
    return made


def boxes(op, *images):
    return op.apply({}, images)


def test_a_line_of_text(op):
    image, (left, top, right, bottom) = sign("A red STOP sign")
    found = boxes(op, image)
    assert found["n_text_boxes"] == [1]
    ((x0, y0, x1, y1),) = boxes_of(found["text_polygons"][0], *image.size).tolist()
    assert x0 <= left + 2 and y0 <= top + 2 and x1 >= right - 2 and y1 >= bottom - 2
    assert x0 > left - 30 and y0 > top - 20 and x1 < right + 30 and y1 < bottom + 20
    assert found["text_area_frac"] == [pytest.approx((x1 - x0) * (y1 - y0) / (320 * 200))]


def test_images_without_text_give_zero_and_an_empty_list(op):
    ramp = Image.fromarray(np.tile(np.arange(256, dtype=np.uint8)[None, :, None], (200, 1, 3)))
    odd = [Image.new("RGB", size, "red") for size in ((1, 1), (10, 3000), (3000, 10), (16, 16))]
    found = boxes(op, ramp, *odd)
    assert found["n_text_boxes"] == [0] * 5 and found["text_area_frac"] == [0] * 5
    assert [len(polygons) for polygons in found["text_polygons"]] == [0] * 5


def test_polygons_are_in_pixels_of_the_image_whatever_its_size(op):
    image, (left, top, right, bottom) = sign("hello world", size=(3000, 1800), at=(300, 900), font_px=300)
    ((x0, y0, x1, y1),) = boxes_of(boxes(op, image)["text_polygons"][0], *image.size).tolist()
    assert x0 < left + 30 and top + 30 > y0 and x1 > right - 30 and y1 > bottom - 30


def test_a_flat_banner(op):
    image, _ = sign("one long line of text on a banner", size=(640, 40), at=(10, 4), font_px=28)
    assert boxes(op, image)["n_text_boxes"] == [1]


def test_the_largest_word_of_a_poster_has_a_box(op):
    image = Image.new("RGB", (512, 512), "white")
    font = ImageFont.load_default(197)
    ImageDraw.Draw(image).text((256, 256), "STOP", "black", font, anchor="mm")
    for options in ({}, {"boxes": "found"}, {"max_height_frac": 0.1}, {"boxes": "found", "max_height_frac": 1}):
        asked = load({"score.text_boxes": options})
        asked.setup()
        assert boxes(asked, image)["n_text_boxes"] == [1], options


def small(image, side):
    copy = image.copy()
    copy.thumbnail((side, side), Image.Resampling.BICUBIC)
    return copy


def test_small_images_are_enlarged_before_text_is_looked_for():
    """A line of letters 4 pixels high is read only when it is enlarged; its polygon is in the small image's pixels."""
    image = small(sign("a red stop sign", size=(1200, 800), at=(300, 500), font_px=18)[0], 256)
    found = {}
    for side in (0, 768):
        asked = load({"score.text_boxes": {"enlarge_side_px": side}})
        asked.setup()
        found[side] = boxes(asked, image)
    assert found[0]["n_text_boxes"] == [0] and found[768]["n_text_boxes"] == [1]
    ((x0, y0, x1, y1),) = boxes_of(found[768]["text_polygons"][0], *image.size).tolist()
    ink = np.argwhere(np.asarray(image).min(axis=2) < 200)
    (top, left), (bottom, right) = ink.min(axis=0), ink.max(axis=0)
    assert x0 <= left + 2 and y0 <= top + 2 and x1 >= right - 2 and y1 >= bottom - 2
    assert x0 > left - 8 and y0 > top - 8 and x1 < right + 8 and y1 < bottom + 8


def test_a_box_that_is_not_read_is_counted_and_is_no_polygon():
    image, _ = sign("hello")
    strict = load({"score.text_boxes": {"min_word_score": 1}})
    strict.setup()
    found = boxes(strict, image)
    assert found["n_text_boxes"] == [0] and found["text_area_frac"] == [0] and found["n_unread_boxes"] == [1]
    lenient = load({"score.text_boxes": {"boxes": "found", "min_word_score": 1}})
    lenient.setup()
    found = boxes(lenient, image)
    assert found["n_text_boxes"] == [1] and found["n_unread_boxes"] == [None]


def test_a_box_of_a_quarter_of_the_image_must_be_read_however_long_it_is():
    class Detector:
        """Sees one box in every image, and reads it as it is told."""

        def __init__(self, height, text, score):
            self.boxes = np.array([[[0, 0], [100, 0], [100, height], [0, height]]], np.float32)
            self.line = type("Read", (), {"txts": (text,), "scores": (score,)})

        def __call__(self, image):
            return self

        def crop_text_regions(self, pixels, polygons):
            return []

        def recognize_txt(self, crops):
            return self.line

    for boxes_that_count in ("read", "found"):
        op = load({"score.text_boxes": {"boxes": boxes_that_count, "enlarge_side_px": 0}})
        op.setup()
        for height, text, score, kept in [
            (20, "~", 0.9, 0),
            (30, "~", 0.9, 0),
            (30, "OEE", 0.5, 0),
            (30, "SALE", 0.9, 1),
        ]:
            op._engine._own.engine = Detector(height, text, score)
            expected = 1 if boxes_that_count == "found" and height == 20 else kept
            assert boxes(op, Image.new("RGB", (100, 100)))["n_text_boxes"] == [expected]


@pytest.mark.parametrize(
    ("text", "score", "share", "counts"),
    [
        ("7", 0.5, 0.05, True),
        ("-", 1.0, 0.01, False),
        ("", 0.0, 0.01, False),
        ("O", 0.99, 0.06, False),
        ("wo", 0.88, 0.65, False),
        ("ID", 1.0, 0.5, True),
        ("STOP", 0.8, 0.5, True),
        ("OEE", 0.53, 1.0, False),
        ("OEE", 0.53, 0.05, True),
        ("...a", 1.0, 0.5, False),
    ],
)
def test_a_large_box_needs_several_letters(text, score, share, counts):
    assert is_read(Line(text, score), share) is counts


def test_depends_on_the_image_alone(op):
    images = [sign(text)[0] for text in ("first", "second one", "third")]
    together = boxes(op, *images)["text_polygons"]
    again = [boxes(op, image)["text_polygons"][0] for image in reversed(images)][::-1]
    assert all((one == other).all() for one, other in zip(together, again, strict=True))


def test_in_a_pass_rows_without_an_image_cost_the_others_nothing(make_store, tmp_path):
    files = []
    for number, text in enumerate(["one line", "another"]):
        sign(text)[0].save(tmp_path / f"{number}.png")
        files.append((tmp_path / f"{number}.png").read_bytes())
    view = make_store(5, images=[files[0], None, b"no image", picture(1), files[1]])
    view = annotate(view, [load("score.text_boxes")], HERE)
    assert column(view, "n_text_boxes") == [1, None, None, 0, 1]
    polygons = column(view, "text_polygons")
    assert polygons[1] is None and polygons[2] is None and polygons[3] == [] and len(polygons[4]) == 8
    status = view.store.read_part(view.columns["text_polygons"], 0, ["text_boxes_status"])["text_boxes_status"]
    assert status.to_pylist() == ["ok", "no_image", "no_image", "ok", "ok"]


def test_another_detector_is_another_table(tmp_path):
    copy = shutil.copy(detector_file(), tmp_path / "other.onnx")
    other = load({"score.text_boxes": {"detector": str(copy)}})
    other.check()
    assert other.weights() != load("score.text_boxes").weights()
    other.setup()
    assert boxes(other, sign("hello")[0])["n_text_boxes"] == [1]


def test_a_detector_that_is_not_there():
    with pytest.raises(CurateError, match=r"no OCR model 'nowhere\.onnx'"):
        load({"score.text_boxes": {"detector": "nowhere.onnx"}}).check()


def test_a_column_reads_back_as_polygons(op):
    images = [sign("one")[0], Image.new("RGB", (50, 50)), sign("two")[0]]
    stored = pa.array(boxes(op, *images)["text_polygons"], pa.list_(pa.float32()))
    assert [polygons.shape for polygons in polygons_of(stored)] == [(1, 4, 2), (0, 4, 2), (1, 4, 2)]
