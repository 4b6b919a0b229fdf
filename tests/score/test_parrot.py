import io

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image, ImageDraw, ImageFont

from curate.annotate.step import annotate
from curate.catalog import load
from curate.op import Rows
from tests.conftest import HERE, column, picture

pytestmark = pytest.mark.slow

UPPER = [4.0, 4.0, 27.0, 4.0, 27.0, 9.0, 4.0, 9.0]
LOWER = [4.0, 20.0, 27.0, 20.0, 27.0, 25.0, 4.0, 25.0]


class Redness:
    """An encoder that sees red against blue; it keeps what it encodes."""

    def __init__(self):
        self.seen = []

    def images(self, pictures):
        self.seen += pictures
        means = np.array([np.asarray(picture, np.float32).mean(axis=(0, 1)) for picture in pictures])
        return means / np.linalg.norm(means, axis=1, keepdims=True)


def sheet():
    image = Image.new("RGB", (32, 32), "blue")
    image.paste("red", (4, 4, 28, 10))
    image.paste("red", (4, 20, 28, 26))
    return image


def scores(rows, **options):
    """rows: (caption, polygons, words, their polygons, cosine, masked cosine)."""
    op, encoder = load({"score.parrot": options}), Redness()
    object.__setattr__(op, "_encoder", encoder)
    captions, polygons, words, boxes, cosine, masked = zip(*rows, strict=True)
    columns = {
        "text": pa.array(captions),
        "text_polygons": pa.array(polygons, pa.list_(pa.float32())),
        "ocr_words": pa.array(words, pa.list_(pa.string())),
        "ocr_word_boxes": pa.array(boxes, pa.list_(pa.int32())),
        "lite": pa.array(cosine, pa.float32()),
        "lite_masked": pa.array(masked, pa.float32()),
        "lite_inpainted": pa.array(masked, pa.float32()),
        "lite_txt": pa.array([np.array([1, 0, 0], np.float16)] * len(rows), pa.list_(pa.float16())),
    }
    found = op.batch(Rows(columns, [sheet()] * len(rows)))
    return found["rsa"].tolist(), found["rsc"].to_pylist(), encoder


def test_differences_of_the_stored_cosines():
    rsa, rsc, encoder = scores(
        [
            ("a red stop sign", [], [], [], 0.31, 0.31),
            ("a red stop sign", UPPER, ["STOP", "sign!"], [0, 0], 0.31, 0.27),
            ("a red stop sign", UPPER, ["AHEAD"], [0], 0.31, 0.27),
            ("a red stop sign", UPPER + LOWER, ["STOP", "sign"], [1, 0], 0.31, 0.35),
            ("", UPPER, ["STOP"], [0], 0.31, 0.27),
        ]
    )
    assert rsa == pytest.approx([0, 0.04, 0.04, -0.04, 0.04])
    assert rsc == pytest.approx([0, 0.04, 0, -0.04, 0])
    assert not encoder.seen, "nothing here needs a model"


@pytest.mark.parametrize("fill", ["mean", "inpaint"])
def test_only_the_lines_with_words_of_the_caption_are_removed(fill):
    rows = [("the stop", UPPER + LOWER, ["STOP", "ahead", "please"], [1, 0, 0], 0.5, 0.1)]
    rsa, rsc, encoder = scores(rows, fill=fill)
    (seen,) = (np.asarray(picture) for picture in encoder.seen)
    assert seen[22, 15].tolist() == [0, 0, 255] and seen[6, 15].tolist() == [255, 0, 0]
    mean = seen.reshape(-1, 3).mean(axis=0)
    assert rsa == pytest.approx([0.4]) and rsc == pytest.approx([0.5 - mean[0] / np.linalg.norm(mean)], abs=1e-6)


def test_a_line_that_could_not_be_read_is_text_and_not_co_embedded():
    _, rsc, encoder = scores([("stop", UPPER + LOWER, ["stop"], [0], 0.5, 0.1)])
    assert len(encoder.seen) == 1 and rsc != pytest.approx([0.4])


def test_a_short_word_takes_no_line_away():
    row = ("a stop", UPPER + LOWER, ["a", "stop"], [0, 1], 0.5, 0.1)
    assert len(scores([row])[2].seen) == 1
    assert scores([row], least_letters=1)[1] == pytest.approx([0.4]), "then it is all of the text"


def test_captions_that_cannot_be_read_have_no_rsc():
    rows = [("\uace0\uc591\uc774", UPPER, ["TV"], [0], 0.5, 0.1), ("\u732b", [], [], [], 0.5, 0.5)]
    rsa, rsc, _ = scores(rows)
    assert rsa == pytest.approx([0.4, 0]) and rsc == [None, 0]
    assert scores(rows, any_script=True)[1] == [0, 0]


def test_rows_do_not_mix():
    one = ("the stop", UPPER + LOWER, ["STOP", "ahead"], [1, 0], 0.5, 0.1)
    two = ("ahead", UPPER + LOWER, ["STOP", "ahead"], [1, 0], 0.4, 0.2)
    none = ("ahead", [], [], [], 0.4, 0.4)
    together = scores([one, none, two])
    assert together[1] == pytest.approx([scores([row])[1][0] for row in (one, none, two)])


def test_it_reads_the_masked_column_of_its_fill():
    assert "lite_masked" in load("score.parrot").reads()
    needs = load({"score.parrot": {"model": "ViT-B-32/openai", "fill": "inpaint"}}).reads()
    assert needs[-3:] == ("clip_b32", "clip_b32_txt", "clip_b32_inpainted")


def sign(*lines):
    image = Image.new("RGB", (320, 240), "white")
    for number, line in enumerate(lines):
        ImageDraw.Draw(image).text((30, 30 + 90 * number), line, "black", ImageFont.load_default(40))
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()


def test_from_pixels_to_scores(make_store):
    """Real OCR and a real encoder in one pass, with rows that lack something."""
    captions = ["hello there, world 7", "a plain sheet", "no image here", "", "good night"]
    images = [sign("hello", "friends"), picture(1), None, sign("hello"), sign("good night")]
    view = make_store([{"text": text} for text in captions], images=images)
    ops = ["score.clip", "score.ocr", "score.cotr", "score.clip_masked", "score.parrot", "score.clip_no_digits"]
    view = annotate(view, [load(op) for op in ops], HERE)
    assert column(view, "cotr") == [0.25, 0, None, 0, 1]
    clip, masked, rsa, rsc = (column(view, name) for name in ("lite", "lite_masked", "rsa", "rsc"))
    for values in (clip, masked, rsa, rsc):
        assert [value is None for value in values] == [False, False, True, True, False]
    assert masked[1] == clip[1] and rsa[1] == rsc[1] == 0
    assert rsa[0] == pytest.approx(clip[0] - masked[0]) and rsa[0] != rsc[0] != 0, "one line of two is co-embedded"
    assert rsc[4] == rsa[4] != 0, "all of the text is"
    delta = column(view, "lite_no_digits_delta")
    assert delta[0] != 0 and delta[1] == 0 and delta[2] is None
