"""Which files are decoded in a process of their own, told by their bytes alone."""

from __future__ import annotations

import struct

import pytest
from picture_files import encoded, files, p3_profile, scene, see_through
from PIL import Image

from curate.pictures.cut_files import gif_frame
from curate.pictures.doubtful import doubt
from curate.pictures.jpeg_marks import jpeg_head
from curate.pictures.picture_file import claimed_format

ALL = {name: data for name, data, _, _ in files()}
#: Kinds of files that are decoded where they are wanted.
HERE = ("JPEG", "PNG", "GIF", "WEBP", "MPO")


@pytest.mark.parametrize("name", ALL)
def test_usual_formats_are_decoded_here_and_the_others_apart(name: str) -> None:
    assert (doubt(ALL[name]) == "") == any(kind in name.replace("JPEG2000", "") for kind in HERE)


@pytest.mark.parametrize("name", [name for name in ALL if "GIF" not in name])
def test_a_file_without_its_end_is_doubtful(name: str) -> None:
    assert doubt(ALL[name][: len(ALL[name]) // 2])


@pytest.mark.parametrize("data", [b"", b"<!DOCTYPE html><html>", b"{}", b"\0" * 99, b"RIFF1234WAVE", b"%!PS-Adobe-3.0"])
def test_what_is_no_picture_needs_no_process(data: bytes) -> None:
    assert doubt(data) == claimed_format(data) == ""


def test_a_large_jpeg_by_its_header_alone() -> None:
    small = encoded(scene(), "JPEG")
    frame = small.index(b"\xff\xc0")

    def of(width: int, height: int, data: bytes = small) -> bytes:
        return data[: frame + 5] + struct.pack(">HH", height, width) + data[frame + 9 :]

    assert doubt(of(5000, 5000)) == "" and doubt(of(5001, 5000)) == "large"
    profiled = encoded(scene(), "JPEG", icc_profile=p3_profile())
    frame = profiled.index(b"\xff\xc0")
    assert doubt(of(3700, 3700, profiled)) == "" and doubt(of(3800, 3700, profiled)) == "large", "it is converted"


def test_a_large_png_by_its_header_alone() -> None:
    for image, most in ((scene(), 25_000_000), (see_through(), 13_700_000), (scene().quantize(8), 13_700_000)):
        small = encoded(image, "PNG")
        for area, expected in ((most, ""), (int(most * 1.02), "large")):
            assert doubt(small[:16] + struct.pack(">II", area // 1000, 1000) + small[24:]) == expected


def test_many_scans_of_a_progressive_jpeg() -> None:
    whole = encoded(Image.new("L", (1024, 1024), 77), "JPEG", progressive=True)
    last = whole.rindex(b"\xff\xda")
    more = whole[:-2] + whole[last:-2] * 300 + b"\xff\xd9"
    assert doubt(whole) == "" and doubt(more) == "many scans"


@pytest.mark.parametrize(("mark", "bits"), [(0xC9, 8), (0xCA, 8), (0xC3, 8), (0xC1, 12), (0xC5, 8)])
def test_rare_kinds_of_jpegs(mark: int, bits: int) -> None:
    whole = bytearray(encoded(scene(), "JPEG"))
    frame = whole.index(b"\xff\xc0")
    assert not jpeg_head(bytes(whole)).is_rare
    whole[frame + 1], whole[frame + 4] = mark, bits
    assert jpeg_head(bytes(whole)).is_rare and doubt(bytes(whole)) == "a rare kind of JPEG"


def test_an_animated_webp() -> None:
    whole = encoded(scene(), "WEBP", save_all=True, append_images=[scene().rotate(180)], duration=50)
    assert doubt(whole) == "animated"
    assert doubt(encoded(see_through(), "WEBP", lossless=True)) == "", "an extended header alone is not"


def test_a_gif_whose_frame_is_larger_than_its_screen() -> None:
    whole = ALL["P GIF"]
    assert gif_frame(whole) == scene().size
    at = whole.index(b",", 13 + (3 << (whole[10] & 7) + 1))
    large = whole[: at + 5] + struct.pack("<HH", 60_000, 60_000) + whole[at + 9 :]
    assert gif_frame(large) == (60_000, 60_000) and doubt(large) == "large"
    assert gif_frame(whole[:20]) == (0, 0)
    assert doubt(whole + bytes(10_000_000)) == "many parts"
