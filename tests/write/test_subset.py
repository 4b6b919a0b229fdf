"""What `--output` writes, by the ending of the name."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curate.errors import CurateError
from curate.filter.rule import Filter
from curate.filter.step import select
from curate.write.subset import check_ending, subset_rows, write_kept, write_subset

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


# ---- the .npy of DataComp ----


def test_a_subset_file_holds_the_published_bytes(tmp_path):
    uids = ["6e356964a967af455c8016b75d691203", "139e4a9b22a614771f06c700a8ebe150"]
    path = tmp_path / "subset.npy"
    assert write_subset([subset_rows(uids)], str(path)) == 2
    found = np.load(path)
    assert found.dtype == np.dtype("u8,u8")
    assert found.tolist() == [
        (1413649363202610295, 2235693070683988304),
        (7941369398997528389, 6665352425310327299),
    ]
    on_disk = path.read_bytes()[-32:]
    assert on_disk == bytes.fromhex("7714a6229b4a9e13 50e1eba800c7061f 45af67a96469356e 0312695db716805c")


@given(st.lists(st.lists(st.binary(min_size=16, max_size=16).map(bytes.hex), max_size=6), max_size=4))
@settings(deadline=None, max_examples=50)
def test_a_subset_is_sorted_and_keeps_duplicates(tmp_path_factory, shards):
    path = tmp_path_factory.mktemp("subset") / "subset.npy"
    shards = [*shards, shards[0] if shards else []]
    uids = [uid for shard in shards for uid in shard]
    assert write_subset([subset_rows(shard) for shard in shards], str(path)) == len(uids)
    # As DataComp's resharder makes them: np.array([(int(uid[:16], 16), int(uid[16:32], 16)) ...], "u8,u8"), sorted.
    assert np.load(path).tolist() == sorted((int(uid[:16], 16), int(uid[16:], 16)) for uid in uids)


def test_a_subset_of_nothing(tmp_path):
    assert write_subset([], str(tmp_path / "a.npy")) == 0
    assert write_subset([subset_rows([])], str(tmp_path / "b.npy")) == 0
    assert np.load(tmp_path / "b.npy").dtype == np.dtype("u8,u8")


def test_a_subset_goes_where_it_is_told(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_subset([], "here.npy")
    write_subset([], "below/there.npy")
    assert sorted(str(p.relative_to(tmp_path)) for p in tmp_path.rglob("*.npy")) == ["below/there.npy", "here.npy"]


@pytest.mark.parametrize("uid", ["", "abc", "G" * 32, "6E356964A967AF455C8016B75D691203", "0" * 33])
def test_a_uid_that_is_none_is_refused(uid):
    with pytest.raises(CurateError, match="is not 32 lower-case hex characters"):
        subset_rows(["0" * 32, uid])
