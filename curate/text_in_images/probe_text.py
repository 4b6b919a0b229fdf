"""How strongly an encoder spots text: cosines between pictures of words and the words (the parrot probe)."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from curate.errors import CurateError

SIDE_PX = 224
FONT_PX = 32
MARGIN_PX = 8
BATCH = 64

#: Colours of the text and of the canvas: the four styles of the published probe.
STYLES = {
    "black on white": ("black", "white"),
    "white on black": ("white", "black"),
    "white on grey": ("white", "grey"),
    "black on grey": ("black", "grey"),
}

Encode = Callable[[Sequence[Any]], np.ndarray]


@dataclass(frozen=True)
class TextProbe:
    """What `probe` measured, over all styles unless it says so.

    own: mean cosine of a picture of a text and that text. other: of a picture and the other texts.
    spotting: own - other; about 0 for an encoder that does not read.
    first: share of the pictures for which the own text is nearer than any other; `chance` is 1 / texts.
    by_style: spotting of each style.
    font: file of the font; empty for Pillow's own.
    """

    model: str
    texts: int
    own: float
    other: float
    spotting: float
    first: float
    chance: float
    by_style: dict[str, float]
    font: str = ""

    def as_dict(self) -> dict[str, Any]:
        """For json."""
        return asdict(self)


def probe(
    model: str, words: Sequence[str], n: int = 200, seed: int = 0, device: str = "auto", font: str = ""
) -> TextProbe:
    """Draws `n` of the words (or phrases), paints each in four styles on an empty canvas, and encodes both.

    A scorer that spots text gives `own` far above `other`: it will rank images that spell their caption high.

    Canvas (224 x 224 pixels), styles, size (32) and the text in the middle are those of the published probe
    (sys_benchmark.py of opendatalab/CLIP-Parrot-Bias). It uses Arial and frequent n-grams; here the font is Pillow's
    own unless `font` names a TrueType file, and a phrase too wide for the canvas is broken into lines and made smaller.
    So compare encoders by numbers of one font and one list of words.

    Raises:
        CurateError: for fewer than two different texts, or a font that cannot be read.
    """
    from curate.models.at_hand import check_model
    from curate.models.encoder import Encoder

    check_model(model)
    encoder = Encoder(model, device)
    return measure(model, encoder.images, encoder.texts, words, n=n, seed=seed, font=font)


def measure(
    model: str, images: Encode, texts: Encode, words: Sequence[str], *, n: int, seed: int, font: str = ""
) -> TextProbe:
    """As `probe`, for any two functions that give unit vectors."""
    known = sorted({" ".join(word.split()) for word in words} - {""})
    if len(known) < 2 or n < 2:
        raise CurateError(f"a text probe needs two different texts or more, got {min(len(known), n)}")
    drawn = random.Random(seed).sample(known, min(n, len(known)))
    targets = np.concatenate([texts(drawn[i : i + BATCH]) for i in range(0, len(drawn), BATCH)])
    cosines = np.stack([_pictures(drawn, style, images, font) @ targets.T for style in STYLES])
    own = np.diagonal(cosines, axis1=1, axis2=2)
    other = (cosines.sum(axis=2) - own) / (len(drawn) - 1)
    return TextProbe(
        model=model,
        texts=len(drawn),
        own=float(own.mean()),
        other=float(other.mean()),
        spotting=float((own - other).mean()),
        first=float((cosines.argmax(axis=2) == np.arange(len(drawn))).mean()),
        chance=1 / len(drawn),
        by_style=dict(zip(STYLES, (own - other).mean(axis=1).tolist(), strict=True)),
        font=font,
    )


def render(text: str, style: str = "black on white", font: str = "") -> Image.Image:
    """The text in the middle of a canvas of 224 x 224 pixels; `font` is a TrueType file, by default Pillow's own."""
    ink, paper = STYLES[style]
    canvas = Image.new("RGB", (SIDE_PX, SIDE_PX), paper)
    pen = ImageDraw.Draw(canvas)
    room = SIDE_PX - 2 * MARGIN_PX
    size = FONT_PX
    while True:
        letters = _letters(font, size)
        lines = _broken(text, lambda line, letters=letters: pen.textlength(line, letters) <= room)  # type: ignore[misc]
        box = pen.multiline_textbbox((0, 0), lines, letters, align="center")
        if size <= 8 or (box[2] - box[0] <= room and box[3] - box[1] <= room):
            break
        size = max(8, int(size * 0.9))
    corner = (SIDE_PX / 2 - (box[0] + box[2]) / 2, SIDE_PX / 2 - (box[1] + box[3]) / 2)
    pen.multiline_text(corner, lines, ink, letters, align="center")
    return canvas


def _letters(font: str, size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    if not font:
        return ImageFont.load_default(size)
    try:
        return ImageFont.truetype(font, size)
    except OSError as error:
        raise CurateError(f"no font '{font}': {error}; expected a .ttf or .otf file") from error


def _pictures(texts: Sequence[str], style: str, images: Encode, font: str) -> np.ndarray:
    batches = [texts[i : i + BATCH] for i in range(0, len(texts), BATCH)]
    return np.concatenate([images([render(text, style, font) for text in batch]) for batch in batches])


def _broken(text: str, fits: Callable[[str], bool]) -> str:
    """Blanks turned to line ends wherever the line would no longer fit."""
    lines: list[str] = []
    for word in text.split():
        longer = f"{lines[-1]} {word}" if lines else word
        lines[-1:] = [longer] if not lines or fits(longer) else [lines[-1], word]
    return "\n".join(lines)
