"""Columns of perceptual hashes as numbers: 64 bits as integers, 256 as 32 bytes."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from curate.errors import CurateError

#: Bytes of a wide hash.
BYTES = 32


def narrow_hashes(column: pa.Array, name: str) -> np.ndarray:
    """uint64[n], 0 for null; a column of int64 holds the same bits.

    Raises:
        CurateError: for a column of another type.
    """
    if column.type not in (pa.uint64(), pa.int64()):
        raise CurateError(f"column '{name}' is {column.type}, expected 64-bit hashes (uint64), as score.phash makes")
    return column.fill_null(0).to_numpy(zero_copy_only=False).astype(np.uint64)  # type: ignore[no-any-return]


def hash_words(column: pa.Array, name: str, size: int = BYTES) -> np.ndarray:
    """uint64[n, size / 8], zeros for null, of a column of `size` bytes per row.

    Raises:
        CurateError: for a column of another type, or values of another length.
    """
    try:
        fixed = column.cast(pa.large_binary()).cast(pa.binary(size)).fill_null(bytes(size))
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        expected = "256-bit hashes (32 bytes), as score.pdq makes" if size == BYTES else f"{size} bytes per row"
        raise CurateError(f"column '{name}' is {column.type}, expected {expected}") from error
    start = fixed.offset * size
    octets = np.frombuffer(fixed.buffers()[1], np.uint8)[start : start + len(fixed) * size]
    return octets.reshape(-1, size).view(np.uint64)
