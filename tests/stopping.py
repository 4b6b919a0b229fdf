"""A store that is stopped while it writes, as by Ctrl-C; and the names of the files that it writes."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any, BinaryIO

import pyarrow as pa
import pytest

from curate.store.store import Store


@contextlib.contextmanager
def files_written(most: int | None = None) -> Iterator[list[str]]:
    """The names of the files that stores write in the block, in their order; where `most` are written, the next one
    ends the block with KeyboardInterrupt."""
    writing, names = Store.writing, list[str]()

    def noted(self: Store, name: str) -> contextlib.AbstractContextManager[BinaryIO]:
        if len(names) == most:
            raise KeyboardInterrupt
        names.append(name)
        return writing(self, name)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Store, "writing", noted)
        yield names


@contextlib.contextmanager
def stopped_at_write(written: int) -> Iterator[list[str]]:
    """A block that is to end with KeyboardInterrupt at the file behind so many; the names of those that are written."""
    with pytest.raises(KeyboardInterrupt), files_written(written) as names:
        yield names


@contextlib.contextmanager
def stopped_at_part(
    shard: int, fault: type[BaseException] = KeyboardInterrupt, raised: type[BaseException] = KeyboardInterrupt
) -> Iterator[None]:
    """A block in which the parts of one shard cannot be written: `fault` is what happens there, `raised` what the block
    is to end with."""
    write_part = Store.write_part

    def stopped(self: Store, table: str, number: int, rows: pa.Table, *rest: Any, **more: Any) -> int:
        if number == shard:
            raise fault
        return write_part(self, table, number, rows, *rest, **more)

    with pytest.MonkeyPatch.context() as patch, pytest.raises(raised):
        patch.setattr(Store, "write_part", stopped)
        yield
