"""Keys of an outside table: a file of nothing else, and how they are compared."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import fsspec
import numpy as np
import polars as pl

from curate.errors import CurateError
from curate.store.subset_file import HALVES


def version_of(files: Sequence[str]) -> str:
    """What file systems say of the files: their sizes and times."""
    facts = []
    for name in files:
        fs, place = fsspec.core.url_to_fs(name, use_listings_cache=False)
        try:
            facts.append(str(fs.ukey(place)))
        except FileNotFoundError as error:
            raise CurateError(f"there is no file '{name}'") from error
    return " ".join(facts)


def key_list(key_file: str) -> list[str]:
    """The keys of a file of nothing else, in its order: a .npy of uids as DataComp has them or of texts, a text file.

    Raises:
        CurateError: when it is none of these.
    """
    return _read_keys(key_file, version_of([key_file]))


@lru_cache(maxsize=2)
def _read_keys(key_file: str, version: str) -> list[str]:
    if key_file.endswith(".txt"):
        with fsspec.open(key_file, "rt", encoding="utf-8") as lines:
            return [line.strip() for line in lines]
    try:
        with fsspec.open(key_file, "rb") as file:
            array = np.load(file, allow_pickle=False)
    except ValueError as error:
        raise CurateError(f"key_file '{key_file}' is no .parquet, .npy or .txt: {error}") from error
    if array.ndim == 1 and array.dtype.kind in "US":
        return [str(value) for value in array.astype("U").tolist()]
    if array.ndim == 1 and array.dtype == HALVES:
        return [f"{high:016x}{low:016x}" for high, low in array.tolist()]
    raise CurateError(
        f"key_file '{key_file}' holds {array.dtype} of shape {array.shape}: uids (u8,u8) or texts, please"
    )


def comparable_keys(keys: pl.Series) -> pl.Series:
    """uids and file hashes as they are compared: hex digits in lower case, those of a UUID without its dashes."""
    texts = keys.bin.encode("hex") if keys.dtype == pl.Binary else keys.cast(pl.String)
    texts = texts.str.to_lowercase()
    uuid = (texts.str.len_bytes() == 36).fill_null(False)
    plain: pl.Series = texts.zip_with(~uuid, texts.str.replace_all("-", "", literal=True)) if uuid.any() else texts
    return plain
