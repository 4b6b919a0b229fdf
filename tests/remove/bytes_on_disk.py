"""Every byte of a folder, as a grep or a carver would look at it: raw, and the pages of parquet files unpacked."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Iterable, Iterator, Mapping

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq

#: So many bytes from the midst of an image file tell it from others.
CARVED = 40


def contents(url: str) -> dict[str, bytes]:
    """Name to bytes of every file below a folder, hidden ones too."""
    fs, root = fsspec.core.url_to_fs(url, use_listings_cache=False)
    fs.invalidate_cache()
    return {path.removeprefix(root).lstrip("/"): fs.cat_file(path) for path in fs.find(root)}


def hashes(files: Mapping[str, bytes]) -> dict[str, str]:
    return {name: hashlib.sha256(data).hexdigest() for name, data in files.items()}


def looks(data: bytes) -> Iterator[bytes]:
    """A file's bytes, and those of its columns where it is parquet: dictionaries with the values that no row uses."""
    yield data
    if data[:4] == b"PAR1":
        file = pq.ParquetFile(io.BytesIO(data))
        texts = [f.name for f in file.schema_arrow if pa.types.is_string(f.type) or pa.types.is_large_string(f.type)]
        table = pq.ParquetFile(io.BytesIO(data), read_dictionary=texts).read()
        for column in table.columns:
            for chunk in column.chunks:
                yield from _buffers(chunk)


def _buffers(array: pa.Array) -> Iterator[bytes]:
    for buffer in array.buffers():
        if buffer is not None:
            yield buffer.to_pybytes()
    if pa.types.is_dictionary(array.type):
        yield from _buffers(array.dictionary)


def spellings(secrets: Iterable[str | bytes]) -> dict[bytes, str]:
    """What to look for: texts as they are and as JSON has them, and bytes from the midst of image files."""
    spelled: dict[bytes, str] = {}
    for secret in secrets:
        if isinstance(secret, bytes):
            middle = len(secret) // 2
            spelled[secret[middle : middle + CARVED]] = f"image {hashlib.sha256(secret).hexdigest()}"
        else:
            spelled[secret.encode()] = secret
            spelled[json.dumps(secret)[1:-1].encode()] = secret
    return spelled


def leaks(url: str, secrets: Iterable[str | bytes]) -> list[str]:
    """`<file>: <secret>` for each secret that lies somewhere below a folder."""
    spelled = spellings(secrets)
    return sorted(
        {
            f"{name}: {secret}"
            for name, data in contents(url).items()
            for look in looks(data)
            for text, secret in spelled.items()
            if text in look or text in name.encode()
        }
    )
