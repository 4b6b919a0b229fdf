import numpy as np
import pytest
from vector_rows import lists, random_vectors

from curate.catalog import load
from curate.errors import CurateError
from curate.op import Rows

pytestmark = pytest.mark.slow

TARGETS = np.array([[1, 0], [0, 1], [0.6, 0.8]], np.float32)


def saved(folder, values, name="targets"):
    np.save(folder / f"{name}.npy", np.asarray(values))
    return str(folder / f"{name}.npy")


def normsim(targets, vectors, **options):
    op = load({"score.normsim": {"by": "v", "targets": targets, **options}})
    op.check()
    op.setup()
    columns = op.batch(Rows({"v": lists(vectors)}))
    return columns["normsim"].to_pylist(), columns["status"].tolist()


def test_the_example(tmp_path):
    targets, rows = saved(tmp_path, TARGETS), [[1, 0], [0.6, 0.8], [0, 0]]
    both, status = normsim(targets, rows, p=2)
    assert both == pytest.approx([1.166190, 1.414214, None], abs=2e-4) and status == ["ok", "ok", "zero_vector"]
    assert normsim(targets, rows)[0] == pytest.approx([1, 1, None], abs=1e-6)


def test_the_greatest_cosine_is_no_amount(tmp_path):
    targets = saved(tmp_path, [[1.0, 0.0]])
    assert normsim(targets, [[-1, 0]])[0] == [-1] and normsim(targets, [[-1, 0]], p="2")[0] == [1]


@pytest.mark.parametrize("kind", [np.float16, np.float32])
def test_against_numpy_on_500_rows_over_several_tiles(tmp_path, kind, monkeypatch):
    monkeypatch.setattr("curate.models.vector_file.AT_ONCE", 7)
    rows, targets = random_vectors(500, 12), 3 * random_vectors(40, 12, 1).astype(kind)
    unit, others = (
        a.astype(np.float64) / np.linalg.norm(a.astype(np.float64), axis=1)[:, None] for a in (rows, targets)
    )
    cosines = unit @ others.T
    path = saved(tmp_path, targets)
    assert normsim(path, rows)[0] == pytest.approx(cosines.max(axis=1), abs=1e-6)
    assert normsim(path, rows, p="2")[0] == pytest.approx(np.sqrt((cosines**2).sum(axis=1)), rel=1e-6)


def test_p_in_the_forms_that_yaml_reads():
    ops = [load({"score.normsim": {"targets": "t.npy", "p": p}}) for p in ("inf", float("inf"), 2, "2")]
    assert [op.p for op in ops] == ["inf", "inf", "2", "2"]
    with pytest.raises(CurateError, match="'2' or 'inf'"):
        load({"score.normsim": {"targets": "t.npy", "p": 3}})


def test_bad_targets_are_told_before_any_work(tmp_path):
    def refused(match, values, name):
        with pytest.raises(CurateError, match=match):
            load({"score.normsim": {"targets": saved(tmp_path, values, name)}}).check()

    refused("is empty: it holds", np.ones((0, 2)), "empty")
    refused("row 1: a vector of zeros points nowhere", [[1.0, 0.0], [0.0, 0.0]], "zeros")
    refused("row 0: not all numbers are finite", [[np.inf, 0.0]], "infinite")
    refused(r"expected float\[n, d\]", np.ones(3), "flat")
    with pytest.raises(CurateError, match=r"'v' has vectors of 3 numbers, expected 2: another model"):
        normsim(saved(tmp_path, TARGETS), np.ones((8, 3)))
