"""Turn fetched bytes into the image that is stored: checked, upright, resized and encoded as img2dataset does it."""

from __future__ import annotations

import contextlib
import hashlib
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image, ImageFile, UnidentifiedImageError

from curate.pictures.colour_profile import is_srgb
from curate.pictures.cut_files import is_cut
from curate.pictures.decoded import decode
from curate.pictures.decoders import decoders
from curate.pictures.doubtful import LARGE, doubt
from curate.pictures.fitting import BY_LONGER_SIDE, encoded, fitted, is_encoded
from curate.pictures.jpeg_marks import is_jpeg
from curate.pictures.picture_file import (
    TooCostly,
    check_cost,
    check_decoding,
    header_orientation,
    no_memory,
    opened,
    size_of,
)
from curate.pictures.resize_options import ResizeOptions
from curate.pictures.scaled_decode import divisor, plain_jpeg, upright_jpeg

#: Bytes a pixel, at most, beside what decoding takes: of the original as cv2 reads it, of one that is resized and
#: padded, and of one while it is encoded.
_ORIGINAL, _RESIZED, _ENCODED = 7, 6, {"jpg": 5, "png": 5, "webp": 21}


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

    def __call__(self, body: bytes, *, careful: bool = False) -> Stored:
        """careful: in a process of its own, after something in its shard killed a worker."""
        reason = doubt(body)
        if not reason and not careful:
            return self.here(body)
        asked = self.options.model_dump(mode="json")
        answer, stored = decoders().ask("resize", body, asked, self.options.max_working_bytes, reason == LARGE)
        # Of a process that died nothing is known but that.
        facts = {"sha256": hashlib.sha256(body).hexdigest(), **answer}
        facts.pop("bytes", None)
        return Stored(**{**facts, "changes": tuple(facts.get("changes", ()))}, body=stored)

    def here(self, body: bytes) -> Stored:
        """In this process."""
        facts: dict[str, Any] = {"sha256": hashlib.sha256(body).hexdigest()}
        try:
            return Stored("success", **self._store(body, facts), **facts)
        except (_Stop, TooCostly) as stop:
            return Stored(stop.status, str(stop), **facts)
        except Image.DecompressionBombError as problem:
            return Stored("too_many_pixels", _message(problem), **facts)
        except Exception as problem:  # noqa: BLE001 - whatever a file does to a decoder is its status
            if no_memory(problem):
                return Stored("too_large_to_decode", _message(problem), **facts)
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
            mode, (width, height) = image.mode, image.size
            part = divisor(width, height, self.options) if is_jpeg(body) else 1
            whole = None if part == 1 else size.upright
        if plain and orientation == 1:
            pixels = plain_jpeg(body, mode, width, height, part) if is_jpeg(body) else None
            pixels = _by_cv2(body) if pixels is None else pixels
            if pixels is not None:
                return self._resized(pixels, whole, body)
        facts["exif_transposed"] = orientation > 1
        return self._resized(self._upright(body, part), whole)

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
        by_longer = mode in BY_LONGER_SIDE
        scale = side / max(1, max(width, height) if by_longer else min(width, height))
        if mode == "no" or (self.options.resize_only_if_bigger and scale >= 1):
            return width, height
        if mode == "border":
            return side, side
        return round(width * scale), round(height * scale)

    def _resized(
        self, pixels: np.ndarray, whole: tuple[int, int] | None, original: bytes | None = None
    ) -> dict[str, Any]:
        """pixels: BGR or grey. whole: (width, height) of what `pixels` are a smaller copy of. original: the file, where
        it may be kept."""
        width, height = size = whole or (pixels.shape[1], pixels.shape[0])
        self._check_limits(width, height)
        try:
            stored = fitted(pixels, self.options, size)
            is_kept = original is not None and self.options.skip_reencode and stored is pixels
            if original is not None and is_kept and is_encoded(original, self.options):
                return {"body": original, "width": width, "height": height}
            body = encoded(stored, self.options)
        except Exception as problem:  # noqa: BLE001 - sides or memory that OpenCV has no room for
            raise _Stop("resize_error", str(problem)[:300]) from None
        height, width = stored.shape[:2]
        if not body:
            raise _Stop("resize_error", f"no bytes came of encoding {width} x {height} pixels")
        return {"body": body, "width": width, "height": height}

    def _check_limits(self, width: int, height: int) -> None:
        if min(width, height) < self.options.min_image_size:
            raise _Stop("too_small", "image too small")
        if width * height > self.options.max_image_area:
            raise _Stop("too_large_area", "image area too large")
        if max(width, height) / min(width, height) > self.options.max_aspect_ratio:
            raise _Stop("bad_aspect", "aspect ratio too large")

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

    def _upright(self, body: bytes, part: int) -> np.ndarray:
        """The pixels of `decode`, BGR; or those of a part of a JPEG's size."""
        if part > 1:
            with contextlib.suppress(Exception):  # damage, which `decode` forgives
                return np.ascontiguousarray(np.asarray(upright_jpeg(body, part, self.options))[..., ::-1])
        try:
            image = decode(
                body,
                convert_to_srgb=self.options.convert_to_srgb,
                max_working_bytes=self.options.max_working_bytes,
            )
        except OSError as problem:
            raise _unreadable(problem) from None
        return np.ascontiguousarray(image.pixels[..., ::-1])


class _Stop(Exception):
    def __init__(self, status: str, error: str) -> None:
        super().__init__(error)
        self.status = status


def _by_cv2(body: bytes) -> np.ndarray | None:
    """BGR or grey pixels; None for a file that cv2 cannot read: Pillow may."""
    import cv2

    cv2.setNumThreads(1)
    try:
        pixels: Any = cv2.imdecode(np.frombuffer(body, np.uint8), cv2.IMREAD_UNCHANGED)
    except cv2.error as problem:
        raise _Stop("resize_error", str(problem)[:300]) from None
    return pixels  # type: ignore[no-any-return]


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
