import numpy as np
import pyarrow as pa
import pytest
from PIL import Image, ImageDraw, ImageFont

from curate.annotate.step import annotate
from curate.catalog import load
from tests.conftest import HERE, column, picture

pytestmark = pytest.mark.slow

LINES = ["hello there", "good night"]


def sign():
    image = Image.new("RGB", (320, 240), "white")
    for number, line in enumerate(LINES):
        ImageDraw.Draw(image).text((30, 30 + 90 * number), line, "black", ImageFont.load_default(40))
    return image


def polygon(left, top, right, bottom):
    return np.array([left, top, right, top, right, bottom, left, bottom], np.float32)


UPPER, LOWER = polygon(20, 25, 300, 85), polygon(20, 115, 300, 180)


@pytest.mark.parametrize("fill", ["mean", "median", "inpaint"])
def test_words_that_are_left(fill):
    op = load({"score.text_left": {"fill": fill}})
    op.setup()
    polygons = [np.concatenate([UPPER, LOWER]), UPPER, [], LOWER]
    columns = {"text_polygons": pa.array(polygons, pa.list_(pa.float32()))}
    assert op.apply(columns, [sign()] * 4)["text_left"] == [0, 2, 0, 2], "an image without boxes is not looked at"


def test_in_a_pass_after_the_boxes(make_store, tmp_path):
    sign().save(tmp_path / "sign.png")
    view = make_store(3, images=[(tmp_path / "sign.png").read_bytes(), None, picture(1)])
    view = annotate(view, [load("score.text_boxes"), load("score.text_left")], HERE)
    assert column(view, "text_left") == [0, None, 0] and column(view, "n_text_boxes") == [2, None, 0]
