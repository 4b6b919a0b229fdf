"""Pictures of simple scenes with captions that are known to be true: `draw(rng)` gives image, caption and scene."""

from __future__ import annotations

import random
from dataclasses import dataclass

import numpy as np
from PIL import Image

from curate.demo import captions
from curate.demo.shapes import COLOURS, SHAPES, Rgb, sprite

# Colours that people (and encoders) may call by the other's name never meet in one scene.
_CONFUSABLE = [
    {"red", "orange"},
    {"red", "pink"},
    {"orange", "yellow"},
    {"orange", "brown"},
    {"red", "brown"},
    {"brown", "black"},
    {"white", "grey"},
    {"black", "purple"},
    {"blue", "purple"},
    {"blue", "teal"},
    {"green", "teal"},
    {"grey", "teal"},
    {"pink", "purple"},
    {"yellow", "white"},
    {"brown", "grey"},
    {"pink", "white"},
]
_ALIKE = {(c, d) for pair in _CONFUSABLE for c in pair for d in pair} | {(c, c) for c in COLOURS}


@dataclass(frozen=True)
class Thing:
    """One drawn thing: a name from SHAPES and a name from COLOURS."""

    shape: str
    colour: str


@dataclass(frozen=True)
class Background:
    """pattern: plain, gradient, stripes or rough; `second` is the other colour of a gradient or of stripes."""

    pattern: str
    colour: str
    second: str | None = None


@dataclass(frozen=True)
class Scene:
    """What is in a picture, and nothing about how large it is drawn.

    relation: `single` (one thing, at `place`, drawn `scale`: small, large or ordinary), `same` (2-3 equal things),
    `above` or `beside` (two things: the first is above, or left of, the second) or `row` (three, left to right).
    """

    things: tuple[Thing, ...]
    relation: str
    background: Background
    place: str = "middle"
    scale: str = "ordinary"

    def colours(self) -> set[str]:
        """Every colour name that may appear in a caption of the scene."""
        behind = {self.background.colour, self.background.second or self.background.colour}
        return {thing.colour for thing in self.things} | behind

    def shapes(self) -> set[str]:
        return {thing.shape for thing in self.things}


def draw(
    rng: random.Random,
    *,
    size_px: tuple[int, int] | None = None,
    scene: Scene | None = None,
) -> tuple[Image.Image, str, Scene]:
    """One RGB picture, a true English caption and the scene behind both.

    Without `size_px` (width, height) the sides are between 224 and 900 px. Equal `rng` states give equal pixels.

    >>> image, caption, scene = draw(random.Random(3), size_px=(300, 224))
    >>> image.size, caption
    ((300, 224), 'Simple artwork with three butterflies, all blue, on a grainy white background')
    >>> scene.relation, scene.background.pattern
    ('same', 'rough')
    """
    scene = sample(rng) if scene is None else scene
    image = render(scene, rng, size_px=size_px or sample_size(rng))
    return image, captions.english(scene, rng), scene


def sample(rng: random.Random, *, unlike: Scene | None = None) -> Scene:
    """A random scene; with `unlike`, one of other shapes and colours, and no look-alike colours where possible."""
    taken = unlike.colours() if unlike else set()
    shapes = [s for s in SHAPES if unlike is None or s not in unlike.shapes()]
    far = [c for c in COLOURS if all((c, other) not in _ALIKE for other in taken)]
    for _ in range(50):
        scene = _attempt(rng, far, shapes)
        if scene is not None:
            return scene
    # A scene of five colours can leave none that nobody would confuse with them; different names must do then.
    other_names = [c for c in COLOURS if c not in taken]
    while True:
        scene = _attempt(rng, other_names, shapes)
        if scene is not None:
            return scene


def _attempt(rng: random.Random, colours: list[str], shapes: list[str]) -> Scene | None:
    """A scene of these colours and shapes, or None where things would be hard to see on their background."""
    if not colours:
        return None
    relation = rng.choices(["single", "same", "above", "beside", "row"], [3, 2, 3, 3, 2])[0]
    names = rng.sample(shapes, {"single": 1, "same": 1, "above": 2, "beside": 2, "row": 3}[relation])
    things = tuple(Thing(name, rng.choice(colours)) for name in names)
    if relation == "same":
        things = things * rng.choice([2, 3])
    pattern = rng.choices(["plain", "gradient", "stripes", "rough"], [4, 3, 2, 2])[0]
    free = [c for c in colours if all((c, thing.colour) not in _ALIKE for thing in things)]
    needed = 2 if pattern in ("gradient", "stripes") else 1
    if len(free) < needed:
        return None
    behind = rng.sample(free, needed)
    if needed == 2 and ((behind[0], behind[1]) in _ALIKE or _drowned(things, behind)):
        return None
    if relation != "single":
        return Scene(things, relation, Background(pattern, *behind))
    scale = rng.choice(["small", "ordinary", "large"])
    place = "middle" if scale == "large" else rng.choice(list(PLACES))
    return Scene(things, relation, Background(pattern, *behind), place, scale)


def _drowned(things: tuple[Thing, ...], behind: list[str]) -> bool:
    """Whether the middle of a gradient comes close to the colour of a thing (blue to orange passes through grey)."""
    middle = (np.array(COLOURS[behind[0]]) + COLOURS[behind[1]]) / 2
    return any(np.linalg.norm(middle - COLOURS[thing.colour]) < 70 for thing in things)


PLACES = {
    "middle": (0.5, 0.5),
    "top left": (0.2, 0.2),
    "top right": (0.8, 0.2),
    "bottom left": (0.2, 0.8),
    "bottom right": (0.8, 0.8),
}


def sample_size(rng: random.Random, *, shortest_px: int = 224, longest_px: int = 900) -> tuple[int, int]:
    """Width and height, small ones more often: most web images are, and they are cheap to draw."""
    long_side = round(shortest_px + (longest_px - shortest_px) * rng.random() ** 2)
    short_side = max(shortest_px, round(long_side * rng.uniform(0.6, 1.0)))
    return (long_side, short_side) if rng.random() < 0.65 else (short_side, long_side)


def render(scene: Scene, rng: random.Random, *, size_px: tuple[int, int]) -> Image.Image:
    """Draws the scene; every call places, turns and tints a little differently."""
    width, height = size_px
    image = backdrop(scene.background, rng, width, height)
    for thing, (x, y, side) in zip(scene.things, _spots(scene, rng, width, height), strict=True):
        side_px = max(6, round(side))
        drawn = sprite(thing.shape, tint(rng, thing.colour), side_px, turn_degrees=rng.uniform(-9, 9))
        image.paste(drawn, (round(x - side_px / 2), round(y - side_px / 2)), drawn)
    return image


def _spots(scene: Scene, rng: random.Random, width: int, height: int) -> list[tuple[float, float, float]]:
    """Centre and side of each thing in px; things never overlap and stay inside the picture."""
    short = min(width, height)
    if scene.relation == "single":
        low, high = {"small": (0.18, 0.27), "ordinary": (0.34, 0.4), "large": (0.65, 0.9)}[scene.scale]
        side = short * rng.uniform(low, high)
        x, y = PLACES[scene.place]
        loose = 0.07 if scene.scale != "large" else 0.03
        return [
            (
                min(max(width * (x + rng.uniform(-loose, loose)), side / 2), width - side / 2),
                min(max(height * (y + rng.uniform(-loose, loose)), side / 2), height - side / 2),
                side,
            )
        ]
    count = len(scene.things)
    # Equal things stand along the longer side; the other relations say which way they stand.
    upright = scene.relation == "above" or (scene.relation == "same" and height > width)
    cell_width, cell_height = (width, height / count) if upright else (width / count, height)
    room = min(cell_width, cell_height)
    even = rng.uniform(0.55, 0.92)
    spots = []
    for index in range(count):
        side = room * (even if scene.relation == "same" else rng.uniform(0.55, 0.92))
        slack_x, slack_y = (cell_width - side) / 2, (cell_height - side) / 2
        # Along the stacking direction the cell bounds the jitter; across it, things stay roughly aligned.
        across = 0.35
        x = cell_width / 2 + rng.uniform(-1, 1) * slack_x * (across if upright else 0.9)
        y = cell_height / 2 + rng.uniform(-1, 1) * slack_y * (0.9 if upright else across)
        spots.append((x + (0 if upright else index * cell_width), y + (index * cell_height if upright else 0), side))
    return spots


def tint(rng: random.Random, colour: str) -> Rgb:
    """The named colour, a little off, so that no two pictures have the very same red."""
    red, green, blue = (min(255, max(0, c + rng.randint(-9, 9))) for c in COLOURS[colour])
    return red, green, blue


def backdrop(background: Background, rng: random.Random, width: int, height: int) -> Image.Image:
    """The empty picture: width x height px, RGB."""
    first = tint(rng, background.colour)
    if background.pattern == "plain":
        return Image.new("RGB", (width, height), first)
    if background.pattern == "rough":
        grain = rng.choice([1, 2, 4])
        noise = np.random.default_rng(rng.getrandbits(32))
        dots = noise.integers(-1, 2, (2, height // grain + 1, width // grain + 1), dtype=np.int8).sum(axis=0) * 9 + 128
        small = Image.fromarray(dots.astype(np.uint8))
        grey = small.resize((small.width * grain, small.height * grain), Image.Resampling.NEAREST)
        channels = [grey.point([min(255, max(0, c + dot - 128)) for dot in range(256)]) for c in first]
        return Image.merge("RGB", channels).crop((0, 0, width, height))
    along_x, along_y = rng.choice([(1.0, 0.0), (0.0, 1.0), (0.7, 0.7), (0.7, -0.7)])
    across = (along_x * np.arange(width))[None, :] + (along_y * np.arange(height))[:, None]
    if background.pattern == "gradient":
        share = (across - across.min()) * (255 / (np.ptp(across) + 1))
    else:
        band = max(3.0, min(width, height) / rng.uniform(6, 14))
        share = ((across / band).astype(np.int32) & 1) * 255
        share[across < 0] = 255 - share[across < 0]
    # A mask of one byte per pixel is mixed by Pillow several times faster than three floats are by numpy.
    mask = Image.fromarray(share.astype(np.uint8))
    second = Image.new("RGB", (width, height), tint(rng, background.second or background.colour))
    return Image.composite(second, Image.new("RGB", (width, height), first), mask)
