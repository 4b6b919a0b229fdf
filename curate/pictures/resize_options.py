"""How an image is stored, and the words for what became of it."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from curate.pictures.picture_file import MAX_WORKING_BYTES

STATUS = {
    "success": "stored",
    "not_an_image": "no image format that is read here",
    "truncated": "the file ends before its image does",
    "too_many_pixels": "the header declares more than max_image_pixels; not decoded",
    "too_large_to_decode": "decoding and resizing would take more memory than max_working_bytes; not decoded",
    "too_many_parts": "a JPEG, PNG or GIF of more segments, chunks or blocks than any program writes; not decoded",
    "too_many_scans": "a JPEG of so many scans that decoding takes minutes; not decoded",
    "decode_timeout": "decoding took more than 8 seconds of the processor",
    "decoder_died": "the process that decoded it ended twice: a crash, or memory that there was not",
    "too_small": "the shorter side is below min_image_size",
    "bad_aspect": "longer / shorter side is above max_aspect_ratio",
    "too_large_area": "width x height is above max_image_area",
    "resize_error": "decoding, resizing or encoding failed; the message says why",
}
Interpolation = Literal["nearest", "linear", "bilinear", "cubic", "bicubic", "area", "lanczos", "lanczos4"]


class ResizeOptions(BaseModel):
    """How an image is stored: img2dataset's names and defaults, and limits against decompression bombs.

    convert_to_srgb: colours of an embedded ICC profile are converted, so that the stored file, which carries no
        profile, shows what the original shows. img2dataset does not; false keeps the numbers.
    skip_reencode: keep the bytes of a file that is neither resized nor in need of conversion.
    disable_all_reencoding: keep every file's bytes; the limits on size, area and aspect do not apply, and EXIF and
        profiles are left to the reader. Scores see the pixels upright and in sRGB all the same.
    scaled_decode: JPEGs much larger than what is stored are decoded at 1/2, 1/4 or 1/8 of their sides, never below 1.4
        times the stored size, and resized from there: faster, with other pixels. Off: the pixels are exact.
    max_image_pixels: Pillow's, a quarter of a GB of RGB. WebP, TIFF, GIF and ICO of more than twice that are refused by
        Pillow whatever is said here.
    max_working_bytes: memory that decoding, resizing and encoding one image may take, judged by its header.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_inf_nan="strings")

    image_size: int = Field(default=256, gt=0)
    resize_mode: Literal["no", "border", "keep_ratio", "keep_ratio_largest", "center_crop"] = "border"
    resize_only_if_bigger: bool = False
    upscale_interpolation: Interpolation = "lanczos"
    downscale_interpolation: Interpolation = "area"
    encode_quality: int = Field(default=95, ge=0, le=100)
    encode_format: Literal["jpg", "png", "webp"] = "jpg"
    skip_reencode: bool = False
    disable_all_reencoding: bool = False
    convert_to_srgb: bool = True
    scaled_decode: bool = False
    min_image_size: int = Field(default=0, ge=0)
    max_image_area: float = Field(default=float("inf"), gt=0)
    max_aspect_ratio: float = Field(default=float("inf"), ge=1)
    max_image_pixels: int = Field(default=89_478_485, gt=0)
    max_working_bytes: int = Field(default=MAX_WORKING_BYTES, gt=0)

    @property
    def decisive(self) -> dict[str, Any]:
        """What decides the stored bytes: an option that came later counts only where it is not as it always was."""
        later = set() if self.scaled_decode else {"scaled_decode"}
        return self.model_dump(mode="json", include=set(ResizeOptions.model_fields) - later)

    @model_validator(mode="after")
    def _png_quality_is_compression(self) -> ResizeOptions:
        if self.encode_format == "png" and self.encode_quality > 9:
            raise ValueError(f"for png, encode_quality is the compression, 0 to 9; got {self.encode_quality}, try 6")
        return self
