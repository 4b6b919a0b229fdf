import polars as pl
import pyarrow as pa
import pytest

from curate.alike.hash_columns import hash_words, narrow_hashes
from curate.errors import CurateError

VALUES = [bytes(range(32)), None, bytes(31) + b"\1"]
FIRST = [int.from_bytes(bytes(range(i, i + 8)), "little") for i in (0, 8, 16, 24)]


@pytest.mark.parametrize(
    "column",
    [
        pa.array(VALUES, pa.binary(32)),
        pa.array([b"x" * 32, *VALUES], pa.binary(32)).slice(1),
        pa.array(VALUES),
        pl.Series(VALUES).to_arrow(),
    ],
)
def test_words(column):
    assert hash_words(column, "pdq").tolist() == [FIRST, [0] * 4, [0, 0, 0, 1 << 56]]


def test_no_rows():
    assert hash_words(pa.array([], pa.binary(32)), "pdq").shape == (0, 4)


def test_integers():
    assert narrow_hashes(pa.array([-1, None, 5], pa.int64()), "phash").tolist() == [2**64 - 1, 0, 5]


@pytest.mark.parametrize("column", [pa.array(["ff"]), pa.array([1.5]), pa.array([b"short"])])
def test_other_columns(column):
    with pytest.raises(CurateError, match=f"'h' is {column.type}, expected 64-bit hashes"):
        narrow_hashes(column, "h")
    with pytest.raises(CurateError, match=f"'h' is {column.type}, expected 256-bit hashes"):
        hash_words(column, "h")
