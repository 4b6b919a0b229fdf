"""Turn fetched bytes into the image that is stored: checked, upright, resized and encoded as img2dataset does it."""

import contextlib
import hashlib
import io
import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal

from PIL import Image, ImageFile, UnidentifiedImageError
from pydantic import BaseModel, ConfigDict, Field, model_validator

from curate.pictures.colour_profile import is_srgb
from curate.pictures.cut_files import is_cut
from curate.pictures.decoded import decode
from curate.pictures.picture_file import (
    MAX_WORKING_BYTES,
    TooCostly,
    check_cost,
    check_decoding,
    header_orientation,
    opened,
    size_of,
)

STATUS = {
    "success": "stored",
    "not_an_image": "no image format that is read here",
    "truncated": "the file ends before its image does",
    "too_many_pixels": "the header declares more than max_image_pixels; not decoded",
    "too_large_to_decode": "decoding and resizing would take more memory than max_working_bytes; not decoded",
    "too_many_parts": "a JPEG, PNG or GIF of more segments, chunks or blocks than any program writes; not decoded",
    "too_many_scans": "a JPEG of so many scans that decoding takes minutes; not decoded",
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
_INTERPOLATION = Literal["nearest", "linear", "bilinear", "cubic", "bicubic", "area", "lanczos", "lanczos4"]
#: Bytes a pixel, at most, beside what decoding takes: of the original as cv2 reads it, of one that is resized and
#: padded, and of one while it is encoded.
_ORIGINAL, _RESIZED, _ENCODED = 7, 6, {"jpg": 5, "png": 5, "webp": 21}


class ResizeOptions(BaseModel):
    """How an image is stored: img2dataset's names and defaults, and limits against decompression bombs.

    convert_to_srgb: colours of an embedded ICC profile are converted, so that the stored file, which carries no
        profile, shows what the original shows. img2dataset does not; false keeps the numbers.
    skip_reencode: keep the bytes of a file that is neither resized nor in need of conversion.
    disable_all_reencoding: keep every file's bytes; the limits on size, area and aspect do not apply, and EXIF and
        profiles are left to the reader. Scores see the pixels upright and in sRGB all the same.
    max_image_pixels: Pillow's, a quarter of a GB of RGB. WebP, TIFF, GIF and ICO of more than twice that are refused by
        Pillow whatever is said here.
    max_working_bytes: memory that decoding, resizing and encoding one image may take, judged by its header.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_inf_nan="strings")

    image_size: int = Field(default=256, gt=0)
    resize_mode: Literal["no", "border", "keep_ratio", "keep_ratio_largest", "center_crop"] = "border"
    resize_only_if_bigger: bool = False
    upscale_interpolation: _INTERPOLATION = "lanczos"
    downscale_interpolation: _INTERPOLATION = "area"
    encode_quality: int = Field(default=95, ge=0, le=100)
    encode_format: Literal["jpg", "png", "webp"] = "jpg"
    skip_reencode: bool = False
    disable_all_reencoding: bool = False
    convert_to_srgb: bool = True
    min_image_size: int = Field(default=0, ge=0)
    max_image_area: float = Field(default=float("inf"), gt=0)
    max_aspect_ratio: float = Field(default=float("inf"), ge=1)
    max_image_pixels: int = Field(default=89_478_485, gt=0)
    max_working_bytes: int = Field(default=MAX_WORKING_BYTES, gt=0)

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
    stored pixels were turned upright; never so with disable_all_reencoding, which leaves that to the reader. changes:
    what else was done beside resizing, in words; the turn is among them.
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
    changes: tuple[str, ...] = ()


class Resize:
    """Call it on a body to get a Stored. Never raises; safe to call from several threads.

    >>> Resize(ResizeOptions())(b"<html>").status
    'not_an_image'
    """

    def __init__(self, options: ResizeOptions) -> None:
        self.options = options
        self._resizer: Callable[[io.BytesIO], Any] | None = None

    def __call__(self, body: bytes) -> Stored:
        facts: dict[str, Any] = {"sha256": hashlib.sha256(body).hexdigest()}
        try:
            return Stored("success", **self._store(body, facts), **facts)
        except (_Stop, TooCostly) as stop:
            return Stored(stop.status, str(stop), **facts)
        except Image.DecompressionBombError as problem:
            return Stored("too_many_pixels", _message(problem), **facts)
        except Exception as problem:  # noqa: BLE001 - whatever a file does to a decoder is its status
            return Stored("resize_error", _message(problem), **facts)

    def _store(self, body: bytes, facts: dict[str, Any]) -> dict[str, Any]:
        """The stored body with its sizes; what is learned on the way goes into `facts`, which a failure keeps."""
        with _open(body, self.options.max_working_bytes) as image:
            size = size_of(image, body)
            facts.update(format=size.format, original_width=size.upright[0], original_height=size.upright[1])
            self._check_size(image, body)
            if is_cut(body):
                raise _Stop("truncated", f"no end of the image in {len(body)} bytes")
            if self.options.disable_all_reencoding:
                _check_decodes(image, body)
                return {"body": body, "width": size.width, "height": size.height}
            orientation, plain = header_orientation(image, body), self._cv2_reads(image, body)
            facts["changes"] = self._changes(image, orientation)
        if plain and orientation == 1:
            with contextlib.suppress(_Undecodable):
                return self._resized(body)
        facts["exif_transposed"] = orientation > 1
        return self._resized(self._rewritten(body))

    def _changes(self, image: ImageFile.ImageFile, orientation: int) -> tuple[str, ...]:
        """What becomes of an image that no one would expect of resizing."""
        done = {
            "turned upright, as their EXIF says": orientation > 1,
            "of another ICC profile, converted to sRGB": self.options.convert_to_srgb
            and not is_srgb(image.info.get("icc_profile")),
            "with transparency, laid on white": image.has_transparency_data,
            "animated, of which the first frame is stored": getattr(image, "is_animated", False)
            and image.format != "MPO",
        }
        return tuple(change for change, is_so in done.items() if is_so)

    def _check_size(self, image: ImageFile.ImageFile, body: bytes) -> None:
        width, height = image.size
        if width * height > self.options.max_image_pixels:
            raise _Stop("too_many_pixels", f"{width} x {height}, at most {self.options.max_image_pixels} pixels")
        check_decoding(image, body, self.options.max_working_bytes)
        if not self.options.disable_all_reencoding:
            stored_width, stored_height = self._stored_size(width, height)
            result = _ENCODED[self.options.encode_format] + (0 if self.options.resize_mode == "no" else _RESIZED)
            share = stored_width * stored_height / max(1, width * height)
            check_cost(width, height, _ORIGINAL + share * result, self.options.max_working_bytes)

    def _stored_size(self, width: int, height: int) -> tuple[int, int]:
        """About: what resizing makes of an image before any of it is cut off."""
        side, mode = self.options.image_size, self.options.resize_mode
        by_longer = mode in ("border", "keep_ratio_largest")
        scale = side / max(1, max(width, height) if by_longer else min(width, height))
        if mode == "no" or (self.options.resize_only_if_bigger and scale >= 1):
            return width, height
        if mode == "border":
            return side, side
        return round(width * scale), round(height * scale)

    def _resized(self, body: bytes) -> dict[str, Any]:
        """What img2dataset's Resizer makes of a file that cv2 reads."""
        if self._resizer is None:
            ours = {"max_image_pixels", "max_working_bytes", "convert_to_srgb"}
            self._resizer = _resizer_class()(**self.options.model_dump(exclude=ours))
        stored, width, height, _, _, error = self._resizer(io.BytesIO(body))
        if error == "Image decoding error":
            raise _Undecodable("resize_error", error)
        if error is not None:
            raise _Stop(_RESIZER_MESSAGES.get(error, "resize_error"), error[:300])
        if not stored:
            raise _Stop("resize_error", f"no bytes came of encoding {width} x {height} pixels")
        return {"body": stored, "width": width, "height": height}

    def _cv2_reads(self, image: ImageFile.ImageFile, body: bytes) -> bool:
        """Whether cv2 gets the pixels that `decode` gets. It clips 16 bits to white, takes CMYK, GIF and alpha its own
        way, and ignores profiles."""
        if getattr(image, "is_animated", False) and image.format != "MPO":
            return False
        if image.has_transparency_data or (self.options.convert_to_srgb and not is_srgb(image.info.get("icc_profile"))):
            return False
        if image.format in ("JPEG", "MPO"):
            return image.mode in ("L", "RGB")
        if image.format == "PNG":
            return image.mode in ("L", "RGB") and body[24] == 8  # byte 24 of a PNG: bits per sample
        return image.format == "WEBP" and image.mode == "RGB"

    def _rewritten(self, body: bytes) -> bytes:
        """The pixels of `decode` in a format that cv2 reads without surprises, lossless and uncompressed. Resizer never
        takes it for a file to be kept under skip_reencode."""
        try:
            decoded = decode(
                body,
                convert_to_srgb=self.options.convert_to_srgb,
                max_working_bytes=self.options.max_working_bytes,
            )
        except OSError as problem:
            raise _unreadable(problem) from None
        height, width = decoded.pixels.shape[:2]
        return b"".join((b"P6 %d %d 255\n" % (width, height), decoded.pixels.data))


class _Stop(Exception):
    def __init__(self, status: str, error: str) -> None:
        super().__init__(error)
        self.status = status


class _Undecodable(_Stop):
    """cv2 cannot read a file; Pillow may."""


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


def _open(body: bytes, max_working_bytes: int) -> ImageFile.ImageFile:
    """Only the header is read."""
    try:
        return opened(body, max_working_bytes)
    except TooCostly:
        raise
    except Image.DecompressionBombError as problem:
        raise _Stop("too_many_pixels", str(problem)) from None
    except UnidentifiedImageError as problem:
        raise _Stop("truncated" if is_cut(body) else "not_an_image", str(problem)) from None
    except Exception as problem:  # noqa: BLE001 - a header that claims a format and breaks its rules
        raise _Stop("truncated" if is_cut(body) else "not_an_image", _message(problem)) from None


def _check_decodes(image: ImageFile.ImageFile, body: bytes) -> None:
    """Read the whole file where its pixels are not needed; a JPEG at an eighth of its size, which is faster."""
    if image.format == "JPEG":
        image.draft(image.mode, (max(1, image.width // 8), max(1, image.height // 8)))
    with contextlib.suppress(Exception):
        image.load()
        return
    try:
        decode(body)  # it forgives what Pillow does not
    except OSError as problem:
        raise _unreadable(problem) from None


def _unreadable(problem: OSError) -> _Stop:
    cut = any(word in str(problem).lower() for word in ("truncated", "unexpected end"))
    return _Stop("truncated" if cut else "resize_error", _message(problem))


def _message(problem: Exception) -> str:
    return f"{type(problem).__name__}: {problem}"[:300].encode("utf-8", "replace").decode()
