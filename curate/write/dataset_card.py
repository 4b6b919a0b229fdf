"""README.md of training shards: what they are, and, for Hugging Face's `load_dataset(folder)`, of which types."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pyarrow as pa
import yaml

from curate.store.folder import Folder
from curate.write.licences import with_licences
from curate.write.shard_columns import Column
from curate.write.survey import Survey

NAME = "README.md"
#: A card that a user has written stays.
_MARK = "<!-- written by curate -->"

_NUMBERS = {pa.float16(): "float32", pa.float32(): "float32", pa.float64(): "float64", pa.bool_(): "bool"}


def is_ours(out: Folder) -> bool:
    """Whether the folder has a card, and not one of the user's."""
    try:
        return _MARK.encode() in out.read_bytes(NAME)
    except FileNotFoundError:
        return False


def write_card(
    out: Folder, samples: int, shards: int, columns: Sequence[Column], facts: Survey, faces: str = ""
) -> None:
    """Writes the card, unless the folder has one of the user's. The shards lie there already."""
    if out.exists(NAME) and not is_ours(out):
        return
    about: dict[str, Any] = {"configs": [{"config_name": "default", "data_files": "*.tar"}]}
    features = _features(columns, facts)
    if features:
        about["dataset_info"] = {"features": features}
    names = ", ".join(f"`{column.name}`" for column in columns)
    text = (
        f"---\n{yaml.safe_dump(about, sort_keys=False, allow_unicode=True)}---\n{_MARK}\n\n"
        f"{samples:,} image-caption pairs in {shards:,} WebDataset shards: `<key>.<image>`, `<key>.txt` the caption, "
        f"`<key>.json` its columns, which the parquet beside each tar has, too.\n\nColumns: {names}\n\n"
        "```python\n"
        'webdataset.WebDataset("00000.tar")\n'
        'datasets.load_dataset("<this folder>", split="train")\n'
        "```\n"
    )
    if facts.rows is not None:
        text += (
            f"\nThe samples are of {facts.rows:,} rows. A row may be there several times: `<key>` ends with the number "
            "of the copy, from `-0` on.\n"
        )
    if faces:
        text += f"\nFaces are blurred where `{faces}` has boxes.\n"
    out.write_bytes(NAME, with_licences(text, out, shards).encode())


def _features(columns: Sequence[Column], facts: Survey) -> list[dict[str, Any]]:
    """Features as a card has them; none where samples hold files whose content is not known here."""
    if facts.members or not facts.extensions:
        return []
    fields = [{"name": "key", "dtype": "string"}]
    for column in columns:
        kind = pa.string() if column.form else column.kind
        feature = {"dtype": "null"} if column.name in facts.empty else _feature(kind)
        if feature is None:
            return []
        fields.append({"name": column.name, **feature})
    images = [{"name": extension, "dtype": "image"} for extension in sorted(facts.extensions)]
    texts = [{"name": name, "dtype": "string"} for name in ("__key__", "__url__")]
    return [*images, {"name": "txt", "dtype": "string"}, {"name": "json", "struct": fields}, *texts]


def _feature(kind: pa.DataType) -> dict[str, Any] | None:
    """What a JSON value of an Arrow type is; None for one that has no such type."""
    if pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind):
        inner = _feature(kind.value_type)
        if inner is None:
            return None
        return {"list": inner["dtype"] if list(inner) == ["dtype"] else inner.get("struct", inner)}
    if pa.types.is_struct(kind):
        fields = [(field.name, _feature(field.type)) for field in kind]
        if any(feature is None for _, feature in fields):
            return None
        return {"struct": [{"name": name, **(feature or {})} for name, feature in fields]}
    if pa.types.is_nested(kind):
        return None
    same = pa.types.is_integer(kind) or pa.types.is_null(kind)
    return {"dtype": str(kind) if same else _NUMBERS.get(kind, "string")}
