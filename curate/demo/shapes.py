"""Simple things to draw (circle, star, house, fish, ...), each a stack of polygons in a unit square."""

from __future__ import annotations

import math

import numpy as np
from PIL import Image, ImageDraw

Rgb = tuple[int, int, int]
# A part is an outline and its tone: "main" takes the colour of the thing, "dark" and "light" a shade of it,
# "ink" is near black, "paper" near white (eyes and wheels show on every colour), "hole" lets the background through.
Part = tuple[np.ndarray, str]

COLOURS: dict[str, Rgb] = {
    "red": (212, 32, 36),
    "green": (40, 150, 62),
    "blue": (36, 78, 205),
    "yellow": (247, 216, 38),
    "orange": (242, 130, 24),
    "purple": (122, 46, 158),
    "pink": (246, 140, 184),
    "brown": (118, 72, 36),
    "black": (22, 22, 24),
    "white": (248, 248, 246),
    "grey": (138, 140, 142),
    "teal": (44, 190, 186),
}


def _ellipse(x: float, y: float, rx: float, ry: float | None = None, *, tone: str = "main", tilt: float = 0.0) -> Part:
    angle = np.linspace(0, 2 * math.pi, 48, endpoint=False)
    across, down = np.cos(angle) * rx, np.sin(angle) * (rx if ry is None else ry)
    cos, sin = math.cos(tilt), math.sin(tilt)
    return np.stack([x + across * cos - down * sin, y + across * sin + down * cos], axis=1), tone


def _box(left: float, top: float, right: float, bottom: float, tone: str = "main") -> Part:
    return _polygon((left, top), (right, top), (right, bottom), (left, bottom), tone=tone)


def _polygon(*points: tuple[float, float], tone: str = "main") -> Part:
    return np.array(points, dtype=float), tone


def _star() -> Part:
    angle = np.arange(10) * math.pi / 5 - math.pi / 2
    radius = np.where(np.arange(10) % 2 == 0, 0.5, 0.2)
    return np.stack([0.5 + radius * np.cos(angle), 0.53 + radius * np.sin(angle)], axis=1), "main"


def _heart() -> Part:
    t = np.linspace(0, 2 * math.pi, 60, endpoint=False)
    across = 16 * np.sin(t) ** 3
    up = 13 * np.cos(t) - 5 * np.cos(2 * t) - 2 * np.cos(3 * t) - np.cos(4 * t)
    return np.stack([0.5 + across / 34, 0.46 - up / 34], axis=1), "main"


def _moon() -> Part:
    outer = np.linspace(math.pi * 0.3, math.pi * 1.7, 40)
    far = np.stack([0.58 + 0.48 * np.cos(outer), 0.5 + 0.48 * np.sin(outer)], axis=1)
    # The inner arc meets the outer one at both tips.
    reach = 0.48 * math.sin(math.pi * 0.3)
    centre = 0.58 + 0.48 * math.cos(math.pi * 0.3) + 0.06
    radius = math.hypot(reach, 0.06)
    tip = math.atan2(reach, -0.06)
    inner = np.linspace(2 * math.pi - tip, tip, 40)
    near = np.stack([centre + radius * np.cos(inner), 0.5 + radius * np.sin(inner)], axis=1)
    return np.concatenate([far, near]), "main"


def _flower() -> list[Part]:
    petals = [
        _ellipse(0.5 + 0.26 * math.cos(a), 0.5 + 0.26 * math.sin(a), 0.24, 0.15, tilt=a)
        for a in (i * math.pi / 3 for i in range(6))
    ]
    return [*petals, _ellipse(0.5, 0.5, 0.15, tone="ink"), _ellipse(0.5, 0.5, 0.12, tone="paper")]


SHAPES: dict[str, list[Part]] = {
    "circle": [_ellipse(0.5, 0.5, 0.48)],
    "square": [_box(0.06, 0.06, 0.94, 0.94)],
    "triangle": [_polygon((0.5, 0.04), (0.98, 0.92), (0.02, 0.92))],
    "star": [_star()],
    "heart": [_heart()],
    "arrow": [
        _polygon((0.02, 0.36), (0.55, 0.36), (0.55, 0.14), (0.98, 0.5), (0.55, 0.86), (0.55, 0.64), (0.02, 0.64))
    ],
    "diamond": [_polygon((0.5, 0.0), (0.82, 0.5), (0.5, 1.0), (0.18, 0.5))],
    "cross": [_box(0.36, 0.04, 0.64, 0.96), _box(0.04, 0.36, 0.96, 0.64)],
    "house": [
        _box(0.14, 0.45, 0.86, 0.96),
        _polygon((0.5, 0.04), (0.98, 0.48), (0.02, 0.48), tone="dark"),
        _box(0.42, 0.64, 0.58, 0.96, tone="ink"),
        _box(0.22, 0.56, 0.36, 0.7, tone="paper"),
        _box(0.64, 0.56, 0.78, 0.7, tone="paper"),
    ],
    "tree": [
        _box(0.43, 0.6, 0.57, 0.99, tone="dark"),
        _ellipse(0.5, 0.26, 0.25),
        _ellipse(0.29, 0.48, 0.22),
        _ellipse(0.71, 0.48, 0.22),
        _ellipse(0.5, 0.52, 0.22),
    ],
    "fish": [
        _polygon((0.66, 0.5), (0.99, 0.22), (0.99, 0.78)),
        _polygon((0.3, 0.32), (0.48, 0.12), (0.62, 0.36), tone="dark"),
        _ellipse(0.4, 0.5, 0.38, 0.25),
        _ellipse(0.2, 0.44, 0.055, tone="paper"),
        _ellipse(0.19, 0.44, 0.03, tone="ink"),
    ],
    "flower": _flower(),
    "car": [
        _polygon((0.24, 0.46), (0.36, 0.24), (0.7, 0.24), (0.82, 0.46)),
        _box(0.03, 0.45, 0.97, 0.7),
        _polygon((0.31, 0.45), (0.4, 0.29), (0.51, 0.29), (0.51, 0.45), tone="paper"),
        _polygon((0.55, 0.45), (0.55, 0.29), (0.66, 0.29), (0.74, 0.45), tone="paper"),
        _ellipse(0.25, 0.7, 0.12, tone="ink"),
        _ellipse(0.75, 0.7, 0.12, tone="ink"),
        _ellipse(0.25, 0.7, 0.05, tone="paper"),
        _ellipse(0.75, 0.7, 0.05, tone="paper"),
    ],
    "moon": [_moon()],
    "cloud": [
        _ellipse(0.25, 0.6, 0.2),
        _ellipse(0.43, 0.44, 0.23),
        _ellipse(0.64, 0.5, 0.19),
        _ellipse(0.79, 0.62, 0.18),
        _box(0.25, 0.58, 0.79, 0.8),
    ],
    "boat": [
        _polygon((0.02, 0.7), (0.98, 0.7), (0.8, 0.95), (0.2, 0.95)),
        _box(0.47, 0.05, 0.51, 0.7, tone="ink"),
        _polygon((0.54, 0.08), (0.9, 0.64), (0.54, 0.64), tone="light"),
        _polygon((0.44, 0.2), (0.44, 0.64), (0.14, 0.64), tone="light"),
    ],
    "mushroom": [
        _polygon((0.38, 0.5), (0.62, 0.5), (0.67, 0.97), (0.33, 0.97), tone="light"),
        (np.clip(_ellipse(0.5, 0.52, 0.47, 0.45)[0], None, (1.0, 0.56)), "main"),
        _ellipse(0.34, 0.36, 0.07, tone="paper"),
        _ellipse(0.58, 0.24, 0.07, tone="paper"),
        _ellipse(0.72, 0.44, 0.06, tone="paper"),
    ],
    "butterfly": [
        _ellipse(0.26, 0.32, 0.26, 0.2, tilt=0.6),
        _ellipse(0.74, 0.32, 0.26, 0.2, tilt=-0.6),
        _ellipse(0.32, 0.7, 0.19, 0.17, tilt=-0.5, tone="dark"),
        _ellipse(0.68, 0.7, 0.19, 0.17, tilt=0.5, tone="dark"),
        _ellipse(0.5, 0.52, 0.05, 0.34, tone="ink"),
    ],
    "cup": [
        _ellipse(0.8, 0.52, 0.19),
        _ellipse(0.8, 0.52, 0.11, tone="hole"),
        _polygon((0.08, 0.16), (0.8, 0.16), (0.72, 0.92), (0.16, 0.92)),
        _ellipse(0.44, 0.16, 0.36, 0.08, tone="dark"),
    ],
}


def sprite(shape: str, colour: Rgb, size_px: int, *, turn_degrees: float = 0.0) -> Image.Image:
    """One thing on a transparent square, smooth edges."""
    canvas = Image.new("RGBA", (2 * size_px, 2 * size_px), (*colour, 0))
    pen = ImageDraw.Draw(canvas)
    tones: dict[str, tuple[int, ...]] = {
        "main": colour,
        "dark": _mix(colour, (0, 0, 0), 0.3),
        "light": _mix(colour, (255, 255, 255), 0.3),
        "ink": (20, 20, 22),
        "paper": (250, 250, 245),
        "hole": (*colour, 0),
    }
    cos, sin = math.cos(math.radians(turn_degrees)), math.sin(math.radians(turn_degrees))
    turn = np.array([[cos, sin], [-sin, cos]])
    for outline, tone in SHAPES[shape]:
        points = ((outline - 0.5) @ turn * 0.9 + 0.5) * (2 * size_px)
        pen.polygon(list(map(tuple, points.tolist())), fill=tones[tone])
    return canvas.reduce(2)


def _mix(colour: Rgb, other: Rgb, share: float) -> Rgb:
    red, green, blue = (round(c * (1 - share) + o * share) for c, o in zip(colour, other, strict=True))
    return red, green, blue
