"""The identity of a model's weights, without loading them."""

from __future__ import annotations

from pathlib import Path

from curate.models import lite
from curate.models.names import DECIDING, EMBEDDED, FOLDER, checkpoint_file
from curate.models.published import settings_of
from curate.store.file_hash import file_sha256


def model_weights(model: str) -> str:
    """Identity of the weights: a published tag's name; the sha256 of local files, and for one file how it is run."""
    if model == EMBEDDED:
        return lite.weights()
    if model.startswith(FOLDER):
        folder = Path(model.removeprefix(FOLDER))
        files = sorted(p for p in folder.glob("*") if p.suffix in DECIDING and p.is_file())
        return ",".join(f"{p.name}@{file_sha256(str(p))[:12]}" for p in files) or model
    file = checkpoint_file(model)
    if file is None:
        return model
    return f"{model}@{file_sha256(str(file))[:12]} ({settings_of(model).words()})"
