"""Images of a shard one after the other: the bytes of each row, whatever lies between them, in few reads."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from conftest import picture
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from curate.errors import CurateError
from curate.store.images import ImageReader


def padded(number: int, size: int) -> bytes:
    return picture(number) + bytes([number]) * size


@pytest.fixture
def files() -> list[bytes]:
    """Small ones; from 8 on with 20 KB each, more than is read for nothing; the last one larger than a read."""
    sizes = [10] * 8 + [20_000] * 4 + [1 << 20, 10]
    return [padded(number, size) for number, size in enumerate(sizes)]


@pytest.fixture
def reader(make_store, files) -> ImageReader:
    view = make_store(len(files), 100, files)
    return ImageReader(view.store, view.images, 0)


@pytest.fixture
def reads(reader, monkeypatch) -> list[int]:
    """Sizes that were asked of the tars."""
    sizes: list[int] = []
    opened = reader._file

    class Counted:
        def __init__(self, file: Any):
            self.file = file

        def seek(self, offset: int) -> None:
            self.file.seek(offset)

        def read(self, size: int) -> bytes:
            sizes.append(size)
            return self.file.read(size)

    monkeypatch.setattr(reader, "_file", lambda tar: Counted(opened(tar)))
    return sizes


def test_what_lies_close_together_is_read_at_once(reader, reads, files):
    assert list(map(bytes, reader.in_turn(range(14)))) == files
    assert len(reads) == 3, "the first twelve, the large one, the last one"
    assert max(reads) == len(files[12])


def test_what_lies_between_is_not_read_when_it_is_much(reader, reads, files):
    assert list(map(bytes, reader.in_turn([0, 3, 9, 11]))) == [files[row] for row in (0, 3, 9, 11)]
    assert len(reads) == 3
    assert sum(reads) < sum(map(len, files[:10])) + len(files[11])


@given(rows=st.lists(st.integers(0, 13), max_size=20))
@settings(deadline=None, max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_rows_in_any_order(reader, files, rows):
    assert list(map(bytes, reader.in_turn(rows))) == [files[row] for row in rows]


def test_a_damaged_image_is_named(make_store, tmp_path, files):
    view = make_store(len(files), 100, files)
    where = view.store.read_part(view.images, 0).to_pylist()[5]
    tar = Path(where["tar"])
    data = bytearray(tar.read_bytes())
    data[where["offset"] + 3] ^= 1
    tar.write_bytes(data)
    several = ImageReader(view.store, view.images, 0).in_turn(range(14))
    assert [bytes(next(several)) for _ in range(5)] == files[:5]
    with pytest.raises(CurateError, match=r"the image of row 5 of shard 0 is not as it was stored"):
        next(several)
    tar.write_bytes(data[: where["offset"] + 3])
    several = ImageReader(view.store, view.images, 0).in_turn([4, 5, 6])
    assert bytes(next(several)) == files[4]
    with pytest.raises(CurateError, match=r"the image of row 5 of shard 0 is cut off"):
        next(several)
