"""Makes the rows of a demo pool, one function per kind of trouble."""

from __future__ import annotations

import io
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from PIL import Image, ImageDraw, ImageEnhance, ImageFont

from curate.demo import captions, scenes
from curate.demo.lookalikes import Lookalikes
from curate.demo.scenes import Background, Scene


@dataclass(frozen=True)
class Row:
    """One row of the truth; rows with the same `group` (the original's url) show the same picture."""

    url: str | None
    text: str | None
    kind: str
    group: str | None = None


@dataclass(frozen=True)
class Original:
    """A good row of which copies are made."""

    row: Row
    scene: Scene
    data: bytes
    suffix: str


@dataclass
class Workshop:
    """Where rows are made: one stream of randomness, one folder of files, one address they are served at."""

    folder: Path
    base_url: str
    rng: random.Random
    _names: set[str] = field(default_factory=set)
    _lookalikes: Lookalikes = field(default_factory=Lookalikes)

    def draw(self) -> tuple[Image.Image, str, Scene]:
        """A picture unlike all others of the pool, its caption and its scene.

        Hashes that see brightness alone take a red star for a blue one at the same spot. Such a pair would be counted
        against a rule for near copies although nobody planted it, so it is drawn anew.
        """
        for _ in range(100):
            image, caption, scene = scenes.draw(self.rng)
            if self._lookalikes.accepts(image):
                break
        return image, caption, scene

    def url(self, behaviour: str, suffix: str, data: bytes | None = None) -> str:
        """A fresh url that tells nothing about the row's kind but what the server must know; stores `data` for it."""
        name = f"{self.rng.getrandbits(40):010x}{suffix}"
        while name in self._names:
            name = f"{self.rng.getrandbits(40):010x}{suffix}"
        self._names.add(name)
        if data is not None:
            path = self.folder / "files" / name[:2] / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
        return f"{self.base_url}/{behaviour}/{name[:2]}/{name}"

    def encoded(self, image: Image.Image) -> tuple[bytes, str]:
        suffix = self.rng.choices([".jpg", ".png", ".webp"], [70, 15, 15])[0]
        return encode(image, suffix, quality=self.rng.randint(75, 95)), suffix

    def caption(self) -> str:
        """A caption for a picture that nobody will see."""
        return captions.english(scenes.sample(self.rng), self.rng)


def encode(image: Image.Image, suffix: str, *, quality: int) -> bytes:
    out = io.BytesIO()
    if suffix == ".png":
        image.save(out, "PNG", compress_level=1)
    elif suffix == ".webp":
        image.save(out, "WEBP", quality=quality, method=0)
    else:
        image.save(out, "JPEG", quality=quality)
    return out.getvalue()


def original(shop: Workshop) -> Original:
    image, caption, scene = shop.draw()
    data, suffix = shop.encoded(image)
    url = shop.url("ok", suffix, data)
    return Original(Row(url, caption, "good", url), scene, data, suffix)


def exact_duplicate(shop: Workshop, source: Original) -> Row:
    text = source.row.text if shop.rng.random() < 0.5 else captions.english(source.scene, shop.rng)
    return Row(shop.url("ok", source.suffix, source.data), text, "exact_duplicate", source.row.group)


def same_url(shop: Workshop, source: Original) -> Row:
    return Row(source.row.url, source.row.text, "same_url", source.row.group)


def near_duplicate(shop: Workshop, source: Original) -> Row:
    rng = shop.rng
    image = Image.open(io.BytesIO(source.data)).convert("RGB")
    # Never below 208 px, so that a rule on size does not hide what the rule on copies does.
    scale = max(rng.uniform(0.6, 1.0), 208 / min(image.size))
    if scale < 0.97:
        image = image.resize((round(image.width * scale), round(image.height * scale)), Image.Resampling.LANCZOS)
    if rng.random() < 0.6:
        image = ImageEnhance.Brightness(image).enhance(rng.uniform(1.03, 1.12))
    suffix = rng.choice([".jpg", ".webp"])
    data = encode(image, suffix, quality=rng.randint(45, 70))
    text = source.row.text if rng.random() < 0.4 else captions.english(source.scene, rng)
    return Row(shop.url("ok", suffix, data), text, "near_duplicate", source.row.group)


COPIES: dict[str, Callable[[Workshop, Original], Row]] = {
    "exact_duplicate": exact_duplicate,
    "same_url": same_url,
    "near_duplicate": near_duplicate,
}


def picture(shop: Workshop, kind: str, number: int) -> Row:
    """A row with a sound pair behind it; only the way the server answers differs."""
    image, caption, _ = shop.draw()
    data, suffix = shop.encoded(image)
    return Row(shop.url(_BEHAVIOURS[kind], suffix, data), caption, kind)


def swapped_caption(shop: Workshop, kind: str, number: int) -> Row:
    image, _, scene = shop.draw()
    data, suffix = shop.encoded(image)
    other = scenes.sample(shop.rng, unlike=scene)
    return Row(shop.url("ok", suffix, data), captions.english(other, shop.rng), kind)


def odd_size(shop: Workshop, kind: str, number: int) -> Row:
    rng = shop.rng
    if kind == "tiny":
        size = (rng.randint(8, 60), rng.randint(8, 60))
    else:
        size = (rng.randint(900, 1400), rng.randint(60, 110))
        size = size if rng.random() < 0.7 else (size[1], size[0])
    image, caption, _ = scenes.draw(rng, size_px=size)
    data, suffix = shop.encoded(image)
    return Row(shop.url("ok", suffix, data), caption, kind)


def boilerplate(shop: Workshop, kind: str, number: int) -> Row:
    image, _, _ = shop.draw()
    data, suffix = shop.encoded(image)
    serial = shop.rng.randint(1000, 9999)
    empty_talk = ["click to enlarge", f"IMG_{serial}.jpg", "image", "", None, f"DSC0{serial}", "untitled", "photo"]
    return Row(shop.url("ok", suffix, data), empty_talk[number % len(empty_talk)], kind)


def not_english(shop: Workshop, kind: str, number: int) -> Row:
    image, _, scene = shop.draw()
    data, suffix = shop.encoded(image)
    text = captions.foreign(scene, captions.LANGUAGES[number % len(captions.LANGUAGES)])
    return Row(shop.url("ok", suffix, data), text, kind)


_PARROT_WORDS = [
    ["Grand opening", "Fresh bread", "Summer sale", "Live music", "Free coffee", "Open house", "Garden party"],
    ["this Saturday", "every morning", "all weekend", "from nine to five", "until the end of May", "next Friday"],
    ["at the old mill", "for members only", "with our best wishes", "behind the station", "in the market hall", ""],
]


def parrot(shop: Workshop, kind: str, number: int) -> Row:
    rng = shop.rng
    text = " ".join(rng.choice(words) for words in _PARROT_WORDS).strip()
    dark = rng.random() < 0.5
    behind = rng.sample(["blue", "purple", "black", "brown"] if dark else ["white", "yellow", "pink"], 2)
    pattern = rng.choices(["plain", "gradient", "rough"], [60, 25, 15])[0]
    width, height = scenes.sample_size(rng)
    image = scenes.backdrop(Background(pattern, *behind), rng, width, height)
    written(image, text, (250, 250, 250) if dark else (15, 15, 20))
    data, suffix = shop.encoded(image)
    return Row(shop.url("ok", suffix, data), text, kind)


def written(image: Image.Image, text: str, ink: tuple[int, int, int]) -> None:
    """Writes the words over the middle of the image, as large as they fit."""
    pen = ImageDraw.Draw(image)
    words = text.split()
    for size in range(min(image.size) // 4, 7, -2):
        font = ImageFont.load_default(size)
        lines = [words[0]]
        for word in words[1:]:
            longer = f"{lines[-1]} {word}"
            if font.getlength(longer) <= image.width * 0.9:
                lines[-1] = longer
            else:
                lines.append(word)
        block = "\n".join(lines)
        left, top, right, bottom = pen.multiline_textbbox((0, 0), block, font=font, align="center")
        if right - left <= image.width * 0.92 and bottom - top <= image.height * 0.85:
            corner = ((image.width - right - left) / 2, (image.height - bottom - top) / 2)
            pen.multiline_text(corner, block, font=font, fill=ink, align="center")
            return


def unserved(shop: Workshop, kind: str, number: int) -> Row:
    """Rows whose url needs no file: the server makes up the answer, or there is no server."""
    answers = _UNSERVED[kind]
    return Row(shop.url(answers[number % len(answers)], ".jpg"), shop.caption(), kind)


def refused(shop: Workshop, kind: str, number: int) -> Row:
    # Port 1 (tcpmux, 1988) is free on any machine of today.
    path = urlsplit(shop.url("ok", ".jpg")).path
    return Row(f"http://{urlsplit(shop.base_url).hostname}:1{path}", shop.caption(), kind)


def bad_url(shop: Workshop, kind: str, number: int) -> Row:
    urls = ["ftp://127.0.0.1/picture.jpg", "not a url", "file:///etc/hostname", "", None, "http://", "//picture.jpg"]
    return Row(urls[number % len(urls)], shop.caption(), kind)


_BEHAVIOURS = {
    "good": "ok",
    "redirect_ok": "redirect",
    "noai": "noai",
    "slow_link": "slow",
    "truncated": "truncated",
    "cut_connection": "cut",
}
_UNSERVED = {
    "dead_link": ["404"],
    "gone": ["410"],
    "server_error": ["500"],
    "wrong_type": ["html", "html-as-jpeg"],
    "too_large": ["large", "large-declared"],
    "empty_body": ["empty"],
    "redirect_private": ["redirect-metadata", "redirect-file"],
}
MAKERS: dict[str, Callable[[Workshop, str, int], Row]] = {
    **dict.fromkeys(_BEHAVIOURS, picture),
    **dict.fromkeys(_UNSERVED, unserved),
    "swapped_caption": swapped_caption,
    "parrot": parrot,
    "tiny": odd_size,
    "extreme_aspect": odd_size,
    "boilerplate": boilerplate,
    "not_english": not_english,
    "bad_url": bad_url,
    "refused": refused,
}
