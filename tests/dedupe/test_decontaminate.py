import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from curate.dedupe.decontaminate import Decontaminate
from curate.errors import CurateError
from curate.op import Rows


def run(op, name, values):
    op.check()
    op.setup()
    made = op.batch(Rows({name: values}))
    return [list(made[column]) for column in op.makes()]


VECTORS = pa.array([[2.0, 0.0], [1.0, 1.0], [-1.0, 0.1]], pa.list_(pa.float16()))


def test_embeddings_in_npy(tmp_path):
    np.save(tmp_path / "eval.npy", np.array([[0, 1], [5, 0]], np.float32))
    near, match, closeness = run(Decontaminate(by="v", against=str(tmp_path / "eval.npy"), threshold=0.9), "v", VECTORS)
    assert near == [True, False, False] and match == ["1", None, None]
    assert np.allclose(closeness, [1, 0.7071, 0.0995], atol=1e-3)


def test_embeddings_in_parquet(tmp_path):
    table = {"w": pa.array([[0.0, 1.0], None, [5.0, 0.0]]), "file": ["a.jpg", "b.jpg", "c.jpg"]}
    pq.write_table(pa.table(table), tmp_path / "eval.parquet")
    op = Decontaminate(by="v", against=str(tmp_path / "eval.parquet"), column="w", names="file", threshold=0.7)
    assert run(op, "v", VECTORS)[1] == ["c.jpg", "a.jpg", None]


def test_hashes(tmp_path):
    pq.write_table(pa.table({"phash": pa.array([0, 2**64 - 1], pa.uint64())}), tmp_path / "eval.parquet")
    hashes = pa.array([0b11, 0b111, 2**63 - 1], pa.uint64())
    op = Decontaminate(by="phash", against=str(tmp_path / "eval.parquet"), radius=2)
    assert run(op, "phash", hashes) == [[True, False, True], ["0", None, "1"], [2, 3, 1]]
    np.save(tmp_path / "eval.npy", np.array([0b111], np.uint64))
    exact = Decontaminate(by="phash", against=str(tmp_path / "eval.npy"), radius=0)
    assert run(exact, "phash", hashes)[0] == [False, True, False]


def test_the_content_of_the_file_is_part_of_the_identity(tmp_path):
    specs = []
    for value in (0, 1):
        np.save(tmp_path / "eval.npy", np.array([value], np.uint64))
        specs.append(Decontaminate(by="phash", against=str(tmp_path / "eval.npy"), radius=0).spec())
    assert specs[0]["weights"] != specs[1]["weights"]


@pytest.mark.parametrize(
    ("saved", "options", "message"),
    [
        (np.zeros(1, np.uint64), {}, "give `threshold` for embeddings, or `radius` for hashes"),
        (np.zeros(1, np.uint64), {"radius": 1, "threshold": 0.5}, "give `threshold`"),
        (np.zeros(1, np.uint64), {"threshold": 0.5}, r"holds uint64\[1\], expected float\[n, d\]"),
        (np.zeros((1, 2)), {"radius": 1}, r"expected uint64\[n\]"),
        (np.zeros((0, 2)), {"threshold": 0.5}, "is empty"),
    ],
)
def test_wrong_sets(tmp_path, saved, options, message):
    np.save(tmp_path / "eval.npy", saved)
    with pytest.raises(CurateError, match=message):
        Decontaminate(by="v", against=str(tmp_path / "eval.npy"), **options).check()


def test_wrong_files(tmp_path):
    with pytest.raises(CurateError, match="cannot open"):
        Decontaminate(by="v", against=str(tmp_path / "none.npy"), radius=1).check()
    with pytest.raises(CurateError, match=r"expected a \.npy or a \.parquet"):
        Decontaminate(by="v", against="eval.csv", radius=1).check()
    pq.write_table(pa.table({"vector": [[1.0]]}), tmp_path / "eval.parquet")
    with pytest.raises(CurateError, match=r"no column 'vektor' \(did you mean 'vector'"):
        Decontaminate(by="v", against=str(tmp_path / "eval.parquet"), column="vektor", threshold=0.5).check()


def test_another_model_is_refused_by_name(tmp_path):
    np.save(tmp_path / "eval.npy", np.ones((1, 3), np.float32))
    op = Decontaminate(by="clip_img", against=str(tmp_path / "eval.npy"), threshold=0.9)
    with pytest.raises(CurateError, match="'clip_img' has vectors of 2 numbers, expected 3"):
        run(op, "clip_img", VECTORS)
