"""How a model is to run: activation and preprocess as its weights were published, however the model is named.

open_clip 3 takes the activation from the architecture and only warns when a tag's weights were trained with another;
weights that are named by their file get the preprocess of OpenAI's CLIP, whatever the architecture.
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from curate.models.names import FOLDER, HUB, checkpoint_file, split_model
from curate.models.open_clip_import import open_clip
from curate.store.file_hash import file_sha256

#: What of a preprocess is published beside the size, which the architecture sets; as open_clip calls it.
KEYS = ("mean", "std", "interpolation", "resize_mode")

CONFIG = "open_clip_config.json"


@dataclass(frozen=True)
class Settings:
    """quick_gelu: QuickGELU, x * sigmoid(1.702 x), in the place of GELU in the towers that open_clip builds itself.

    preprocess: what differs from open_clip's own choice, by the names in KEYS.
    source: who says so.
    """

    quick_gelu: bool = False
    preprocess: Mapping[str, Any] = field(default_factory=dict)
    source: str = "the architecture"

    def words(self) -> str:
        """
        >>> Settings(True, {"mean": (0.5, 0.5, 0.5), "resize_mode": "squash"}).words()
        'QuickGELU, mean 0.5 0.5 0.5, resize_mode squash'
        """
        parts = ["QuickGELU" if self.quick_gelu else "GELU"]
        for key, value in self.preprocess.items():
            parts.append(f"{key} {value if isinstance(value, str) else ' '.join(f'{v:g}' for v in value)}")
        return ", ".join(parts)


def settings_of(model: str) -> Settings:
    """What `model` runs with, for every kind of name but a folder's and the embedded one's, whose configs say it all.

    A tag: what it was trained with. A file: as the config beside it says; as the tag that it is the file of; else what
    all tags of the architecture agree on. Random weights: what all tags of the architecture agree on.
    """
    if model.startswith((HUB, FOLDER)):
        return _of_hub(model) if model.startswith(HUB) else Settings()
    name, tag = split_model(model)
    own = bool((config_of(name) or {}).get("quick_gelu"))
    file = checkpoint_file(model)
    if file is not None:
        published = _beside(file) or _as_tag(file, name)
        if published is not None:
            return Settings(own or published.quick_gelu, published.preprocess, published.source)
        return Settings(own, agreed(name))
    if tag in open_clip().list_pretrained_tags_by_model(name):
        # An architecture whose config asks for QuickGELU was trained so: tags say only where they differ from GELU.
        return Settings(own or bool(tag_config(name, tag).get("quick_gelu")), {}, f"the tag {tag}")
    return Settings(own, agreed(name))


def doubt(model: str) -> str:
    """One line where a file's name leaves open how it was trained, with the name that settles it; else nothing."""
    name, _ = split_model(model)
    file = checkpoint_file(model)
    if file is None:
        return ""
    settings, tags = settings_of(model), with_quick_gelu(name)
    if not tags or settings.quick_gelu or settings.source != Settings().source:
        return ""
    return (
        f"model '{model}' runs with {settings.words()}, as the architecture says; weights that come from {name}'s tags "
        f"{', '.join(tags)} were trained with QuickGELU: those are {name}-quickgelu/{file}"
    )


def agreed(architecture: str) -> dict[str, Any]:
    """The preprocess that all tags of an architecture share, key by key; empty where it has no tags.

    >>> agreed("ViT-B-16-SigLIP")["resize_mode"], "mean" in agreed("ViT-L-14")
    ('squash', False)
    """
    configs = [tag_config(architecture, tag) for tag in open_clip().list_pretrained_tags_by_model(architecture)]
    return {k: configs[0][k] for k in KEYS if configs and all(c[k] == configs[0][k] for c in configs)}


def with_quick_gelu(architecture: str) -> list[str]:
    """Tags of an architecture whose weights were trained with QuickGELU."""
    tags = open_clip().list_pretrained_tags_by_model(architecture)
    return [tag for tag in tags if tag_config(architecture, tag).get("quick_gelu")]


def tag_config(architecture: str, tag: str) -> dict[str, Any]:
    config: dict[str, Any] = open_clip().get_pretrained_cfg(architecture, tag)
    return config


def config_of(architecture: str) -> dict[str, Any] | None:
    """open_clip's config of an architecture; of a hub model, its model_cfg, fetched where it is not in the cache."""
    config: dict[str, Any] | None = open_clip().get_model_config(architecture)
    return config


def is_torchscript(file: Path) -> bool:
    """Whether a checkpoint is an archive with code in it, as OpenAI published its models."""
    if not zipfile.is_zipfile(file):
        return False
    with zipfile.ZipFile(file) as archive:
        return any(name.rpartition("/")[2] == "constants.pkl" for name in archive.namelist())


def _of_hub(model: str) -> Settings:
    config = config_of(model) or {}
    if "quick_gelu" in config:
        return Settings(bool(config["quick_gelu"]), {}, CONFIG)
    tag = _tags_of_repositories().get(model.removeprefix(HUB))
    if tag is None:
        return Settings(False, {}, CONFIG)
    return Settings(bool(tag_config(*tag).get("quick_gelu")), {}, f"the tag {tag[1]}")


def _beside(file: Path) -> Settings | None:
    """What the config in the file's folder says, of a folder as open_clip writes it."""
    try:
        config = json.loads((file.parent / CONFIG).read_text(encoding="utf-8"))
        model, preprocess = config["model_cfg"], config.get("preprocess_cfg") or {}
        return Settings(bool(model.get("quick_gelu")), {k: preprocess[k] for k in KEYS if k in preprocess}, CONFIG)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def _as_tag(file: Path, architecture: str) -> Settings | None:
    """What the tag says that a file is published under: by its sha256, by its place in a hub cache, by its kind."""
    tag = _tag_of(file, architecture)
    if tag is None:
        return Settings(True, agreed(architecture), "OpenAI's kind of archive") if is_torchscript(file) else None
    config = tag_config(architecture, tag)
    return Settings(bool(config.get("quick_gelu")), {k: config[k] for k in KEYS}, f"the tag {tag}")


def _tag_of(file: Path, architecture: str) -> str | None:
    sha256 = file_sha256(str(file))
    places = [part for part in file.absolute().parts if part.startswith("models--")]
    for tag in open_clip().list_pretrained_tags_by_model(architecture):
        config = tag_config(architecture, tag)
        # OpenAI's URLs have the whole hash as their last folder, open_clip's own end in the first eight digits.
        url: list[str] = ["", *str(config.get("url", "")).split("/")]
        folder, name = url[-2:]
        sign = folder if len(folder) == 64 else name.partition(".")[0].rpartition("-")[2]
        if len(sign) >= 8 and sha256.startswith(sign):
            return str(tag)
        repository = config.get("hf_hub", "").rpartition("/")[0]
        if repository and f"models--{repository.replace('/', '--')}" in places:
            return str(tag)
    return None


@cache
def _tags_of_repositories() -> dict[str, tuple[str, str]]:
    """Hub repository to the (architecture, tag) that it holds the weights of."""
    pairs = [(architecture, tag) for architecture, tag in open_clip().list_pretrained()]
    places = {tag_config(*pair).get("hf_hub", "").rpartition("/")[0]: pair for pair in reversed(pairs)}
    return {repository: pair for repository, pair in places.items() if repository}
