import math

import numpy as np
import pyarrow as pa
import pytest
from vector_rows import lists

from curate.catalog import load
from curate.errors import CurateError
from curate.op import Rows
from curate.score import hype
from curate.score.hype import distance, lifted, outside

V, W = np.array([[1.0, 0.0]]), np.array([[1.5, 0.5]])


def test_the_example():
    x, y = lifted(V, 1.0), lifted(W, 1.0)
    assert x.tolist()[0] == pytest.approx([1.1752, 0], abs=1e-5) and y.tolist()[0] == pytest.approx(
        [2.20794, 0.73598], abs=1e-5
    )
    assert distance(x, y, 1.0) == pytest.approx([0.773099], abs=1e-6)
    assert math.asin(0.2 / 1.1752) == pytest.approx(0.171016, abs=1e-5)
    assert outside(x, y, 1.0)[0, 0] == pytest.approx(0.870906, abs=1e-6)
    assert outside(x, y, 1.0)[0, 0] + 0.171016 == pytest.approx(1.041922, abs=1e-5)


def saved(folder, name, values):
    np.save(folder / f"{name}.npy", np.asarray(values))
    return str(folder / f"{name}.npy")


def by_loops(image, text, images, captions, c):
    """As it is written, one pair at a time."""

    def lift(v):
        r = math.sqrt(c) * math.sqrt(sum(a * a for a in v))
        return [math.sinh(r) / r * a for a in v]

    def time(x):
        return math.sqrt(1 / c + sum(a * a for a in x))

    def product(x, y):
        return sum(a * b for a, b in zip(x, y, strict=True)) - time(x) * time(y)

    def entail(x, y):
        size, cxy = math.sqrt(sum(a * a for a in x)), c * product(x, y)
        cosine = (time(y) + time(x) * cxy) / (size * math.sqrt(cxy * cxy - 1))
        return math.acos(cosine) - math.asin(min(1 - 1e-8, 0.2 / (math.sqrt(c) * size)))

    image, text = lift(image), lift(text)
    similarity = -math.acosh(-c * product(image, text)) / math.sqrt(c)
    of_image = sum(entail(lift(t), image) for t in captions) / len(captions)
    of_text = sum(entail(text, lift(i)) for i in images) / len(images)
    return similarity + of_image + of_text, similarity, of_image, of_text


@pytest.mark.parametrize("curvature", [0.3, 1.0, 2.5])
def test_against_loops_on_500_rows(tmp_path, curvature, monkeypatch):
    monkeypatch.setattr(hype, "AT_ONCE", 7)
    rng = np.random.default_rng(0)
    image, text, images, captions = ((0.8 * rng.standard_normal((n, 4))).astype(np.float16) for n in (500, 500, 15, 20))
    files = {"images": saved(tmp_path, "i", images), "captions": saved(tmp_path, "c", captions)}
    op = load({"score.hype": {"curvature": curvature, **files}})
    op.check()
    op.setup()
    columns = op.batch(Rows({"hype_img": lists(image, null=[3]), "hype_txt": lists(text, null=[9])}))
    assert columns["status"][[3, 9]].tolist() == ["no_vector"] * 2
    made = np.array([columns[name].to_pylist() for name in op.makes()], float)
    assert np.isnan(made[:, [3, 9]]).all() and np.isfinite(np.delete(made, [3, 9], axis=1)).all()
    for row in [*range(3), 4, 100, 499]:
        assert made[:, row] == pytest.approx(
            by_loops(*(v.tolist() for v in (image[row], text[row])), images.tolist(), captions.tolist(), curvature),
            abs=1e-4,
        )


def test_a_general_caption_has_the_image_in_its_cone():
    general, special = lifted(np.array([[0.25, 0.0]]), 1.0), lifted(np.array([[2.0, 0.05]]), 1.0)
    away = lifted(np.array([[-2.0, 0.05]]), 1.0)
    assert outside(general, special, 1.0) < 0 < outside(general, away, 1.0)
    # A vector and itself are as near as can be, and have no angle to fail on.
    assert np.isfinite(outside(special, special, 1.0)).all() and distance(special, special, 1.0) == 0


def test_bad_files_are_told_before_any_work(tmp_path):
    good = saved(tmp_path, "good", np.ones((2, 4)))

    def refused(match, **files):
        with pytest.raises(CurateError, match=match):
            load({"score.hype": {"curvature": 1.0, "images": good, "captions": good, **files}}).check()

    refused("vectors of 4 numbers, .* of 3: two models", captions=saved(tmp_path, "three", np.ones((2, 3))))
    refused("is empty", images=saved(tmp_path, "empty", np.ones((0, 4))))
    refused("not all numbers are finite", images=saved(tmp_path, "nan", [[np.nan, 1.0]]))
    with pytest.raises(CurateError, match="curvature"):
        load({"score.hype": {"curvature": 0, "images": good, "captions": good}})
    op = load({"score.hype": {"curvature": 1.0, "images": good, "captions": good}})
    op.setup()
    with pytest.raises(CurateError, match="'hype_img' has vectors of 3 numbers, expected 4: another model"):
        op.batch(Rows({"hype_img": lists(np.ones((8, 3))), "hype_txt": lists(np.ones((8, 4)))}))


def test_identity(tmp_path):
    files = {name: saved(tmp_path, name, np.ones((2, 4))) for name in ("images", "captions")}
    spec = load({"score.hype": {"curvature": 1.0, **files}}).spec()
    moved = {name: saved(tmp_path, f"moved_{name}", np.ones((2, 4))) for name in files}
    assert load({"score.hype": {"curvature": 1.0, "texts": "hype_txt", **moved}}).spec() == spec
    moved["images"] = saved(tmp_path, "other", np.zeros((2, 4)))
    assert load({"score.hype": {"curvature": 1.0, **moved}}).spec() != spec
    assert pa.types.is_float32(load({"score.hype": {"curvature": 1.0, **files}}).makes()["hype"])
