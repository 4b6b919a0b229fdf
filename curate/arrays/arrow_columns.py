"""Arrow columns as one array, and what an op returned as one."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc


def flat(column: pa.ChunkedArray) -> pa.Array:
    """One contiguous array."""
    joined = column.combine_chunks()
    return pa.concat_arrays(joined.chunks) if isinstance(joined, pa.ChunkedArray) else joined


def is_bytes(kind: pa.DataType) -> bool:
    """Whether values of a type are bytes, of any or of one length."""
    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_fixed_size_binary(kind))


def as_array(values: Any, kind: pa.DataType) -> pa.Array:
    """What an op returned, as an Arrow array of the declared type; NaN is null."""
    if hasattr(values, "to_arrow"):  # a polars Series
        values = values.to_arrow()
    if isinstance(values, pa.ChunkedArray):
        values = flat(values)
    if isinstance(values, np.ndarray) and values.ndim == 2:
        numbers = pa.array(np.ascontiguousarray(values).ravel(), kind.value_type)
        offsets = pa.array(np.arange(len(values) + 1) * values.shape[1], pa.int32())
        values = pa.ListArray.from_arrays(offsets, numbers)
    if not isinstance(values, pa.Array):
        return pa.array(values, kind, from_pandas=True)
    if pa.types.is_floating(values.type):
        values = pc.if_else(pc.is_nan(values), pa.scalar(None, values.type), values)
    return values if values.type == kind else values.cast(kind)
