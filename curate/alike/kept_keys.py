"""Keys that a store keeps: what an op on all rows makes of each one, so that a later run does not make it again."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa

from curate.alike.against_old import AgainstOld
from curate.arrays.rows import Rows
from curate.op import Grouped, Linked, Op, Score

#: Bytes of a key of a Grouped op, and of one of a Linked one, which has a key for each band.
GROUP_BYTES, BAND_BYTES = 16, 8


class KeptKeys(AgainstOld):
    """A Grouped op of one key, or a Linked one, whose keys can be kept in a table of their own: a part for each shard,
    filled as that of a Score is. A row has a key in every band, or in none.

    keep_keys: whether the op fills that table. Keys that are there are used in any case.
    """

    how: ClassVar[frozenset[str]] = Op.how | {"keep_keys"}
    #: The options that decide keys.
    key_options: ClassVar[frozenset[str]]

    keep_keys: bool = False

    @abstractmethod
    def key_columns(self) -> tuple[str, ...]:
        """The columns that keys are made of; a row that lacks a value in one has no key."""

    @abstractmethod
    def keys(self, rows: Rows) -> Any:
        """As Grouped.keys or Linked.keys; gets the columns of `key_columns` alone where keys are kept."""


class Keys(Score):
    """`<table>_key`: the keys of a row, one behind the other; null for a row without one. Table: `<table>_keys`, by the
    name that the op's table has by default, so that all that make the same keys share it."""

    of: KeptKeys
    batch_size: int = 10_000

    def table(self) -> str:
        return f"{self.of.model_copy(update={'name': ''}).table()}_keys"

    def column(self) -> str:
        return self.table().removesuffix("s")

    def reads(self) -> tuple[str, ...]:
        return self.of.key_columns()

    def makes(self) -> dict[str, pa.DataType]:
        size = BAND_BYTES * self.of.bands() if isinstance(self.of, Linked) else GROUP_BYTES
        return {self.column(): pa.binary(size)}

    def packages(self) -> tuple[str, ...]:
        return self.of.packages()

    def setup(self) -> None:
        self.of.setup()

    def spec(self) -> dict[str, Any]:
        spec = self.of.spec()
        known = self.of.key_options
        return spec | {"options": {name: value for name, value in spec["options"].items() if name in known}}

    def batch(self, rows: Rows) -> Mapping[str, Any]:
        keys = self.of.keys(rows)
        return {self.column(): keys if isinstance(self.of, Grouped) else _joined(keys)}


def _joined(bands: Sequence[pa.Array]) -> pa.Array:
    """The keys of all bands of each row."""
    null = bands[0].is_null().to_numpy(zero_copy_only=False)
    keys = np.stack([band.fill_null(0).to_numpy(zero_copy_only=False) for band in bands], axis=1).astype("<u8")
    kind = pa.binary(BAND_BYTES * len(bands))
    return pa.Array.from_buffers(
        kind, len(null), [pa.py_buffer(np.packbits(~null, bitorder="little")), pa.py_buffer(keys.tobytes())]
    )


def parted(keys: pa.Array, bands: int) -> list[pa.Array]:
    """As Linked.keys gives them, of a column that Keys made.

    >>> bands = [pa.array([1, None], pa.uint64()), pa.array([2, None], pa.uint64())]
    >>> [band.to_pylist() for band in parted(_joined(bands), 2)]
    [[1, None], [2, None]]
    """
    null = keys.is_null().to_numpy(zero_copy_only=False)
    size = BAND_BYTES * bands
    octets = keys.fill_null(bytes(size)).buffers()[1] if keys.null_count else keys.buffers()[1]
    start = 0 if keys.null_count else keys.offset * size
    numbers = np.frombuffer(octets, np.uint8)[start : start + len(keys) * size].view("<u8").reshape(-1, bands)
    return [pa.array(np.ascontiguousarray(band), mask=null) for band in numbers.T]
