import numpy as np
import pyarrow as pa
import pytest
from conftest import HERE
from vector_rows import by_row, lists, random_vectors, store_of, uid_of

from curate.annotate.partitions import Cut
from curate.annotate.step import annotate
from curate.arrays.string_hash import hash_pairs, hash_strings
from curate.catalog import load
from curate.errors import CurateError
from curate.score.ncl import Ncl, neg_clip_loss

pytestmark = pytest.mark.slow

#: Rows are images, columns captions.
COSINES = np.array([[0.3, 0.1], [0.2, 0.25]], np.float32)


@pytest.mark.parametrize(
    ("temperature", "expected"), [(0.1, [-0.022009, -0.033775]), (0.07, [-0.009474, -0.017829]), (0.01, [0, -3.4e-05])]
)
def test_the_example(temperature, expected):
    values = neg_clip_loss(np.eye(2, dtype=np.float32), COSINES.T.copy(), temperature)
    assert values == pytest.approx(expected, abs=1e-6)


def loss(images, texts, temperature):
    """As it is written, in loops."""
    values = []
    for i in range(len(images)):
        by_image = [images[i] @ text for text in texts]
        by_text = [image @ texts[i] for image in images]
        sums = [np.log(np.sum(np.exp(np.array(c) / temperature - 1 / temperature))) for c in (by_image, by_text)]
        values.append(images[i] @ texts[i] - (temperature / 2 * sum(sums) + 1))
    return np.array(values)


def test_tiles_change_nothing_and_nothing_overflows():
    images, texts = (random_vectors(300, 8, seed).astype(np.float32) for seed in (0, 1))
    images, texts = (v / np.linalg.norm(v, axis=1, keepdims=True) for v in (images, texts))
    for temperature in (0.003, 0.01, 1):
        expected = loss(images.astype(np.float64), texts.astype(np.float64), temperature)
        for tile in (7, 128, 1024):
            assert neg_clip_loss(images, texts, temperature, tile) == pytest.approx(expected, abs=1e-6)
    turned = neg_clip_loss(images, -images, 0.003)
    assert np.isfinite(turned).all() and (turned <= 0).all() and turned.min() < -1


IMAGES, TEXTS = random_vectors(500, 12), random_vectors(500, 12, 1)
COLUMNS = {"v_img": lists(IMAGES, null=[3]), "v_txt": lists(TEXTS, null=[9])}


def by_the_book(size, partitions, seed=0, temperature=0.01):
    rows = [i for i in range(500) if i not in (3, 9)]
    hashes = hash_strings([uid_of(i) for i in rows])
    unit = [v.astype(np.float64) / np.linalg.norm(v.astype(np.float64), axis=1)[:, None] for v in (IMAGES, TEXTS)]
    total = np.zeros(500)
    for partition in range(partitions):
        draws = hash_pairs(hashes, np.full(len(rows), partition, np.uint64), seed)
        batch = (draws % np.uint64(-(-len(rows) // size))).astype(int)
        assert np.bincount(batch).min() >= size / 2
        for number in range(batch.max() + 1):
            some = [row for row, b in zip(rows, batch, strict=True) if b == number]
            total[some] += loss(unit[0][some], unit[1][some], temperature)
    return [None if i in (3, 9) else value for i, value in enumerate(total / partitions)]


def made(folder, op, rows_per_shard=1000, order=None, cut=None):
    return by_row(annotate(store_of(folder, COLUMNS, rows_per_shard, order), [op], HERE, cut or Cut()), op.table())


def test_against_loops_on_500_rows(tmp_path):
    table = made(tmp_path / "s", Ncl(by="v_img", batch=100, partitions=3))
    assert table["ncl"].to_list() == pytest.approx(by_the_book(100, 3), abs=1e-6)
    assert table["ncl_status"].to_list() == ["no_value" if i in (3, 9) else "ok" for i in range(500)]
    assert table["ncl"].max() <= 0


def test_the_same_bytes_whatever_the_shards_the_order_and_the_partitions(tmp_path):
    op = Ncl(by="v_img", batch=100, partitions=3)
    order = np.random.default_rng(0).permutation(500).tolist()
    one, two = (
        made(tmp_path / "s", op),
        made(tmp_path / "t", op, 40, order, Cut(rows_per_partition=60, shards_per_run=3)),
    )
    assert one.equals(two)
    assert not one.equals(made(tmp_path / "u", Ncl(by="v_img", batch=100, partitions=3, seed=1)))


def test_captions_that_fit_other_images_lose(tmp_path):
    rng = np.random.default_rng(0)
    images = rng.standard_normal((200, 32))
    texts = images + 0.5 * rng.standard_normal((200, 32))
    texts[[7, 8]] = texts[[8, 7]]
    columns = {"v_img": lists(images), "v_txt": lists(texts)}
    ncl = by_row(annotate(store_of(tmp_path / "s", columns, 50), [Ncl(by="v_img", batch=200)], HERE), "ncl")["ncl"]
    assert sorted(ncl.arg_sort()[:2].to_list()) == [7, 8] and ncl.sort()[1] < 10 * ncl.sort()[2]


def test_one_row_has_nothing_to_be_compared_with(tmp_path):
    columns = {name: column[:1] for name, column in COLUMNS.items()}
    table = by_row(annotate(store_of(tmp_path / "s", columns, 50), [Ncl(by="v_img")], HERE), "ncl")
    assert table["ncl"].to_list() == [None]
    none = {name: lists(IMAGES[:2], null=[0, 1]) for name in COLUMNS}
    table = by_row(annotate(store_of(tmp_path / "t", none, 50), [Ncl(by="v_img")], HERE), "ncl")
    assert table["ncl"].to_list() == [None, None]


def test_a_vector_of_another_width_has_no_value_and_costs_no_other_row(tmp_path):
    mixed = COLUMNS["v_img"].to_pylist()
    mixed[5] = [1.0, 0.0]
    mixed[6] = [float("nan")] * 12
    mixed[8] = [0.0] * 12
    columns = {**COLUMNS, "v_img": pa.array(mixed, pa.list_(pa.float16()))}
    table = by_row(annotate(store_of(tmp_path / "s", columns, 50), [Ncl(by="v_img")], HERE), "ncl")
    assert [i for i, value in enumerate(table["ncl"].to_list()) if value is None] == [3, 5, 6, 8, 9]


def test_two_models_are_refused(tmp_path):
    other = {"v_img": COLUMNS["v_img"], "v_txt": lists(random_vectors(500, 8))}
    with pytest.raises(CurateError, match="v_img, v_txt: vectors of a row have other widths: two models"):
        annotate(store_of(tmp_path / "s", other, 100), [Ncl(by="v_img")], HERE)
    ours, theirs = load("score.clip").spec(), load({"score.clip": {"resize": "torch"}}).spec()
    Ncl(by="v_img").check_reads({"v_img": ours, "v_txt": ours, "uid": {}})
    with pytest.raises(CurateError, match=r"'v_img' was made by score\.clip and 'v_txt' by score\.clip with other"):
        Ncl(by="v_img").check_reads({"v_img": ours, "v_txt": theirs})


def test_options():
    assert Ncl(by="clip_l14_img").reads() == ("uid", "clip_l14_img", "clip_l14_txt")
    assert Ncl(by="a", texts="b").spec() != Ncl(by="a", texts="c").spec()
    assert Ncl(by="a_img").spec() == Ncl(by="a_img", texts="a_txt").spec()
    for options in ({"temperature": 0.002}, {"batch": 1}, {"partitions": 0}):
        with pytest.raises(CurateError, match=next(iter(options))):
            load({"score.ncl": options})
