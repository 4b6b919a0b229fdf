"""Whether a model can be had, found out before any work: names, files, the hub's cache; nothing is loaded."""

from __future__ import annotations

import difflib
import importlib
import json
import os
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from curate.errors import CurateError, nearest
from curate.models.names import EMBEDDED, FOLDER, HUB, RANDOM, checkpoint_file, split_model
from curate.models.open_clip_import import open_clip
from curate.models.published import CONFIG, tag_config

#: Names that an error lists, at most.
LISTED = 6

#: Endings of weights that open_clip reads.
WEIGHTS = (".safetensors", ".bin", ".pt", ".pth", ".npz", ".npy")

#: Files of weights in a folder or a hub repository, in open_clip's order.
IN_REPOSITORY = ("open_clip_model.safetensors", "open_clip_pytorch_model.bin")

#: A tokenizer of Hugging Face is any of these.
TOKENIZER = ("tokenizer.json", "tokenizer_config.json", "vocab.json", "vocab.txt", "spiece.model")

#: Seconds that the hub has to answer.
PATIENCE = 5


def check_model(model: str) -> None:
    """
    Raises:
        CurateError: for a model or tag that open_clip does not know, with the nearest name; for weights, configs or
            tokenizers that are neither here nor to be had, with what to do.
    """
    if model == EMBEDDED:
        from curate.models import lite

        lite.check()
    elif model.startswith(FOLDER):
        _check_folder(model, Path(model.removeprefix(FOLDER)))
    elif model.startswith(HUB):
        check_hub(model, model.removeprefix(HUB), (CONFIG,), "config")
        check_hub(model, model.removeprefix(HUB), IN_REPOSITORY, "weights")
    else:
        _check_architecture(model)


def _check_architecture(model: str) -> None:
    clip, (name, tag) = open_clip(), split_model(model)
    if name not in clip.list_models():
        if name in ("", ".", "~") or Path(model).exists():
            hint = f"{FOLDER}{model} for a folder, ARCHITECTURE/{model} for a checkpoint, as in ViT-B-32/{model}"
            raise CurateError(f"model '{model}' is a path: write {hint}")
        raise CurateError(f"no model '{name}'{_nearest(name, [*clip.list_models(), EMBEDDED])}")
    tags = clip.list_pretrained_tags_by_model(name)
    if checkpoint_file(model) is not None:
        _check_whole(model, Path(tag))
    elif tag in tags:
        _check_tag(model, tag_config(name, tag))
    elif Path(tag).suffix in WEIGHTS or "/" in tag or "\\" in tag:
        raise CurateError(f"model '{model}': {_no_file(Path(tag))}")
    elif tag != RANDOM:
        fault = f"no tag '{tag}' of {name}" if tag else f"name weights of {name}, too"
        raise CurateError(f"model '{model}': {fault}{_nearest(tag, tags)}; a checkpoint is {name}//path/to/file")
    _check_texts(model, clip.get_model_config(name)["text_cfg"])


def _check_tag(model: str, config: Mapping[str, Any]) -> None:
    place = config.get("hf_hub", "")
    if not place:
        return  # open_clip fetches it from a URL of its own into ~/.cache/clip; no tag of today is of this kind
    repository, _, name = place.rpartition("/")
    stem, dot, _ = name.rpartition(".")
    check_hub(model, repository, (f"{stem}{dot}safetensors", name) if name else IN_REPOSITORY, "weights")


def _check_texts(model: str, text: Mapping[str, Any], folder: Path | None = None) -> None:
    """The text tower's config and the tokenizer, where they are Hugging Face's."""
    if text.get("hf_model_name"):
        _check_source(model, text["hf_model_name"], ("config.json",), "text config")
    own = folder is not None and any((*folder.glob("tokenizer*"), *folder.glob("vocab*")))
    if text.get("hf_tokenizer_name") and not own:
        _check_source(model, text["hf_tokenizer_name"], TOKENIZER, "tokenizer")


def _check_source(model: str, source: str, names: Sequence[str], what: str) -> None:
    if not Path(source).is_absolute():
        check_hub(model, source, names, what)
    elif not any((Path(source) / name).is_file() for name in names):
        raise CurateError(f"model '{model}': no {what} at '{source}': {' or '.join(names)}")


def _check_folder(model: str, folder: Path) -> None:
    if not folder.is_dir():
        raise CurateError(f"model '{model}': no folder '{folder}'{_beside(folder)}")
    try:
        config = json.loads((folder / CONFIG).read_text(encoding="utf-8"))["model_cfg"]
        text = {key: config[key] for key in ("embed_dim", "vision_cfg", "text_cfg")}["text_cfg"]
    except FileNotFoundError as error:
        hint = f"a checkpoint alone is ARCHITECTURE/{folder.absolute()}/FILE, as in ViT-B-32/..."
        raise CurateError(f"model '{model}': {folder} holds no {CONFIG}; {hint}") from error
    except (OSError, ValueError, KeyError, TypeError) as error:
        expected = "model_cfg with embed_dim, vision_cfg and text_cfg, as open_clip writes it"
        raise CurateError(f"model '{model}': {folder / CONFIG} holds no {expected}: {error!r}") from error
    files = [file for ending in (".safetensors", ".bin", ".pth") for file in sorted(folder.glob(f"*{ending}"))]
    if not files:
        raise CurateError(f"model '{model}': {folder} holds no weights: {' or '.join(IN_REPOSITORY)}")
    for file in files:
        _check_whole(model, file)
    _check_texts(model, text, folder)


def check_hub(model: str, repository: str, names: Sequence[str], what: str) -> None:
    """One of the files in a repository is in the hub's cache, or the hub has it for us."""
    from huggingface_hub import constants, try_to_load_from_cache

    try:
        cached = [try_to_load_from_cache(repository, name) for name in names]
    except ValueError as error:
        raise CurateError(f"model '{model}': no name of a hub repository: '{repository}'") from error
    here = [Path(path) for path in cached if isinstance(path, str)]
    if here:
        _check_whole(model, here[0])
        return
    why = _unreachable(repository, names)
    if why:
        raise CurateError(
            f"model '{model}' cannot be had: its {what}, {names[0]} of {repository}, is not in the hub's cache "
            f"{constants.HF_HUB_CACHE}, and {why}. `hf download {repository}` fetches it where the network is; "
            f"weights in a file are ARCHITECTURE//path/to/file; {EMBEDDED} needs none"
        )


def _unreachable(repository: str, names: Sequence[str]) -> str:
    """Why the hub does not give us a file; empty where it does, or where only the attempt can tell."""
    from huggingface_hub import constants, hf_hub_url

    utils: Any = importlib.import_module("huggingface_hub.utils")

    settings = {os.environ.get(name, "").lower() for name in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE")}
    if constants.HF_HUB_OFFLINE or settings & {"1", "true", "yes", "on"}:
        return "HF_HUB_OFFLINE forbids to fetch it"
    status = 0
    for name in names:
        url = hf_hub_url(repository, name)
        try:
            status = utils.get_session().head(url, headers=utils.build_hf_headers(), timeout=PATIENCE).status_code
        except OSError as error:
            return f"{constants.ENDPOINT} cannot be reached ({type(error).__name__})"
        if status < 400 or status == 429 or status >= 500:
            return ""
    if status in (401, 403):
        return f"{constants.ENDPOINT} does not give it to you (status {status}): a wrong name, or `hf auth login` first"
    return f"{constants.ENDPOINT} has none (status {status})"


def _check_whole(model: str, file: Path) -> None:
    """As far as the first and last bytes tell, a file of weights is no stub and not cut short."""
    try:
        size, broken = file.stat().st_size, ""
        with file.open("rb") as opened:
            head = opened.read(8)
            if head.startswith(b"version "):
                broken = "a pointer of Git LFS (`git lfs pull` fetches it)"
            elif file.suffix == ".safetensors":
                header = json.loads(opened.read(int.from_bytes(head, "little") if size > 8 else 0) or b"{}")
                ends = [entry["data_offsets"][1] for name, entry in header.items() if name != "__metadata__"]
                broken = "" if ends and opened.tell() + max(ends) == size else "cut short, or no safetensors"
    except OSError as error:
        raise CurateError(f"model '{model}': cannot read '{file}': {error.strerror or error}") from error
    except (ValueError, KeyError, TypeError, AttributeError, MemoryError, OverflowError):
        broken = "no safetensors"
    if size == 0:
        broken = "empty"
    elif head.startswith(b"PK") and not zipfile.is_zipfile(file):
        broken = "cut short"
    if broken:
        raise CurateError(f"model '{model}': '{file}' is {broken}")


def _no_file(path: Path) -> str:
    if path.is_dir():
        return f"'{path}' is a folder: with an {CONFIG} in it that is {FOLDER}{path}"
    return f"no file '{path}'{_beside(path)}"


def _beside(path: Path) -> str:
    try:
        return nearest(path.name, [other.name for other in path.parent.iterdir()])
    except OSError:
        return f": there is no folder '{path.parent}'"


def _nearest(name: str, known: Sequence[str]) -> str:
    """` (did you mean 'x'?); ...` with the nearest few of many names, or the first few."""
    close = difflib.get_close_matches(name, known, n=LISTED, cutoff=0.4) or known[:LISTED]
    if len(known) > LISTED:
        return f"{nearest(name, known)}; the nearest of {len(known)}: {', '.join(close)}"
    return f"{nearest(name, known)}; there are: {', '.join(known) or 'none'}"
