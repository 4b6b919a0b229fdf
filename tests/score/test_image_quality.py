import io
import tarfile

import numpy as np
import pytest
from PIL import Image

from curate.annotate.step import annotate
from curate.catalog import load
from curate.cluster.cluster import Cluster
from curate.read.step import ReadOptions, read
from curate.score.image_quality import entropy, laplacian_variance
from curate.store.store import Store


def scores(*images):
    made = load("score.image_quality").apply({}, images)
    return [tuple(float(made[name][i]) for name in made) for i in range(len(images))]


def grey(values):
    return Image.fromarray(np.array(values, np.uint8)).convert("RGB")


def test_literals():
    board = np.indices((8, 8)).sum(axis=0) % 2
    # Every Laplacian of a board of 0 and 100 is +-400, one step either way from zero mean.
    assert scores(grey(board * 100)) == [(50, 400**2, 1)]
    assert scores(grey([[7] * 5] * 4)) == [(0, 0, 0)]
    assert scores(grey([[0, 255]])) == [(127.5, 510**2, 1)]
    levels = np.arange(256).reshape(16, 16)
    std, _, bits = scores(grey(levels))[0]
    assert std == pytest.approx(np.sqrt((256**2 - 1) / 12)) and bits == pytest.approx(8)


def test_grey_is_luma():
    red, green, blue = (Image.new("RGB", (4, 2), color) for color in ("#ff0000", "#00ff00", "#0000ff"))
    for image, level in ((red, 76), (green, 150), (blue, 29)):
        image.putpixel((0, 0), (0, 0, 0))
        values = [0] + [level] * 7
        assert scores(image)[0][0] == pytest.approx(np.std(values))


def test_grey_is_rounded_to_the_nearest_level():
    pixels = np.random.default_rng(1).integers(0, 256, (60, 80, 3), np.uint8)
    luma = np.floor(pixels @ [0.299, 0.587, 0.114] + 0.5)
    std, _, bits = scores(Image.fromarray(pixels))[0]
    shares = np.unique(luma, return_counts=True)[1] / luma.size
    assert std == pytest.approx(luma.std(), rel=1e-5) and bits == pytest.approx(-(shares * np.log2(shares)).sum(), 1e-4)


def test_a_ramp_has_no_laplacian_inside():
    wide = np.tile(np.arange(0, 200, 2), (50, 1)).astype(np.uint8)
    inside = laplacian_variance(wide)
    # 2 columns of 100 are mirrored edges: +4 and -4.
    assert inside == pytest.approx(2 / 100 * 16)


@pytest.mark.parametrize("size", [(1, 1), (1, 9), (9, 1), (2, 2), (40, 31)])
def test_laplacian_pixel_by_pixel(size):
    values = np.random.default_rng(0).integers(0, 256, size, np.uint8)
    wide = np.pad(values.astype(int), 1, mode="reflect")
    height, width = size
    laplacian = [
        wide[y - 1, x] + wide[y + 1, x] + wide[y, x - 1] + wide[y, x + 1] - 4 * wide[y, x]
        for y in range(1, height + 1)
        for x in range(1, width + 1)
    ]
    assert laplacian_variance(values) == pytest.approx(np.var(laplacian))


def test_entropy_by_counting():
    assert entropy([4, 2, 0, 1, 1]) == 1.75
    assert entropy([0, 0, 1]) == 0


def test_a_blurred_copy_has_less_of_it():
    values = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    sharp = Image.fromarray(values)
    soft = sharp.resize((16, 16)).resize((64, 64))
    assert scores(sharp)[0][1] > 10 * scores(soft)[0][1]


def test_through_a_store(tmp_path):
    images = {"a": grey([[0, 255]] * 4), "b": Image.new("RGB", (20, 20), "red")}
    with tarfile.open(tmp_path / "00000.tar", "w") as tar:
        for key, image in images.items():
            file = io.BytesIO()
            image.save(file, "PNG")
            for name, data in ((f"{key}.png", file.getvalue()), (f"{key}.txt", b"one caption")):
                member = tarfile.TarInfo(name)
                member.size = len(data)
                tar.addfile(member, io.BytesIO(data))
    store, cluster = Store(str(tmp_path / "store")), Cluster(workers=0)
    view = read(store, ReadOptions(input=str(tmp_path / "00000.tar")), cluster)
    annotate(view, [load("score.image_quality")], cluster)
    made = store["image_quality"].collect()
    assert made["pixel_std"].to_list() == [127.5, 0] and made["image_entropy"].to_list() == [1, 0]
