import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from conftest import HERE, column
from PIL import Image

from curate.annotate.step import annotate
from curate.arrays.arrow_columns import as_array
from curate.catalog import load
from curate.dedupe.decontaminate import Decontaminate
from curate.errors import CurateError
from curate.op import Rows, Score

pytestmark = pytest.mark.slow


def run(op, name, values):
    op.check()
    op.setup()
    made = op.batch(Rows({name: values}))
    return [pa.array(made[column]).to_pylist() for column in op.makes()]


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


def test_hashes_of_256_bits(tmp_path):
    values = [bytes(32), bytes(31) + b"\x07"]
    pq.write_table(pa.table({"pdq": pa.array([*values, None], pa.binary(32))}), tmp_path / "eval.parquet")
    np.save(tmp_path / "eval.npy", np.frombuffer(b"".join(values), np.uint8).reshape(2, 32))
    mine = pa.array([bytes(31) + b"\x03", bytes(30) + b"\xff\x07"], pa.binary(32))
    for name in ("eval.parquet", "eval.npy"):
        op = Decontaminate(by="pdq", against=str(tmp_path / name), radius=7)
        assert run(op, "pdq", mine) == [[True, False], ["1", None], [1, 8]]
    with pytest.raises(CurateError, match="hashes of 64 bits and of 256"):
        run(op, "pdq", pa.array([5], pa.uint64()))


def pictures(folder, *seeds):
    for seed in seeds:
        noise = np.random.default_rng(seed).integers(0, 256, (8, 8, 3), np.uint8)
        file = folder / f"{'val' if seed % 2 else 'test'}/{seed}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(noise).resize((320, 280), Image.Resampling.BICUBIC).save(file)
    return [Image.open(path).convert("RGB") for path in sorted(folder.rglob("*.png"))]


@pytest.mark.parametrize(("by", "spec"), [("pdq", "score.pdq"), ("dhash", {"score.phash": {"kind": "dhash"}})])
def test_a_folder_of_images(tmp_path, by, spec):
    images = pictures(tmp_path / "eval", 0, 1, 2)
    (tmp_path / "eval/labels.txt").write_text("no image")
    copy, other = images[2].point(lambda level: level * 0.9), pictures(tmp_path / "else", 9)[0]
    hashes = load(spec).apply({}, [copy, other])[by]
    column = as_array(hashes, load(spec).makes()[by])
    op = Decontaminate(by=by, against=str(tmp_path / "eval"), radius=31 if by == "pdq" else 6)
    near, match, _ = run(op, by, column)
    assert near == [True, False] and match == ["val/1.png", None]
    digests = [op.spec()["weights"]]
    for seed in (2, 4):
        pictures(tmp_path / "eval", seed)
        digests.append(
            Decontaminate(by=by, against=str(tmp_path / "eval"), radius=31 if by == "pdq" else 6).spec()["weights"]
        )
    assert digests[0] == digests[1] != digests[2]


def test_a_folder_with_a_model(tmp_path):
    images = pictures(tmp_path / "eval", 0, 1)
    clip = load("score.clip")
    clip.setup()
    mine = clip.apply({"text": pa.array(["a", "b"])}, images[::-1])["lite_img"]
    op = Decontaminate(by="lite_img", against=str(tmp_path / "eval"), made_by="score.clip", threshold=0.99)
    assert run(op, "lite_img", as_array(mine, clip.makes()["lite_img"]))[1] == ["val/1.png", "test/0.png"]


def test_wrong_folders(tmp_path):
    pictures(tmp_path, 0)
    with pytest.raises(CurateError, match=r"say what makes 'clip_img' of its images, as in made_by"):
        Decontaminate(by="clip_img", against=str(tmp_path), threshold=0.5).check()
    with pytest.raises(CurateError, match=r"score.pdq makes: no column 'phash'"):
        Decontaminate(by="phash", against=str(tmp_path), made_by="score.pdq", radius=3).check()
    (tmp_path / "broken.jpg").write_bytes(b"no image")
    with pytest.raises(CurateError, match=r"broken.jpg' is no image that can be read"):
        Decontaminate(by="phash", against=str(tmp_path), radius=3).setup()


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
    with pytest.raises(
        CurateError, match=r"'eval.csv' is neither a \.npy nor a \.parquet file, no store, and no folder"
    ):
        Decontaminate(by="v", against="eval.csv", radius=1).check()
    pq.write_table(pa.table({"vector": [[1.0]]}), tmp_path / "eval.parquet")
    with pytest.raises(CurateError, match=r"no column 'vektor' \(did you mean 'vector'"):
        Decontaminate(by="v", against=str(tmp_path / "eval.parquet"), column="vektor", threshold=0.5).check()


def test_another_model_is_refused_by_name(tmp_path):
    np.save(tmp_path / "eval.npy", np.ones((1, 3), np.float32))
    op = Decontaminate(by="clip_img", against=str(tmp_path / "eval.npy"), threshold=0.9)
    with pytest.raises(CurateError, match="'clip_img' has vectors of 2 numbers, expected 3"):
        run(op, "clip_img", VECTORS.take(pa.array([0] * 8)))


def test_a_row_whose_vector_is_bad_has_null_and_says_why(tmp_path):
    np.save(tmp_path / "eval.npy", np.array([[0, 1], [5, 0]], np.float32))
    op = Decontaminate(by="v", against=str(tmp_path / "eval.npy"), threshold=0.5)
    op.setup()
    made = op.batch(Rows({"v": pa.array([[1.0, 0.0], [1.0], [float("nan"), 1.0], [0.0, 0.0], [0.1, -9.0]])}))
    assert pa.array(made["near_eval"]).to_pylist() == [True, None, None, None, False]
    assert made["eval_match"] == ["1", None, None, None, None]
    assert made["status"].tolist() == ["ok", "vector_of_1", "not_finite_vector", "zero_vector", "ok"]


RED, BLUE = ([[1.0, 0.0]] * 3, [[0.0, 1.0]] * 2)


def store_with_vectors(make_store, tmp_path):
    np.save(tmp_path / "eval.npy", np.array([[1, 0], [0, 1], [-1, 0]], np.float32))
    return make_store([{"text": str(i), "v": v} for i, v in enumerate([*RED, *BLUE, [0.7, -0.8], None])])


def test_its_report_says_which_evaluation_images_are_met(make_store, tmp_path):
    view = store_with_vectors(make_store, tmp_path)
    annotate(view, [Decontaminate(by="v", against=str(tmp_path / "eval.npy"), threshold=0.9)], HERE)
    (entry,) = [e for e in view.store.manifest().tables.values() if e.op == "dedupe.decontaminate"]
    assert entry.report == {
        "rows_compared": 6,
        "rows_near": 5,
        "evaluation_images": 3,
        "evaluation_images_met": 2,
        "met": [{"evaluation": "0", "rows": 3, "closest": 1.0}, {"evaluation": "1", "rows": 2, "closest": 1.0}],
    }


class Embed(Score):
    """Two numbers of a caption, as `model` has them."""

    model: str = "b32"

    def makes(self):
        return {"clip_img": pa.list_(pa.float32())}

    def reads(self):
        return ("text",)

    def batch(self, rows):
        return {"clip_img": np.tile([[1.0, 0.0]], (len(rows), 1))}


def test_a_column_of_another_model_is_refused_though_it_has_as_many_numbers(make_store, tmp_path):
    view = store_with_vectors(make_store, tmp_path)
    made_by = {f"{__name__}:Embed": {"model": "l14"}}
    op = Decontaminate(by="clip_img", against=str(tmp_path / "eval.npy"), threshold=0.9, made_by=made_by)
    words = r"column 'clip_img' was made by .*Embed \(model 'b32'\), .*eval.npy' by .*Embed \(model 'l14'\)"
    with pytest.raises(CurateError, match=words):
        annotate(view, [Embed(), op], HERE)
    with pytest.raises(CurateError, match=words):
        annotate(annotate(view, [Embed()], HERE), [op], HERE)
    same = Decontaminate(**{**op.model_dump(), "made_by": {f"{__name__}:Embed": {"model": "b32"}}})
    assert column(annotate(view, [Embed(), same], HERE), "eval_match") == ["0"] * 7
