"""Names of image-text models: their parts, and the column of their score."""

from __future__ import annotations

import re
from pathlib import Path

#: The encoder that needs no download; it is not CLIP.
EMBEDDED = "lite0-minilm"

FOLDER = "local-dir:"
HUB = "hf-hub:"

#: In the place of a tag: weights drawn at random, always the same; for tests and for measuring speed.
RANDOM = "random"

#: Column names under which published recipes know a model's score.
COLUMN_NAMES = {
    EMBEDDED: "lite",
    "ViT-B-32/openai": "clip_b32",
    "ViT-B-16/openai": "clip_b16",
    "ViT-L-14/openai": "clip_l14",
    "ViT-L-14-336/openai": "clip_l14_336",
}

#: Endings of the files in a folder that decide what its model does: weights, configs, vocabularies.
DECIDING = (".safetensors", ".bin", ".pt", ".pth", ".json", ".txt", ".model")


def column_name(model: str) -> str:
    """The column that holds a model's cosine; a folder's is called as the folder, wherever that lies.

    >>> column_name("ViT-L-14/openai"), column_name("ViT-B-32/laion2b_s34b_b79k"), column_name("local-dir:/m/Our-B32/")
    ('clip_l14', 'vit_b_32_laion2b_s34b_b79k', 'our_b32')
    """
    if model.startswith(FOLDER):
        model = Path(model.removeprefix(FOLDER)).name
    return COLUMN_NAMES.get(model) or re.sub(r"\W+", "_", model.split("//", maxsplit=1)[0].lower()).strip("_")


def split_model(model: str) -> tuple[str, str]:
    """`ViT-L-14/openai` as (architecture, tag or checkpoint path); a hub name or folder as (itself, '')."""
    if model == EMBEDDED or model.startswith((HUB, FOLDER)):
        return model, ""
    name, _, tag = model.partition("/")
    return name, tag


def checkpoint_file(model: str) -> Path | None:
    """The file that `ARCHITECTURE//path/to/file` names; None for a model that is named in another way."""
    name, tag = split_model(model)
    if not tag or tag == RANDOM or not Path(tag).is_file():
        return None
    from curate.models.open_clip_import import open_clip

    # A file that happens to be called as a tag is not what the tag means.
    return None if tag in open_clip().list_pretrained_tags_by_model(name) else Path(tag)
