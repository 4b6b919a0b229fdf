"""Image-text pairs to train lite0-minilm's heads on, as features of the frozen towers."""

from __future__ import annotations

import hashlib
import json
import random
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
import torch
from PIL import Image
from torch import Tensor

from curate.demo import captions, scenes, shapes
from curate.models import lite

# Licences under which what is learned from a pair may be shipped under Apache-2.0, with credit.
LICENCES = ("public-domain", "CC-PDDC", "CC0", "CC0-1.0", "CC-BY", "CC-BY-3.0", "CC-BY-4.0", "Apache-2.0", "MIT")
# A figure in a CC-BY book can have terms of its own, named in its credit line.
_OWN_TERMS = re.compile(r"BY[- ](SA|NC|ND)|©|[Aa]ll rights reserved|by permission|with permission|fair use|GFDL")
_SAME_PICTURE_COSINE = 0.96
IMAGE_WIDTH, TEXT_WIDTH = 1280, 384


@dataclass(frozen=True)
class Pair:
    """Views of one picture, captions that are true of it, and what it shows: equal for pairs that show the same."""

    views: list[Image.Image]
    captions: list[str]
    shows: str


@dataclass(frozen=True)
class Features:
    """Tower features of pairs: image (views, 1280) and text (captions, 384), float32, with the pair of each row.

    Pairs of one group show or say the same: they stay on one side of a split and are never each other's negatives.
    """

    image: Tensor
    text: Tensor
    image_pair: Tensor
    text_pair: Tensor
    group: Tensor

    def __len__(self) -> int:
        return len(self.group)


def may_ship(licence: str, allowed: tuple[str, ...] = LICENCES) -> bool:
    """Whether every part of a licence is allowed.

    >>> may_ship("CC-BY-4.0 (Twemoji images)"), may_ship("public-domain (images); LGPL-2.1+ (names)")
    (True, False)
    """
    parts = re.sub(r"\(.*?\)", "", licence).split(";")
    return all(part.strip() in allowed for part in parts)


def usable(pool: pl.DataFrame, allowed: tuple[str, ...] = LICENCES) -> pl.DataFrame:
    """English rows whose licence, and whose own credit line (anywhere in `extra`), lets the heads be shipped."""
    keep = [may_ship(licence, allowed) for licence in pool["licence"]]
    if "lang" in pool.columns:
        keep = [good and lang == "en" for good, lang in zip(keep, pool["lang"], strict=True)]
    if "extra" in pool.columns:
        said = [json.dumps(json.loads(extra), ensure_ascii=False) for extra in pool["extra"]]
        keep = [good and not _OWN_TERMS.search(text) for good, text in zip(keep, said, strict=True)]
    return pool.filter(pl.Series(keep, dtype=pl.Boolean))


def views(path: Path) -> list[Image.Image]:
    """The picture on white and, where it is see-through, also as PIL's plain conversion shows it (often on black)."""
    with Image.open(path) as image:
        plain = image.convert("RGB")
        if image.mode not in ("RGBA", "LA", "PA") and "transparency" not in image.info:
            return [plain]
        layer = image.convert("RGBA")
    white = Image.new("RGBA", layer.size, "white")
    return [Image.alpha_composite(white, layer).convert("RGB"), plain]


def real_pairs(pool: pl.DataFrame, images: Path) -> Iterator[Pair]:
    for file, caption in pool.select("file", "caption").iter_rows():
        yield Pair(views(images / file), [caption], " ".join(re.findall(r"\w+", caption.lower())))


def drawn_pairs(count: int, seed: str) -> Iterator[Pair]:
    """Scenes of the demo's generator, each with three true captions; equal things (on any background) are one group."""
    rng = random.Random(seed)
    for _ in range(count):
        image, caption, scene = scenes.draw(rng)
        said = [caption, captions.english(scene, rng), captions.english(scene, rng)]
        yield Pair([image], said, repr(sorted({(thing.shape, thing.colour) for thing in scene.things})))


def features(pairs: Iterable[Pair], *, look_alikes: bool) -> Features:
    """Runs both towers; with `look_alikes`, pairs whose pictures are near duplicates also become one group."""
    blank = {
        "visual.head.proj.weight": torch.zeros(256, IMAGE_WIDTH),
        "visual.head.proj.bias": torch.zeros(256),
        "text.proj.weight": torch.zeros(256, TEXT_WIDTH),
        "logit_scale": torch.tensor(0.0),
    }
    model, preprocess, tokenizer = lite.build(blank)
    image: list[Tensor] = []
    texts: list[str] = []
    image_pair: list[int] = []
    text_pair: list[int] = []
    shows: list[str] = []
    for number, pair in enumerate(pairs):
        with torch.inference_mode():
            image.append(model.visual.trunk(torch.stack([preprocess(view) for view in pair.views])))
        image_pair += [number] * len(pair.views)
        texts += pair.captions
        text_pair += [number] * len(pair.captions)
        shows.append(pair.shows)
    found = torch.cat(image).clone()
    names = {name: number for number, name in enumerate(dict.fromkeys(shows))}
    group = np.array([names[name] for name in shows])
    if look_alikes:
        group = _joined(group, found, np.array(image_pair))
    return Features(
        found, _text(model, tokenizer, texts), torch.tensor(image_pair), torch.tensor(text_pair), torch.tensor(group)
    )


def _text(model: lite.Model, tokenizer: lite.Tokenizer, texts: list[str]) -> Tensor:
    found = torch.empty(len(texts), TEXT_WIDTH)
    order = sorted(range(len(texts)), key=lambda row: len(texts[row]))
    for start in range(0, len(order), 64):
        rows = order[start : start + 64]
        tokens = tokenizer([texts[row] for row in rows])
        tokens = tokens[:, : int((tokens != 0).sum(dim=1).max())]
        mask = (tokens != 0).long()
        with torch.inference_mode():
            found[rows] = model.text.pooler(model.text.transformer(input_ids=tokens, attention_mask=mask), mask)
    return found


def _joined(group: np.ndarray, image: Tensor, image_pair: np.ndarray) -> np.ndarray:
    """Groups made one where a picture of each is almost the same."""
    unit = torch.nn.functional.normalize(image, dim=1)
    ones, others = torch.nonzero(torch.triu(unit @ unit.T > _SAME_PICTURE_COSINE, 1), as_tuple=True)
    parent = np.arange(group.max() + 1)

    def root(node: int) -> int:
        while parent[node] != node:
            node = parent[node] = parent[parent[node]]
        return node

    for one, other in zip(ones.tolist(), others.tolist(), strict=True):
        parent[root(group[image_pair[one]])] = root(group[image_pair[other]])
    return np.array([root(node) for node in group])


def gather(pool: pl.DataFrame, images: Path, drawn: int, cache: Path | None) -> tuple[Features, Features]:
    """Features of the pool and of `drawn` scenes, read from `cache` where it holds those of the same input."""
    drawer = [Path(str(module.__file__)).read_text() for module in (captions, scenes, shapes)]
    key = hashlib.sha256(repr((pool["file", "caption"].rows(), drawn, drawer)).encode()).hexdigest()
    if cache and cache.exists():
        kept = torch.load(cache, weights_only=True)
        if kept["key"] == key:
            return Features(**kept["real"]), Features(**kept["drawn"])
    real = features(real_pairs(pool, images), look_alikes=True)
    made = features(drawn_pairs(drawn, "lite0-minilm"), look_alikes=False)
    if cache:
        torch.save({"key": key, "real": vars(real), "drawn": vars(made)}, cache)
    return real, made
