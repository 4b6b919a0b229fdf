import io
import tarfile

import imagehash
import numpy as np
import pytest
from PIL import Image, ImageFilter, ImageStat

from curate.annotate.step import annotate
from curate.catalog import load
from curate.cluster.cluster import Cluster
from curate.errors import CurateError
from curate.read.step import ReadOptions, read
from curate.score.phash import standard_deviation
from curate.store.store import Store

SOURCES = {"phash": imagehash.phash, "dhash": imagehash.dhash, "ahash": imagehash.average_hash}


def picture(seed, size=(90, 60)):
    noise = np.random.default_rng(seed).integers(0, 256, (6, 9, 3), np.uint8)
    return Image.fromarray(noise).resize(size, Image.Resampling.BICUBIC)


def hashes(kind, *images):
    op = load({"score.phash": {"kind": kind}})
    made = op.apply({}, images)
    return list(made[kind]), list(made["status"])


def ramp(slope):
    row = np.clip(128 + slope * (np.arange(90) - 45), 0, 255).astype(np.uint8)
    return Image.fromarray(np.tile(row, (80, 1))).convert("RGB")


def test_dhash_of_a_ramp():
    assert hashes("dhash", ramp(2), ramp(-2))[0] == [0xFFFFFFFFFFFFFFFF, 0]


@pytest.mark.parametrize("kind", SOURCES)
def test_bits_are_those_of_imagehash(kind):
    images = [picture(seed) for seed in range(8)]
    values, status = hashes(kind, *images)
    assert [f"{value:016x}" for value in values] == [str(SOURCES[kind](image)) for image in images]
    assert status == ["ok"] * 8


def test_a_copy_is_near_and_another_picture_is_far():
    image = picture(1)
    copy = image.resize((300, 200), Image.Resampling.LANCZOS).filter(ImageFilter.GaussianBlur(1))
    one, near, far = hashes("phash", image, copy, picture(2))[0]
    assert bin(one ^ near).count("1") <= 6
    assert bin(one ^ far).count("1") >= 16


def level(mean, std):
    """Half of the pixels at mean - std, half at mean + std."""
    values = np.full((10, 10), mean - std, np.uint8)
    values[::2] = mean + std
    return Image.fromarray(values).convert("RGB")


@pytest.mark.parametrize("kind", SOURCES)
def test_flat_images_have_no_hash(kind):
    pictures = [Image.new("RGB", (9, 9), "black"), level(100, 1), level(100, 15), picture(3)]
    values, status = hashes(kind, *pictures)
    assert status == ["flat", "flat", "flat", "ok"]
    assert [value is None for value in values] == [True, True, True, False]


def test_the_limit_is_a_standard_deviation_of_grey_levels():
    assert hashes("phash", level(100, 15), level(100, 16), level(100, 17))[1] == ["flat", "ok", "ok"]
    op = load({"score.phash": {"flat_std": 2}})
    assert list(op.apply({}, [level(100, 1), level(100, 2)])["status"]) == ["flat", "ok"]
    with pytest.raises(CurateError, match="flat_std"):
        load({"score.phash": {"flat_std": -1}})


def test_dhash_of_a_picture_that_is_flat_but_for_a_spot():
    small = Image.new("RGB", (90, 80), "white")
    small.paste("black", (40, 40, 50, 50))  # a deviation of 30, and a step up and down in a few rows
    assert hashes("dhash", small)[1] == ["flat"] and hashes("phash", small)[1] == ["ok"]
    rows = np.zeros((8, 9), np.uint8)
    rows[:5, 1::4] = 200
    few, enough = rows.copy(), rows.copy()
    few[4, 1] = 0  # 5 rows of 4 steps, less 2
    assert hashes("dhash", *(Image.fromarray(p).convert("RGB") for p in (few, enough)))[1] == ["flat", "ok"]


def test_options():
    assert load("score.phash").table() == "phash"
    assert load({"score.phash": {"kind": "dhash"}}).table() == "dhash"
    with pytest.raises(CurateError, match="whash"):
        load({"score.phash": {"kind": "whash"}})


def test_through_a_store(tmp_path):
    images = {"a": picture(1), "b": picture(1, (180, 120)), "c": picture(2), "d": Image.new("RGB", (20, 20))}
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
    ops = ["score.phash", "score.pixel_hash", {"dedupe.exact": {"by": ["phash", "text"], "keep": "largest_image"}}]
    annotate(view, [load(op) for op in ops], cluster)
    made = store["phash"].collect()
    assert made["phash_status"].to_list() == ["ok", "ok", "ok", "flat"]
    assert made["phash"][0] == made["phash"][1] != made["phash"][2] and made["phash"][3] is None
    assert store["pixel_hash"].collect()["pixel_hash"].n_unique() == 4
    groups = store["dup_phash_text"].collect()
    # The larger copy stays; the flat image equals nothing.
    assert groups["dup_phash_text_of"].to_list() == [made["uid"][1], None, None, None]
    assert groups["dup_phash_text_size"].to_list() == [2, 2, 1, None]


def test_the_deviation_is_that_of_pillow():
    for seed in range(20):
        image = picture(seed, (300, 200)).convert("L")
        assert standard_deviation(np.asarray(image)) == ImageStat.Stat(image).stddev[0]
    assert standard_deviation(np.full((30, 7), 83, np.uint8)) == 0
