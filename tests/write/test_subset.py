"""What `--output` writes, by the ending of the name."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from curate.errors import CurateError
from curate.filter.rule import Filter
from curate.filter.step import select
from curate.write.subset import check_ending, write_kept

ROWS = [
    {"uid": f"{9 - i:032x}", "url": f"http://x.example/{i}.jpg", "text": text}
    for i, text in enumerate(["a, b", 'say "hi"', "two\nlines", None, "é", "out"])
]


@pytest.fixture
def view(make_store):
    return select(make_store(ROWS, 2), Filter(name="f", where="text <> 'out' OR text IS NULL"))[0]


def test_npy_is_datacomps_subset_file(view, tmp_path):
    assert write_kept(view, str(tmp_path / "a.npy")) == 5
    assert np.load(tmp_path / "a.npy")["f1"].tolist() == [5, 6, 7, 8, 9]


@pytest.mark.parametrize("ending", ["parquet", "csv"])
def test_tables_hold_what_a_row_was_read_as(view, tmp_path, ending):
    path = tmp_path / f"a.{ending}"
    assert write_kept(view, str(path)) == 5
    table = pl.read_parquet(path) if ending == "parquet" else pl.read_csv(path, infer_schema=False)
    assert table.select("uid", "url", "text").to_dicts() == ROWS[:5]


def test_txt_has_a_uid_a_line(view, tmp_path):
    assert write_kept(view, str(tmp_path / "A.TXT")) == 5
    assert (tmp_path / "A.TXT").read_text().splitlines() == [row["uid"] for row in ROWS[:5]]


def test_no_row_is_a_file_of_none(view, tmp_path):
    none, _ = select(view, Filter(name="none", where="1 = 2"))
    for ending in ("npy", "parquet", "csv", "txt"):
        assert write_kept(none, str(tmp_path / f"a.{ending}")) == 0
    assert pl.read_parquet(tmp_path / "a.parquet").columns == ["uid", "url", "text"]


@pytest.mark.parametrize("name", ["a", "a.json", "npy", "a.npy.gz", "folder.npy/", ".csv"])
def test_another_ending_is_refused(name):
    with pytest.raises(CurateError, match=r"its ending must say the format: \.npy"):
        check_ending(name)
