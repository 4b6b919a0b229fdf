"""The embedded encoder as a folder for `open_clip.create_model_and_transforms("local-dir:PATH")`."""

from __future__ import annotations

import shutil
from pathlib import Path

from curate.models import lite

TEXT_FILES = ("config.json", "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "vocab.txt")


def write_folder(folder: Path) -> None:
    """Writes all of it (110 MB). open_clip looks for the text tower's config by the path that it was written at."""
    from safetensors.torch import save_file

    folder = folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    for name in TEXT_FILES:
        shutil.copyfile(lite._text_folder() / name, folder / name)
    state = {**lite.towers(), **lite._heads()}
    save_file({name: value.contiguous() for name, value in state.items()}, folder / "open_clip_model.safetensors")
    lite._write_config(folder, text_folder=folder)
