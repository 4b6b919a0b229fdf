"""Turn fetched bytes into the image that is stored: checked, upright, resized and encoded as img2dataset does it."""

import contextlib
import hashlib
import io
import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError
from pydantic import BaseModel, ConfigDict, Field, model_validator

STATUS = {
    "success": "stored",
    "not_an_image": "no image format that is read here",
    "truncated": "the file ends before its image does",
    "too_many_pixels": "the header declares more than max_image_pixels; not decoded",
    "too_small": "the shorter side is below min_image_size",
    "bad_aspect": "longer / shorter side is above max_aspect_ratio",
    "too_large_area": "width x height is above max_image_area",
    "resize_error": "decoding, resizing or encoding failed; the message says why",
}
_RESIZER_MESSAGES = {
    "image too small": "too_small",
    "aspect ratio too large": "bad_aspect",
    "image area too large": "too_large_area",
}
# A list, since Pillow's others include EPS, which runs Ghostscript on what a stranger wrote.
_FORMATS = ("JPEG", "PNG", "GIF", "WEBP", "BMP", "TIFF", "ICO", "AVIF", "JPEG2000", "PPM")
_INTERPOLATION = Literal["nearest", "linear", "bilinear", "cubic", "bicubic", "area", "lanczos", "lanczos4"]
_ORIENTATION = 0x0112


class ResizeOptions(BaseModel):
    """How an image is stored: img2dataset's names and defaults, and a limit against decompression bombs."""

    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_inf_nan="strings")

    image_size: int = Field(default=256, gt=0)
    resize_mode: Literal["no", "border", "keep_ratio", "keep_ratio_largest", "center_crop"] = "border"
    resize_only_if_bigger: bool = False
    upscale_interpolation: _INTERPOLATION = "lanczos"
    downscale_interpolation: _INTERPOLATION = "area"
    encode_quality: int = Field(default=95, ge=0, le=100)
    encode_format: Literal["jpg", "png", "webp"] = "jpg"
    skip_reencode: bool = False  # keep the bytes of a file that is neither resized nor in need of conversion
    disable_all_reencoding: bool = False  # keep every file's bytes; the limits on size, area and aspect do not apply
    min_image_size: int = Field(default=0, ge=0)
    max_image_area: float = Field(default=float("inf"), gt=0)
    max_aspect_ratio: float = Field(default=float("inf"), ge=1)
    max_image_pixels: int = Field(default=89_478_485, gt=0)  # Pillow's: a quarter of a GB of RGB

    @model_validator(mode="after")
    def _png_quality_is_compression(self) -> "ResizeOptions":
        if self.encode_format == "png" and self.encode_quality > 9:
            raise ValueError(f"for png, encode_quality is the compression, 0 to 9; got {self.encode_quality}, try 6")
        return self


@dataclass(frozen=True, slots=True)
class Stored:
    """What came of one body. `status` is a word of STATUS; `body`, `width` and `height` are None unless `success`.

    width, height: of the stored file. original_width, original_height: of the upright original, None if its header
    cannot be read. sha256: of the original body. format: of the original ("jpeg", "png", ...). exif_transposed: the
    stored pixels were turned upright; never so with disable_all_reencoding, which leaves that to the reader.
    """

    status: str
    error: str | None = None
    body: bytes | None = None
    width: int | None = None
    height: int | None = None
    original_width: int | None = None
    original_height: int | None = None
    format: str | None = None
    sha256: str | None = None
    exif_transposed: bool = False


class Resize:
    """Call it on a body to get a Stored. Never raises; safe to call from several threads.

    >>> Resize(ResizeOptions())(b"<html>").status
    'not_an_image'
    """

    def __init__(self, options: ResizeOptions) -> None:
        self.options = options
        self._resizer: Callable[[io.BytesIO], Any] | None = None
        # Pillow refuses twice its own limit whatever the caller wants, so a larger limit of ours has to raise it.
        if Image.MAX_IMAGE_PIXELS is not None:
            Image.MAX_IMAGE_PIXELS = max(Image.MAX_IMAGE_PIXELS, options.max_image_pixels)

    def __call__(self, body: bytes) -> Stored:
        facts: dict[str, Any] = {"sha256": hashlib.sha256(body).hexdigest()}
        try:
            return Stored("success", **self._store(body, facts), **facts)
        except _Stop as stop:
            return Stored(stop.status, str(stop), **facts)
        except Exception as problem:  # noqa: BLE001 - whatever a file does to a decoder is its status
            return Stored("resize_error", _message(problem), **facts)

    def _store(self, body: bytes, facts: dict[str, Any]) -> dict[str, Any]:
        """The stored body with its sizes; what is learned on the way goes into `facts`, which a failure keeps."""
        with _open(body) as image:
            orientation = _orientation(image)
            width, height = image.size
            lying = orientation >= 5 and image.format != "TIFF"  # of a TIFF, Pillow gives the upright size
            upright = (height, width) if lying else (width, height)
            facts.update(format=(image.format or "").lower(), original_width=upright[0], original_height=upright[1])
            if width * height > self.options.max_image_pixels:
                raise _Stop("too_many_pixels", f"{width} x {height}, at most {self.options.max_image_pixels} pixels")
            if _is_cut(body):
                raise _Stop("truncated", f"no end of the image in {len(body)} bytes")
            if self.options.disable_all_reencoding:
                _check_decodes(image)
                return {"body": body, "width": width, "height": height}
            if orientation > 1 or not _cv2_reads(image, body):
                body = _rewrite(image)
                facts["exif_transposed"] = orientation > 1
        stored, width, height = self._resize(body)
        return {"body": stored, "width": width, "height": height}

    def _resize(self, body: bytes) -> tuple[bytes, int, int]:
        if self._resizer is None:
            self._resizer = _resizer_class()(**self.options.model_dump(exclude={"max_image_pixels"}))
        stored, width, height, _, _, error = self._resizer(io.BytesIO(body))
        if error is not None:
            raise _Stop(_RESIZER_MESSAGES.get(error, "resize_error"), error[:300])
        if not stored:
            raise _Stop("resize_error", f"no bytes came of encoding {width} x {height} pixels")
        return stored, width, height


class _Stop(Exception):
    def __init__(self, status: str, error: str) -> None:
        super().__init__(error)
        self.status = status


@cache
def _resizer_class() -> Any:
    """img2dataset's Resizer, imported when the first image needs it: 3 s, with wandb and albumentations."""
    os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")  # else it asks the network for its newest version
    os.environ.setdefault("WANDB_MODE", "disabled")
    from img2dataset import resizer

    # Its SuppressStdoutStderr points file descriptors 1 and 2 of the whole process at /dev/null during every image.
    # Meanwhile other threads' log lines are lost and a child process inherits the null device; with two threads in
    # it, the one that leaves last "restores" /dev/null for good. A lock would mend only the last of these. Without
    # it, libpng's and libjpeg's warnings about odd files reach the worker's stderr.
    resizer.SuppressStdoutStderr = contextlib.nullcontext
    return resizer.Resizer


@cache
def _formats() -> tuple[str, ...]:
    """Those of them that this build of Pillow has: it raises KeyError for another."""
    Image.init()
    return tuple(name for name in _FORMATS if name in Image.OPEN)


def _open(body: bytes) -> Image.Image:
    """Only the header is read."""
    formats = _formats()
    try:
        return Image.open(io.BytesIO(body), formats=formats)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as problem:
        raise _Stop("too_many_pixels", str(problem)) from None
    except UnidentifiedImageError:
        what = "empty" if not body else f"starts with {body[:16]!r}"
        raise _Stop("truncated" if _is_cut(body) else "not_an_image", what) from None
    except Exception as problem:  # noqa: BLE001 - a header that claims a format and breaks its rules
        raise _Stop("truncated" if _is_cut(body) else "not_an_image", _message(problem)) from None


def _is_cut(body: bytes) -> bool:
    """Whether the end of the image is missing, by its format's end mark; padding or data after the end is fine."""
    if body.startswith(b"\xff\xd8\xff"):
        start = _scan_start(body)
        return start is None or body.find(b"\xff\xd9", start) < 0
    if body.startswith(b"\x89PNG\r\n\x1a\n"):
        return not _png_ends(body)
    if body.startswith((b"GIF87a", b"GIF89a")):
        return not body.rstrip(b"\0\r\n ").endswith(b";")
    if body.startswith(b"RIFF") and body[8:12] == b"WEBP":
        return len(body) < int.from_bytes(body[4:8], "little") + 8
    return False


def _png_ends(body: bytes) -> bool:
    """Whether the chunks lead to IEND inside the file. cv2 must not see one that does not: it sets aside whatever a
    chunk's length declares, up to 2 GB, before it reads (10 s for a damaged file of 200 bytes).
    """
    at = 8
    while at + 12 <= len(body):
        if body[at + 4 : at + 8] == b"IEND":
            return True
        at += 12 + int.from_bytes(body[at : at + 4], "big")
    return False


def _scan_start(body: bytes) -> int | None:
    """Where a JPEG's image data begin: past the headers, whose thumbnail has an end mark of its own."""
    at = 2
    while at + 4 <= len(body):
        if body[at] != 0xFF:
            return at  # not a marker: damaged headers, the decoder will judge
        if body[at + 1] == 0xFF:  # fill byte
            at += 1
            continue
        if body[at + 1] == 0xDA:
            return at
        at += 2 + int.from_bytes(body[at + 2 : at + 4], "big")
    return None


def _orientation(image: Image.Image) -> int:
    try:
        value = image.getexif().get(_ORIENTATION, 1)
    except Exception:  # noqa: BLE001 - damaged EXIF is no reason to lose the image
        return 1
    return value if value in range(1, 9) else 1


def _cv2_reads(image: Image.Image, body: bytes) -> bool:
    """Whether cv2 gets the right 8-bit pixels of it. It clips 16 bits to white and takes CMYK and GIF its own way."""
    if getattr(image, "is_animated", False) and image.format != "MPO":
        return False
    if "transparency" in image.info:
        return False
    if image.format in ("JPEG", "MPO"):
        return image.mode in ("L", "RGB")
    if image.format == "PNG":
        return image.mode in ("L", "RGB", "RGBA") and body[24] == 8  # byte 24 of a PNG: bits per sample
    return image.format == "WEBP" and image.mode in ("RGB", "RGBA")


def _rewrite(image: Image.Image) -> bytes:
    """The first frame, upright, in 8 bits, in a format that cv2 reads without surprises, lossless and uncompressed.

    Resizer must not take the result for a file to be kept under skip_reencode: it never does PPM or alpha.
    """
    image = ImageOps.exif_transpose(_decoded(image))
    if image.mode.startswith(("I", "F")):
        image = Image.fromarray(_to_8_bits(np.asarray(image)))
    see_through = "transparency" in image.info or image.mode in ("LA", "La", "PA", "RGBA", "RGBa")
    image = image.convert("RGBA" if see_through else "RGB")
    written = io.BytesIO()
    image.info.clear()  # the ICC profile, which cv2 ignores, and anything else that could fail to be written
    image.save(written, "PNG" if see_through else "PPM", compress_level=0)
    return written.getvalue()


def _decoded(image: Image.Image) -> Image.Image:
    try:
        image.load()
    except OSError as problem:
        cut = any(word in str(problem).lower() for word in ("truncated", "unexpected end"))
        raise _Stop("truncated" if cut else "resize_error", _message(problem)) from None
    return image


def _to_8_bits(values: np.ndarray) -> np.ndarray:
    """Grey levels of more than 8 bits: 16-bit ones by their range, others by the smallest usual range holding them."""
    wide = np.nan_to_num(values.astype(np.float64), nan=0.0, posinf=0.0, neginf=0.0)
    highest = wide.max(initial=0)
    white = 65535.0 if values.dtype == np.uint16 else next((w for w in (1.0, 255.0, 65535.0) if highest <= w), highest)
    return np.rint(wide.clip(min=0) * (255 / white)).astype(np.uint8)


def _check_decodes(image: Image.Image) -> None:
    """Read the whole file where its pixels are not needed; a JPEG at an eighth of its size, which is faster."""
    if image.format == "JPEG":
        image.draft(image.mode, (max(1, image.width // 8), max(1, image.height // 8)))
    _decoded(image)


def _message(problem: Exception) -> str:
    return f"{type(problem).__name__}: {problem}"[:300].encode("utf-8", "replace").decode()
