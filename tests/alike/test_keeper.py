import math

import polars as pl
import pytest

from curate.alike.keeper import keep_columns, keepers, known_keep

ROWS = pl.DataFrame(
    {
        "key": [b"a"] * 5 + [b"b"],
        "shard": [0, 0, 1, 1, 1, 0],
        "row": [0, 1, 0, 1, 2, 2],
        "uid": ["u9", "u1", "u5", "u6", "u3", "u7"],
        "original_width": [5, None, 60_000, 30_000, 1, 1],
        "original_height": [5, 9, 60_000, 120_000, 1, 1],
        "score": [None, math.nan, 0.5, 0.7, 0.7, 0.1],
    },
    schema_overrides={"original_width": pl.Int32, "original_height": pl.Int32},
)


@pytest.mark.parametrize(
    ("keep", "stays"),
    [("first", "u9"), ("smallest_uid", "u1"), ("largest_image", "u5"), ("best:score", "u3")],
)
def test_which_row_stays(keep, stays):
    for rows in (ROWS, ROWS.reverse(), ROWS.sample(fraction=1, shuffle=True, seed=1)):
        found = rows.join(keepers(rows, keep, "of", "size"), on=["shard", "row"]).sort("uid")
        expected = [None if uid in (stays, "u7") else stays for uid in found["uid"]]
        assert found["of"].to_list() == expected
        assert found["size"].to_list() == [1 if uid == "u7" else 5 for uid in found["uid"]]


def test_columns_and_names():
    assert keep_columns("first") == ("uid",) and keep_columns("best:uid") == ("uid",)
    assert keep_columns("largest_image") == ("uid", "original_width", "original_height")
    with pytest.raises(ValueError, match="no keep 'frist' \\(did you mean 'first'"):
        known_keep("frist")


def test_groups_of_any_size_and_none():
    keys = [b"a", b"b", b"b", b"c", b"d", b"d", b"d"]
    rows = pl.DataFrame({"key": keys, "shard": [3] * 7, "row": range(7), "uid": list("gfedcba")})
    for order in (rows, rows.reverse()):
        columns = keepers(order, "first", "of", "size")
        assert columns["row"].to_list() == list(range(7))
        assert columns["of"].to_list() == [None, None, "f", None, None, "c", "c"]
        assert columns["size"].to_list() == [1, 2, 2, 1, 3, 3, 3]
    none = keepers(rows.clear(), "smallest_uid", "of", "size")
    assert none.schema == {"shard": pl.Int64, "row": pl.Int64, "of": pl.String, "size": pl.UInt32} and none.is_empty()
