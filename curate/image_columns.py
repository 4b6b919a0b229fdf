"""Columns that describe a row's image: reading moves them from the rows of an input into the images table."""

from __future__ import annotations

import pyarrow as pa

#: Prefix of their names among the input's columns.
IMAGE = "image:"

IMAGE_FIELDS = {
    "status": pa.string(),
    "error_message": pa.string(),
    "width": pa.int32(),
    "height": pa.int32(),
    "original_width": pa.int32(),
    "original_height": pa.int32(),
    "original_bytes": pa.int64(),
    "sha256": pa.string(),
    "format": pa.string(),
    "extension": pa.string(),
    "key": pa.string(),
    "tar": pa.string(),
    "offset": pa.int64(),
    "size": pa.int64(),
}


def is_image_column(name: str) -> bool:
    """Whether a column is one of these, and no column of the user's that begins alike.

    >>> is_image_column("image:tar"), is_image_column("image:size_mb"), is_image_column("tar")
    (True, False, False)
    """
    return name.startswith(IMAGE) and name[len(IMAGE) :] in IMAGE_FIELDS
