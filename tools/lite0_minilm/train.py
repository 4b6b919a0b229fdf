"""Trains the heads of lite0-minilm: two linear maps between frozen towers, with a contrastive loss.

    python tools/lite0_minilm/train.py POOL.parquet --images DIR --out heads.safetensors --seed 0

POOL has the columns file, caption, source, licence; `lang` and `extra` are used where they exist. Besides the pool it
trains on scenes drawn by the generator of the demo pool (`curate.demo.scenes`).
"""

from __future__ import annotations

import argparse
import copy
import json
import random
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import torch
from pairs import IMAGE_WIDTH, LICENCES, TEXT_WIDTH, Features, Pair, features, gather, usable
from safetensors.torch import save
from torch import Tensor, nn
from torch.nn import functional

from curate.demo import captions, scenes, shapes
from curate.demo.scenes import Scene
from curate.models import lite

_BATCH = 512
_EPOCH_STEPS = 20
_PATIENCE = 12
# Shares of the groups: what decides when to stop is not what the report is measured on.
_STOP, _TEST = 0.1, 0.15


class Heads(nn.Module):  # type: ignore[misc]
    """The two heads and the temperature, on features brought to one scale, so that one step size fits every column."""

    def __init__(self, real: Features, drawn: Features, width: int = 256):
        super().__init__()
        image, text = torch.cat([real.image, drawn.image]), torch.cat([real.text, drawn.text])
        self.image_mean: Tensor
        self.image_scale: Tensor
        self.text_scale: Tensor
        self.register_buffer("image_mean", image.mean(0))
        self.register_buffer("image_scale", 1 / (image.std(0) + 1e-3))
        # One column of all-MiniLM-L6-v2 is constant: unbounded, its scale would overflow float16.
        self.register_buffer("text_scale", 1 / (text.std(0) + 1e-2))
        self.image = nn.Linear(IMAGE_WIDTH, width)
        self.text = nn.Linear(TEXT_WIDTH, width, bias=False)
        self.logit_scale = nn.Parameter(torch.tensor(2.7))
        self.drop = nn.Dropout(0.3)

    def embed_image(self, image: Tensor) -> Tensor:
        return functional.normalize(self.image(self.drop((image - self.image_mean) * self.image_scale)), dim=1)

    def embed_text(self, text: Tensor) -> Tensor:
        return functional.normalize(self.text(self.drop(text * self.text_scale)), dim=1)

    def shipped(self) -> dict[str, Tensor]:
        """Plain linear heads under open_clip's names, float16: the scaling is folded into the weights."""
        image = self.image.weight.detach() * self.image_scale
        found = {
            "visual.head.proj.weight": image.half(),
            "visual.head.proj.bias": (self.image.bias.detach() - image @ self.image_mean).half(),
            "text.proj.weight": (self.text.weight.detach() * self.text_scale).half(),
            "logit_scale": self.logit_scale.detach(),
        }
        for name, value in found.items():
            if not torch.isfinite(value).all():
                raise ValueError(f"{name} does not fit into {value.dtype}")
        return found

    def as_shipped(self) -> Heads:
        """The heads as `load` will see them, rounded and folded: what is measured is what is shipped."""
        plain, found = copy.deepcopy(self), self.shipped()
        plain.eval().requires_grad_(False)
        plain.image_mean.zero_()
        plain.image_scale.fill_(1)
        plain.text_scale.fill_(1)
        plain.image.weight.copy_(found["visual.head.proj.weight"])
        plain.image.bias.copy_(found["visual.head.proj.bias"])
        plain.text.weight.copy_(found["text.proj.weight"])
        return plain


def contrast(image: Tensor, text: Tensor, group: Tensor, logit_scale: Tensor) -> Tensor:
    """InfoNCE both ways (Radford et al. 2021, eq. of fig. 3); pairs of one group are not each other's negatives."""
    logits = logit_scale.exp() * image @ text.T
    same = group[:, None] == group[None, :]
    same.fill_diagonal_(False)
    logits = logits.masked_fill(same, -torch.inf)
    target = torch.arange(len(group))
    return (functional.cross_entropy(logits, target) + functional.cross_entropy(logits.T, target)) / 2


def split(group: Tensor, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Numbers of the pairs to train on, to stop by and to test on: whole groups, at random."""
    names = rng.permutation(np.unique(group.numpy()))
    stop, test = int(len(names) * _STOP), int(len(names) * (_STOP + _TEST))
    parts = (names[test:], names[:stop], names[stop:test])
    train, stopping, testing = (np.flatnonzero(np.isin(group.numpy(), part)) for part in parts)
    return train, stopping, testing


def rows_of(pair_of_row: Tensor, count: int) -> list[np.ndarray]:
    """For each pair, its row numbers."""
    return np.split(np.arange(len(pair_of_row)), np.searchsorted(pair_of_row.numpy(), np.arange(1, count)))


class Draw:
    """Takes pairs out of features: a view and a caption of each, at random or the first."""

    def __init__(self, found: Features):
        self.found = found
        self.image_rows = rows_of(found.image_pair, len(found))
        self.text_rows = rows_of(found.text_pair, len(found))

    def __call__(self, pairs: np.ndarray, rng: np.random.Generator | None = None) -> tuple[Tensor, Tensor, Tensor]:
        pick: Callable[[np.ndarray], int] = (lambda rows: rows[0]) if rng is None else rng.choice
        image = torch.from_numpy(np.array([pick(self.image_rows[pair]) for pair in pairs]))
        text = torch.from_numpy(np.array([pick(self.text_rows[pair]) for pair in pairs]))
        return self.found.image[image], self.found.text[text], self.found.group[torch.from_numpy(pairs)]


def fit(real: Features, drawn: Features, seed: int, *, epochs: int = 150) -> tuple[Heads, np.ndarray]:
    """Heads at the epoch of the lowest held-out loss, and the real pairs to test on. Half of a batch is drawn."""
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    heads = Heads(real, drawn)
    sources = [Draw(real), Draw(drawn)]
    splits = [split(found.group, rng) for found in (real, drawn)]
    shift = int(real.group.max()) + 1
    optimizer = torch.optim.AdamW(heads.parameters(), lr=1e-3, weight_decay=0.1)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs)
    best, best_loss, since = copy.deepcopy(heads.state_dict()), float("inf"), 0
    for _epoch in range(epochs):
        heads.train()
        for _ in range(_EPOCH_STEPS):
            picked = [rng.choice(train, _BATCH // 2, replace=False) for train, _, _ in splits]
            image, text, group = map(
                torch.cat, zip(*(draw(p, rng) for draw, p in zip(sources, picked, strict=True)), strict=True)
            )
            group = group + shift * (torch.arange(_BATCH) >= _BATCH // 2)
            loss = contrast(heads.embed_image(image), heads.embed_text(text), group, heads.logit_scale)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        schedule.step()
        loss_now = sum(held_out_loss(heads, draw(stop)) for draw, (_, stop, _) in zip(sources, splits, strict=True))
        since += 1
        if loss_now < best_loss:
            best, best_loss, since = copy.deepcopy(heads.state_dict()), loss_now, 0
        if since == _PATIENCE:
            break
    print(f"stopped after {_epoch + 1} epochs, held-out loss {best_loss:.3f}")
    heads.load_state_dict(best)
    return heads, splits[0][2]


def held_out_loss(heads: Heads, batch: tuple[Tensor, Tensor, Tensor]) -> float:
    heads.eval()
    image, text, group = batch
    with torch.no_grad():
        return float(contrast(heads.embed_image(image), heads.embed_text(text), group, heads.logit_scale))


def auc(high: np.ndarray, low: np.ndarray) -> float:
    """How often a value of `high` is above one of `low`; ties count half.

    >>> auc(np.array([2.0, 3.0]), np.array([1.0, 3.0]))
    0.625
    """
    low = np.sort(low)
    below, upto = np.searchsorted(low, high, "left"), np.searchsorted(low, high, "right")
    return float((below + upto).mean() / 2 / len(low))


def measure_real(heads: Heads, real: Features, held_out: np.ndarray) -> dict[str, object]:
    """Matched against all mismatched held-out pairs of other groups; recall of a text's image within the best 10."""
    image, text, group = Draw(real)(held_out)
    cosines = (heads.embed_image(image) @ heads.embed_text(text).T).numpy()
    other = (group[:, None] != group[None, :]).numpy()
    matched, shuffled = cosines.diagonal(), cosines[other]
    rivals = np.where(other, cosines, -2.0)
    return {
        "pairs": len(held_out),
        "auc_shuffled": round(auc(matched, shuffled), 4),
        "recall_at_10_of_text": round(float(((rivals > matched[None, :]).sum(0) < 10).mean()), 3),
        "recall_at_10_of_image": round(float(((rivals > matched[:, None]).sum(1) < 10).mean()), 3),
        "matched_p10_50_90": np.percentile(matched, [10, 50, 90]).round(3).tolist(),
        "shuffled_p10_50_90": np.percentile(shuffled, [10, 50, 90]).round(3).tolist(),
    }


def _changed(scene: Scene, part: str, words: Sequence[str]) -> Scene:
    """The scene with a new colour or shape for each of its things."""
    return replace(
        scene, things=tuple(replace(thing, **{part: word}) for thing, word in zip(scene.things, words, strict=True))
    )


def _fresh(scene: Scene, free: list[str], rng: random.Random) -> list[str]:
    """A new word for every thing; equal things get equal words."""
    kinds = list(dict.fromkeys(scene.things))
    new = dict(zip(kinds, rng.sample(free, len(kinds)), strict=True))
    return [new[thing] for thing in scene.things]


def _recoloured(scene: Scene, rng: random.Random) -> Scene:
    """The same things in colours that are nowhere in the scene."""
    free = [colour for colour in shapes.COLOURS if colour not in scene.colours()]
    return _changed(scene, "colour", _fresh(scene, free, rng))


def _reshaped(scene: Scene, rng: random.Random) -> Scene:
    """Other things in the same colours."""
    free = [shape for shape in shapes.SHAPES if shape not in scene.shapes()]
    return _changed(scene, "shape", _fresh(scene, free, rng))


def _exchanged(scene: Scene, rng: random.Random) -> Scene:
    """The same things and the same colours, each in the next one's colour."""
    return _changed(scene, "colour", [thing.colour for thing in [*scene.things[1:], scene.things[0]]])


_WRONG: dict[str, Callable[[Scene, random.Random], Scene]] = {
    "swapped": lambda scene, rng: scenes.sample(rng, unlike=scene),
    "other_colours": _recoloured,
    "other_shapes": _reshaped,
    "exchanged_colours": _exchanged,
}


def measure_drawn(heads: Heads, count: int, seed: str) -> dict[str, object]:
    """Fresh scenes: the true caption against a swapped one, and against ever smaller mistakes."""
    rng = random.Random(seed)
    pairs, bindable = [], []
    for _ in range(count):
        image, caption, scene = scenes.draw(rng)
        wrong = [captions.english(change(scene, rng), rng) for change in _WRONG.values()]
        pairs.append(Pair([image], [caption, *wrong], ""))
        bindable.append(len({thing.colour for thing in scene.things}) > 1)
    found = features(pairs, look_alikes=False)
    text = heads.embed_text(found.text).reshape(count, len(_WRONG) + 1, -1)
    cosines = torch.einsum("nd,nkd->nk", heads.embed_image(found.image), text).numpy()
    result: dict[str, object] = {"scenes": count}
    for column, name in enumerate(_WRONG, start=1):
        rows = np.array(bindable) if name == "exchanged_colours" else np.ones(count, bool)
        result[f"auc_{name}"] = round(auc(cosines[rows, 0], cosines[rows, column]), 4)
    result["matched_p10_50_90"] = np.percentile(cosines[:, 0], [10, 50, 90]).round(3).tolist()
    result["swapped_p10_50_90"] = np.percentile(cosines[:, 1], [10, 50, 90]).round(3).tolist()
    return result


def main() -> None:
    parser = argparse.ArgumentParser(prog="train.py", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("pool", type=Path)
    parser.add_argument("--images", type=Path, required=True, help="folder that the column `file` is relative to")
    parser.add_argument("--out", type=Path, default=lite.HEADS)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--sources", nargs="*", help="values of the column `source` to use (default: all)")
    parser.add_argument("--licences", nargs="*", default=LICENCES, help="licences that allow shipping the heads")
    parser.add_argument("--drawn", type=int, default=6000, help="scenes drawn by code to train on as well")
    parser.add_argument("--cache", type=Path, help="file to keep the tower features in")
    options = parser.parse_args()
    torch.set_num_threads(1)
    pool = usable(pl.read_parquet(options.pool), tuple(options.licences))
    if options.sources:
        pool = pool.filter(pl.col("source").is_in(options.sources))
    print("pairs by source and licence:", sorted(pool.group_by("source", "licence").len().rows()))
    real, drawn = gather(pool, options.images, options.drawn, options.cache)
    heads, held_out = fit(real, drawn, options.seed)
    options.out.write_bytes(save(heads.shipped()))
    heads = heads.as_shipped()
    report = {"real": measure_real(heads, real, held_out), "drawn": measure_drawn(heads, 400, "lite0-minilm test")}
    print(json.dumps(report, indent=1))


if __name__ == "__main__":
    main()
