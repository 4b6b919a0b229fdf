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
    #: xxh3 of the stored bytes, compared whenever they are read.
    "checksum": pa.uint64(),
}

#: Name of the table that says how each row was fetched, and its columns.
FETCHES = "fetches"

FETCH_FIELDS = {
    "attempts": pa.int32(),
    "fetch_seconds": pa.float32(),
    "final_url": pa.string(),
    "content_type": pa.string(),
    "retrieved": pa.timestamp("ms", "UTC"),
    "server_date": pa.string(),
    "robots": pa.string(),
    "x_robots": pa.string(),
    "content_usage": pa.string(),
}

#: Other files of the sample, which go along with the image: their names behind the key, and where they lie.
MEMBER = pa.struct(
    [
        ("name", pa.string()),
        ("tar", pa.string()),
        ("offset", pa.int64()),
        ("size", pa.int64()),
        ("checksum", pa.uint64()),
    ]
)

#: What an input tells of an image beside these, for reading to settle: `bytes` that have no place yet, members (with
#: bytes, likewise), which sample of its file it is, and what was done with the row.
READ_FIELDS = {
    "bytes": pa.large_binary(),
    "members": pa.list_(pa.struct([*MEMBER, ("bytes", pa.large_binary())])),
    "sample": pa.string(),
    "remark": pa.list_(pa.string()),
}


def is_image_column(name: str) -> bool:
    """Whether a column is one of these, and no column of the user's that begins alike.

    >>> is_image_column("image:tar"), is_image_column("image:size_mb"), is_image_column("tar")
    (True, False, False)
    """
    return name.startswith(IMAGE) and name[len(IMAGE) :] in (*IMAGE_FIELDS, *READ_FIELDS)


#: Name of the folder with what robots.txt files said: a row for each origin, not for each row of the records.
ROBOTS = "robots"
