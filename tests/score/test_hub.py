import hashlib

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from curate.catalog import load
from curate.errors import CurateError
from curate.op import Rows

pytestmark = pytest.mark.slow


def column(vectors):
    return pa.array([np.asarray(v, np.float16) for v in vectors], pa.list_(pa.float16()))


def scores(bank, vectors, **options):
    op = load({"score.hub": {"bank": str(bank), "by": "b_img", **options}})
    op.check()
    op.setup()
    made = op.batch(Rows({"b_img": column(vectors)}))
    return made["b_img_hub_mean"].to_pylist(), made["b_img_hub_top"].to_pylist()


BANK = np.array([[1, 0], [0.6, 0.8], [0, 2], [-1, 0]], np.float32)


@pytest.fixture
def bank(tmp_path):
    np.save(tmp_path / "bank.npy", BANK)
    return tmp_path / "bank.npy"


def test_by_hand(bank):
    """Cosines of (1, 0): 1, .6, 0, -1; of (0, 1): 0, .8, 1, 0."""
    mean, top = scores(bank, [[1, 0], [0, 5], [0, 0]])
    assert mean == pytest.approx([0.15, 0.45, None], abs=1e-6) and top == pytest.approx([1, 1, None])
    assert scores(bank, [[1, 0], [0, 5]], top=2)[1] == pytest.approx([0.8, 0.9])
    mean, top = scores(bank, [[1, 0]], top=4)
    assert mean == pytest.approx(top)


def test_a_parquet_is_read_as_the_npy(tmp_path, bank):
    path = tmp_path / "bank.parquet"
    lists = pa.array([*BANK.tolist(), None], pa.list_(pa.float32()))
    pq.write_table(pa.table({"b_txt": lists, "other": lists}), path)
    assert scores(path, [[1, 0], [3, 4]]) == scores(bank, [[1, 0], [3, 4]])
    assert scores(path, [[1, 0]], column="other") == scores(bank, [[1, 0]])
    with pytest.raises(CurateError, match="no column 'b_text'"):
        scores(path, [[1, 0]], column="b_text")


def test_an_image_that_matches_everything_stands_out(tmp_path):
    rng = np.random.default_rng(0)
    captions = rng.normal(size=(500, 64)) + 0.3
    np.save(tmp_path / "bank.npy", captions.astype(np.float16))
    images = np.concatenate([rng.normal(size=(200, 64)), captions.mean(axis=0, keepdims=True)])
    mean, _ = scores(tmp_path / "bank.npy", images)
    assert np.argmax(mean) == 200 and mean[200] > 2 * max(mean[:200])


def test_a_large_bank_is_drawn_from_by_seed(tmp_path):
    captions = np.random.default_rng(0).normal(size=(300, 16)).astype(np.float32)
    np.save(tmp_path / "bank.npy", captions)
    image = np.random.default_rng(1).normal(size=(1, 16))
    one, again, other = (scores(tmp_path / "bank.npy", image, captions=50, seed=seed) for seed in (0, 0, 1))
    assert one == again != other
    op = load({"score.hub": {"bank": str(tmp_path / "bank.npy"), "captions": 50}})
    op.setup()
    drawn = {tuple(row) for row in op._bank.round(4).tolist()}
    unit = captions / np.linalg.norm(captions, axis=1, keepdims=True)
    assert len(drawn) == 50 and drawn <= {tuple(row) for row in unit.round(4).tolist()}


def test_identity(tmp_path, bank):
    digest = hashlib.sha256(bank.read_bytes()).hexdigest()
    local = load({"score.hub": {"bank": str(bank)}}).spec()
    assert local == load({"score.hub": {"bank": "https://a.example/bank.npy", "sha256": digest}}).spec()
    for options in ({"seed": 1}, {"captions": 2}, {"top": 2}, {"by": "other_img"}):
        assert load({"score.hub": {"bank": str(bank), **options}}).spec() != local


def test_bad_banks(tmp_path, bank):
    with pytest.raises(CurateError, match="give its `sha256`"):
        load({"score.hub": {"bank": "https://a.example/bank.npy"}}).check()
    with pytest.raises(CurateError, match=r"has the sha256"):
        scores(bank, [[1, 0]], sha256="0" * 64)
    with pytest.raises(CurateError, match=r"ends in '\.csv', expected \.npy, \.parquet"):
        scores("bank.csv", [[1, 0]])
    with pytest.raises(CurateError, match="4 captions for a top of 5"):
        scores(bank, [[1, 0]], top=5)
    with pytest.raises(CurateError, match=r"'b_img' has vectors of 3 numbers, expected 2"):
        scores(bank, [[1, 0, 0]] * 8)
    for name, values in (("ints", np.ones((2, 2), int)), ("flat", np.ones(3)), ("zero", np.zeros((2, 2)))):
        np.save(tmp_path / f"{name}.npy", values)
        with pytest.raises(CurateError, match=r"expected float\[n, d\]|all zeros"):
            scores(tmp_path / f"{name}.npy", [[1, 0]])
    (tmp_path / "html.parquet").write_bytes(b"<html>")
    with pytest.raises(CurateError, match=r"is no \.parquet file"):
        scores(tmp_path / "html.parquet", [[1, 0]])
