"""What an image would cost is told by its header; what img2dataset takes is taken; what only looks like it is not."""

from __future__ import annotations

import io
import struct
import subprocess
import sys
import time
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from picture_files import encoded, exif, files, p3_profile, scene
from PIL import Image

from curate.pictures.attempt import attempt
from curate.pictures.cut_files import is_cut
from curate.pictures.decoded import decode
from curate.pictures.jpeg_marks import jpeg_head, scans
from curate.pictures.picture_file import TooCostly, opened, picture_size, without_side_chunks
from curate.pictures.resize import Resize, Stored
from curate.pictures.resize_options import ResizeOptions

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore::DeprecationWarning")]

ALL = {name: data for name, data, _, _ in files()}


def resize(body: bytes, **options: Any) -> Stored:
    return Resize(ResizeOptions.model_validate({"resize_mode": "no", **options}))(body)


def chunk(kind: bytes, data: bytes, checksum: int | None = None) -> bytes:
    total = zlib.crc32(kind + data) if checksum is None else checksum
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", total)


def png_of(width: int, height: int, bits: int = 1, colours: int = 0) -> bytes:
    """Black, of a few KB: what it declares is what it would take."""
    row = bytes(1 + (width * bits * {0: 1, 2: 3, 6: 4}[colours] + 7) // 8)
    packer = zlib.compressobj(9)
    data = b"".join(packer.compress(row * 64) for _ in range(0, height, 64)) + packer.flush()
    head = struct.pack(">IIBBBBB", width, height, bits, colours, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


def webp_of(width: int, height: int) -> bytes:
    """34 bytes: a lossless WebP of one colour."""
    small = bytearray(encoded(Image.new("RGB", (1, 1)), "WEBP", lossless=True))
    bits = int.from_bytes(small[21:25], "little") & ~0xFFFFFFF | (width - 1) | (height - 1) << 14
    small[21:25] = bits.to_bytes(4, "little")
    return bytes(small)


def ico_of(frame: bytes) -> bytes:
    return struct.pack("<HHHBBBBHHII", 0, 1, 1, 16, 16, 0, 0, 1, 32, len(frame), 22) + frame


def jpeg_of_scans(count: int, side: int = 256) -> bytes:
    """A progressive JPEG whose last scan comes again and again."""
    whole = encoded(Image.new("L", (side, side), 77), "JPEG", progressive=True)
    last = whole.rindex(b"\xff\xda")
    return whole[:-2] + whole[last:-2] * (count - whole.count(b"\xff\xda")) + b"\xff\xd9"


LARGE = {
    "webp": webp_of(16383, 16383),
    "grey of 16 bits": png_of(12_000, 12_000, bits=16),
    "icon": ico_of(png_of(16_000, 10_000)),
    "RGBA": png_of(10_000, 10_000, bits=8, colours=6),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", LARGE)
def test_what_would_not_fit_is_not_decoded(name: str) -> None:
    data = LARGE[name]
    resize(ALL["RGB PNG"])  # what is imported for the first image
    began = time.process_time()
    image, status = attempt(data)
    assert image is None and status.startswith("too_large_to_decode: ")
    assert "bytes of memory, at most 1,000,000,000" in status
    stored = resize(data, max_image_pixels=10**9)
    assert stored.status == "too_large_to_decode" and " x " in (stored.error or "")
    assert resize(data, max_image_pixels=10**9, disable_all_reencoding=True).status == "too_large_to_decode"
    assert time.process_time() - began < 2, "only the header is read"


def test_a_limit_is_an_option() -> None:
    data = ALL["RGBA PNG"]
    image = Image.open(io.BytesIO(data))
    few = image.width * image.height * 10
    assert resize(data, max_working_bytes=few).status == "too_large_to_decode"
    assert resize(data, max_working_bytes=few * 10).status == "success"
    with pytest.raises(TooCostly, match="72 x 48 pixels take"):
        decode(data, max_working_bytes=few)


def test_a_picture_that_only_resizing_makes_large() -> None:
    thin = encoded(Image.new("RGB", (16_000, 1)), "PNG")
    for mode in ("keep_ratio", "center_crop"):
        assert resize(thin, resize_mode=mode).status == "too_large_to_decode"
    assert resize(thin, resize_mode="border").status == "success"
    assert resize(thin, resize_mode="keep_ratio", resize_only_if_bigger=True).status == "success"


def test_larger_pictures_than_pillow_opens_when_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """And its limit, which is one for the whole process, stays what it was."""
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    for name in ("RGB PNG", "RGB JPEG", "CMYK TIFF"):
        here = Resize(ResizeOptions(resize_mode="no")).here
        assert here(ALL[name]).status == ("success" if "TIFF" not in name else "too_many_pixels")
    assert Image.MAX_IMAGE_PIXELS == 1000


MEASURE = """
import ctypes, gc, io, pickle, sys
from curate.pictures.decoded import decode
from curate.pictures.picture_file import decoding_bytes, opened
def memory(word):
    line = next(line for line in open("/proc/self/status") if line.startswith(word))
    return int(line.split()[1]) * 1024
for name, data in pickle.load(open(sys.argv[1], "rb")):
    with opened(data) as image:
        expected = decoding_bytes(image, data) * image.width * image.height
    del image
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    open("/proc/self/clear_refs", "w").write("5")
    before = memory("VmRSS")
    found = decode(data)
    found.pixels, found.image
    print(name, expected, memory("VmHWM") - before, sep="\\t")
    del found
"""


@pytest.mark.soak
@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="memory is measured as Linux tells it")
def test_memory_is_what_the_header_says(tmp_path: Path) -> None:
    """Of every format and mode at 6 million pixels: never more than expected, and no wild guess."""
    import pickle

    side = scene(3000, 2000)
    clear = side.copy()
    clear.putalpha(side.getchannel("R"))
    deep = Image.fromarray(np.asarray(side.convert("L")).astype(np.uint16) * 256)
    cases = [
        *[(f"{f} {m}", side.convert(m), f, {}) for f, m in (("JPEG", "RGB"), ("JPEG", "L"), ("JPEG", "CMYK"))],
        ("JPEG progressive", side, "JPEG", {"progressive": True, "subsampling": 0}),
        ("JPEG with a profile", side, "JPEG", {"icc_profile": p3_profile()}),
        *[(f"{f} RGB", side, f, {}) for f in ("PNG", "TIFF", "BMP", "WEBP", "AVIF", "JPEG2000")],
        *[(f"{f} RGBA", clear, f, {}) for f in ("PNG", "TIFF", "WEBP", "AVIF")],
        ("PNG LA", clear.convert("LA"), "PNG", {}),
        ("PNG P", side.quantize(16), "PNG", {"transparency": 3}),
        ("PNG 1", side.convert("1"), "PNG", {}),
        ("GIF", side.quantize(16), "GIF", {}),
        ("PNG of 16 bits", deep, "PNG", {}),
        ("TIFF of floats", Image.fromarray(np.asarray(side.convert("L")).astype(np.float32)), "TIFF", {}),
    ]
    quick = {"PNG": {"compress_level": 1}, "WEBP": {"method": 0}, "AVIF": {"speed": 10}}
    made = [(name, encoded(image, f, **quick.get(f, {}), **options)) for name, image, f, options in cases]
    (tmp_path / "files").write_bytes(pickle.dumps([("first", ALL["RGB JPEG"]), *made]))
    command = [sys.executable, "-c", MEASURE, str(tmp_path / "files")]
    lines = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    assert len(lines) == len(made) + 1
    overhead = 8_000_000
    for line in lines[1:]:
        _, expected, took = line.split("\t")
        assert float(took) <= float(expected) + overhead, line
        assert float(expected) < 2.6 * float(took) + overhead, line


def test_hundreds_of_scans_are_counted_and_refused() -> None:
    many = jpeg_of_scans(500, side=4096)
    assert scans(many, jpeg_head(many).scan or 0, 1000) == 500
    began = time.process_time()
    image, status = attempt(many)
    assert image is None and status.startswith("too_many_scans: more than 119 scans")
    assert resize(many).status == resize(many, disable_all_reencoding=True).status == "too_many_scans"
    assert time.process_time() - began < 1
    assert attempt(jpeg_of_scans(500))[1] == "ok", "they cost nothing in a small picture"
    assert attempt(encoded(Image.new("RGB", (4096, 4096)), "JPEG", progressive=True))[1] == "ok"


def test_scans_of_thumbnails_and_chance_bytes_do_not_count() -> None:
    thumbnail = b"Exif\0\0" + b"\xff\xda\0\x04" * 10_000
    whole = encoded(Image.new("RGB", (4096, 4096), "red"), "JPEG", exif=thumbnail[:60_000])
    assert whole.count(b"\xff\xda") > 10_000
    assert scans(whole, jpeg_head(whole).scan or 0, 1000) == 1
    assert attempt(whole + b"\xff\xda" * 10_000)[1] == "ok", "behind the end"


SIDE = (
    b"tEXt",
    b"zTXt",
    b"iTXt",
    b"tIME",
    b"gAMA",
    b"iCCP",
    b"eXIf",
    b"pHYs",
    b"bKGD",
    b"sRGB",
    b"cHRM",
    b"sBIT",
    b"juNK",
)


@pytest.mark.parametrize("kind", SIDE)
@pytest.mark.parametrize("checksum", [None, 123])
@pytest.mark.parametrize("behind", [False, True])
def test_damage_beside_the_pixels_of_a_png_costs_nothing(kind: bytes, checksum: int | None, behind: bool) -> None:
    whole = ALL["RGB PNG"]
    at = len(whole) - 12 if behind else 33
    damaged = whole[:at] + chunk(kind, b"a\0junk", checksum) + whole[at:]
    np.testing.assert_array_equal(decode(damaged).pixels, np.asarray(scene()))
    for options in ({"encode_format": "png", "encode_quality": 1}, {"disable_all_reencoding": True}):
        stored = resize(damaged, **options)
        assert stored.status == "success" and stored.body is not None
        np.testing.assert_array_equal(decode(stored.body).pixels, np.asarray(scene()))


def test_text_that_unpacks_to_too_much_costs_nothing() -> None:
    whole = ALL["RGB PNG"]
    for kind, data in ((b"zTXt", b"a\0\0"), (b"iCCP", b"a\0\0")):
        bomb = whole[:33] + chunk(kind, data + zlib.compress(bytes(5_000_000))) + whole[33:]
        np.testing.assert_array_equal(decode(bomb).pixels, np.asarray(scene()))
        assert resize(bomb).status == "success"


def test_damage_of_the_pixels_is_damage() -> None:
    whole = ALL["P PNG"]
    assert resize(whole[:29] + b"abcd" + whole[33:]).status == "not_an_image", "the checksum of its size"
    assert resize(whole[:-12]).status == "truncated"
    data = whole.index(b"IDAT")
    assert resize(whole[: data - 4] + whole[-12:]).status in ("resize_error", "truncated"), "no pixels"
    assert without_side_chunks(ALL["RGB JPEG"]) is None


@pytest.mark.parametrize(
    "name", ["RGB PNG", "RGB JPEG", "RGB WEBP", "RGB BMP", "RGB TIFF", "RGB PPM", "P GIF", "RGB AVIF"]
)
@pytest.mark.parametrize("more", [b"<html>", b"\0", b"\r\n\r\n", b";x", b"\xff\xd9", bytes(range(256))])
def test_bytes_behind_the_end(name: str, more: bytes) -> None:
    data = ALL[name]
    if name == "RGB AVIF":
        more = struct.pack(">I", 8 + len(more)) + b"free" + more  # a box, as its container wants them
    np.testing.assert_array_equal(decode(data + more).pixels, decode(data).pixels)
    assert resize(data + more).status == resize(data + more, disable_all_reencoding=True).status == "success"


def test_damage_that_img2dataset_forgives() -> None:
    """A JPEG with a hole in its data and an end: the same pixels by every way."""
    for turn in (1, 6):
        whole = encoded(scene(), "JPEG", quality=97, exif=exif(turn), icc_profile=p3_profile())
        data = jpeg_head(whole).scan or 0
        holed = whole[: data + 400] + whole[-2:]
        image = decode(holed)
        assert image.image.size == (scene().size if turn == 1 else scene().size[::-1])
        assert resize(holed, disable_all_reencoding=True).status == "success"
        stored = resize(holed, encode_format="png", encode_quality=1).body
        assert stored is not None
        np.testing.assert_array_equal(decode(stored).pixels, image.pixels)
    assert attempt(whole[: data + 400])[1] == "undecodable: OSError", "without its end it is cut"


def test_where_a_gif_ends() -> None:
    frames = [scene().quantize(8), scene().rotate(180).quantize(8)]
    for whole in (ALL["P GIF"], encoded(frames[0], "GIF", save_all=True, append_images=frames[1:])):
        assert not is_cut(whole) and not is_cut(whole + b"not ended by a mark")
        assert all(is_cut(whole[:keep]) for keep in range(13, len(whole)))


def test_a_turn_that_stands_behind_the_pixels() -> None:
    upright, lying = scene(), scene().transpose(Image.Transpose.ROTATE_90)
    notes = exif(6).tobytes().removeprefix(b"Exif\0\0")
    whole = encoded(lying, "PNG")
    for checksum, shown in ((None, upright), (1, lying)):
        data = whole[:-12] + chunk(b"eXIf", notes, checksum) + whole[-12:]
        assert picture_size(data).upright == shown.size
        for body in (data, resize(data, encode_format="png", encode_quality=1).body):
            assert body is not None
            np.testing.assert_array_equal(decode(body).pixels, np.asarray(shown))


@pytest.mark.parametrize("name", ALL)
def test_sizes_by_the_header(name: str) -> None:
    found = picture_size(ALL[name])
    image = decode(ALL[name]).image
    assert found.upright == image.size
    assert {found.width, found.height} == set(image.size)


def test_a_format_that_runs_programs_is_not_opened() -> None:
    for data in (
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n",
        b"<svg/>",
        b"",
        b"\xff\xd8",
        b"RIFF",
        b"\0\0\1\0\1\0",
    ):
        assert attempt(data) == (None, "undecodable: UnidentifiedImageError"), data


@settings(derandomize=True, max_examples=300, deadline=None)
@given(
    st.sampled_from(sorted(ALL)), st.lists(st.tuples(st.floats(0, 1), st.integers(0, 255)), max_size=4), st.floats(0, 1)
)
def test_any_damage_is_a_status(name: str, changes: list[tuple[float, int]], keep: float) -> None:
    """And a download, a member of a tar and a file kept as it is agree whether it is a picture."""
    data = bytearray(ALL[name])
    for at, value in changes:
        data[int(at * (len(data) - 1))] = value
    body = bytes(data[: max(1, int(len(data) * (1 if keep > 0.3 else keep * 3)))])
    image, status = attempt(body)
    assert (image is None) == (status != "ok")
    stored = resize(body, encode_format="png", encode_quality=1)
    if stored.status == "success":
        assert stored.body is not None and image is not None
        np.testing.assert_array_equal(decode(stored.body).pixels, image.pixels)
    elif image is not None:
        assert stored.status in ("truncated", "too_many_pixels"), stored


def test_the_header_alone_is_read() -> None:
    with opened(ALL["RGB JPEG"]) as image:
        assert image.size == scene().size
        assert image.tile, "nothing was decoded"
