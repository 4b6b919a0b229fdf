import numpy as np
import pyarrow as pa
import pytest

from curate.catalog import load
from curate.op import Rows
from curate.score.clip_no_digits import strip_numbers

pytestmark = pytest.mark.slow


@pytest.mark.parametrize(
    ("text", "tokens", "digits"),
    [
        ("Nike Air Max 90 2021 size 10.5", "Nike Air Max size", "Nike Air Max size"),
        ("B07XYZ bag", "bag", "BXYZ bag"),
        ("12345", "", ""),
        ("a red apple", "a red apple", "a red apple"),
        ("A red apple.", "A red apple", "A red apple"),
        ("  a   red\tapple ", "a red apple", "a red apple"),
        ("see http://a.com/x?y=1 and www.b.org now", "see and now", "see and now"),
        ("sunset.jpg", "sunset", "sunset"),
        ("IMG_2041.JPEG", "", "IMG"),
        ("photo.jpgs", "photo.jpgs", "photo.jpgs"),
        ("(1) «Ein Haus», 1920!", "Ein Haus", "Ein Haus"),
        ("٣ قطط", "قطط", "قطط"),
        ("हिन्दी 5", "हिन्दी", "हिन्दी"),
        ("... !!", "", ""),
        ("", "", ""),
    ],
)
def test_strip(text, tokens, digits):
    assert strip_numbers(text) == tokens
    assert strip_numbers(text, "digits") == digits


def test_a_long_caption_is_quick():
    assert strip_numbers("x" * 200_000) == "x" * 200_000
    assert strip_numbers("www." * 50_000 + " y") == "y"


class Length:
    """A text tower that sees how long a caption is; it keeps what it encodes."""

    def __init__(self):
        self.seen = []

    def texts(self, captions):
        self.seen += captions
        angles = np.array([len(caption) / 10 for caption in captions], np.float32)
        return np.stack([np.cos(angles), np.sin(angles)], axis=1)


def scores(captions, cosines, **options):
    op, encoder = load({"score.clip_no_digits": options}), Length()
    object.__setattr__(op, "_encoder", encoder)
    columns = {
        "text": pa.array(captions),
        "lite": pa.array(cosines, pa.float32()),
        "lite_img": pa.array([np.array([1, 0], np.float16)] * len(captions), pa.list_(pa.float16())),
    }
    made = op.batch(Rows(columns))
    return made["lite_no_digits"].to_pylist(), made["lite_no_digits_delta"].to_pylist(), made["status"], encoder.seen


def test_only_changed_captions_are_encoded():
    found, delta, status, seen = scores(["a cat", "a cat 2021", "12345", "a cat"], [0.25, 0.5, 0.75, 0.125])
    assert seen == ["a cat"]
    assert found == [0.25, pytest.approx(np.cos(0.5)), None, 0.125]
    assert delta == [0, pytest.approx(0.5 - np.cos(0.5)), None, 0]
    assert list(status) == ["ok", "ok", "empty_text", "ok"]


def test_nothing_changed_runs_no_model():
    found, _, _, seen = scores(["a cat", "a dog"], [0.25, 0.5])
    assert found == [0.25, 0.5] and not seen


def test_mode_digits():
    assert scores(["B07XYZ bag"], [0.5], mode="digits")[3] == ["BXYZ bag"]


def test_the_mode_is_part_of_the_identity():
    assert load("score.clip_no_digits").spec() != load({"score.clip_no_digits": {"mode": "digits"}}).spec()


def test_with_the_embedded_encoder():
    """Stripping by hand and scoring anew gives the same."""
    from PIL import Image

    clip, op = load({"score.clip": {"device": "cpu"}}), load({"score.clip_no_digits": {"device": "cpu"}})
    clip.setup()
    op.setup()
    image = Image.new("RGB", (64, 64), "red")
    made = clip.apply({"text": pa.array(["a red sheet 2021", "a red sheet"])}, [image, image])
    columns = {"text": pa.array(["a red sheet 2021"]), "lite": made["lite"][:1], "lite_img": made_column(made)}
    assert op.batch(Rows(columns))["lite_no_digits"][0].as_py() == pytest.approx(made["lite"][1].as_py(), abs=1e-3)


def made_column(made):
    return pa.array(list(made["lite_img"][:1]), pa.list_(pa.float16()))
