"""One picture, one answer: a file has the same pixels, hashes and embedding whichever way it came into the store."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import HERE, MakeStore, column
from hypothesis import given, settings
from hypothesis import strategies as st
from picture_files import cmyk_profile, encoded, exif, files, on_white, p3_profile, plain_files, scene
from PIL import Image

from curate.alike.evaluation_set import from_folder
from curate.annotate.step import annotate
from curate.catalog import load
from curate.demo.server import serve
from curate.download.options import DownloadOptions
from curate.download.step import download
from curate.pictures.colour_profile import is_srgb
from curate.pictures.decoded import decode
from curate.pictures.resize import Resize
from curate.pictures.resize_options import ResizeOptions
from curate.pictures.upright import upright

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore::DeprecationWarning")]

ALL = {name: (data, shown, within) for name, data, shown, within in files()}
LOSSLESS = {"resize_mode": "no", "encode_format": "png", "encode_quality": 1}
#: A small architecture of open_clip's own.
MODEL = "ViT-S-32-alt/random"


def stored(data: bytes, **options: object) -> bytes:
    made = Resize(ResizeOptions.model_validate(options))(data)
    assert made.status == "success", made
    assert made.body is not None
    return made.body


@pytest.mark.parametrize("name", ALL)
def test_a_file_shows_what_was_drawn(name: str) -> None:
    data, shown, within = ALL[name]
    pixels = decode(data).pixels
    assert pixels.dtype == np.uint8 and pixels.flags.c_contiguous
    assert pixels.shape == (shown.height, shown.width, 3)
    away = np.abs(pixels.astype(int) - np.asarray(shown))
    assert away.max() <= within and away.mean() < 4


@pytest.mark.parametrize("name", ALL)
def test_a_download_stores_the_same_pixels(name: str) -> None:
    """Kept as it is, and written as PNG, pixel for pixel; written as JPEG, as near as its quality."""
    data = ALL[name][0]
    pixels = decode(data).pixels
    assert stored(data, disable_all_reencoding=True) == data
    np.testing.assert_array_equal(decode(stored(data, **LOSSLESS)).pixels, pixels)
    lossy = decode(stored(data, resize_mode="no", encode_quality=97)).pixels.astype(int)
    assert np.abs(lossy - pixels).mean() < 5


@pytest.mark.parametrize("name", ALL)
def test_what_the_header_says_is_what_is_stored(name: str) -> None:
    data, shown, _ = ALL[name]
    made = Resize(ResizeOptions.model_validate(LOSSLESS))(data)
    assert (made.original_width, made.original_height) == (made.width, made.height) == shown.size
    assert made.exif_transposed == ("turned" in name)


@pytest.mark.soak
@pytest.mark.slow
def test_the_same_scores_for_members_of_tars_and_downloads(make_store: MakeStore, tmp_path: Path) -> None:
    """phash, pixel hash and embeddings of all files through the whole pipeline, three ways."""
    bodies = [data for data, _, _ in ALL.values()]
    folder = tmp_path / "site" / "files"
    folder.mkdir(parents=True)
    for number, data in enumerate(bodies):
        (folder / f"{number}.bin").write_bytes(data)
    ops = [load("score.pixel_hash"), load("score.phash"), load({"score.clip": {"model": MODEL, "device": "cpu"}})]

    def scores(view) -> tuple[list[str], list[int | None], np.ndarray]:
        view = annotate(view, ops, HERE)
        clip = [name for name in view.columns if name.endswith("_img")]
        found = column(view, "pixel_hash", "phash", *clip)
        assert all(row[0] and row[2] is not None for row in found), "every file has pixels"
        vectors = np.array([row[2] for row in found], np.float32)
        return [r[0] for r in found], [r[1] for r in found], vectors / np.linalg.norm(vectors, axis=1, keepdims=True)

    tar = scores(make_store([{"text": "a"}] * len(bodies), 100, bodies))
    with serve(tmp_path / "site") as base:
        rows = [{"url": f"{base}/ok/{number}.bin", "text": "a"} for number in range(len(bodies))]
        ways: tuple[dict[str, Any], ...] = (
            {"disable_all_reencoding": True},
            {"resize_mode": "no", "encode_quality": 97},
        )
        kept, lossy = (
            scores(download(make_store(rows, 100), asked, HERE))
            for asked in (
                DownloadOptions.model_validate({"allow_private_addresses": ["127.0.0.0/8"], **way}) for way in ways
            )
        )
    assert kept[:2] == tar[:2]
    assert (tar[2] * kept[2]).sum(1).min() > 1 - 1e-5
    bits = [bin(a ^ b).count("1") for a, b in zip(tar[1], lossy[1], strict=True) if a and b]
    assert len(bits) > len(bodies) * 0.8 and max(bits) <= 4
    assert (tar[2] * lossy[2]).sum(1).min() > 0.99


def test_evaluation_sets_are_decoded_as_the_pool_is(tmp_path: Path) -> None:
    for number, (data, _, _) in enumerate(ALL.values()):
        (tmp_path / f"{number:03}.jpg").write_bytes(data)
    op = load("score.phash")
    images = from_folder(str(tmp_path), False, "phash", op)
    hashes = {f"{n:03}.jpg": op.prepare_image(decode(data))[0] for n, (data, _, _) in enumerate(ALL.values())}
    assert dict(zip(images.names, images.values.tolist(), strict=True)) == {
        n: bits for n, bits in hashes.items() if bits is not None
    }
    assert len(images.names) > 60


def test_wide_colours() -> None:
    """Skin of a phone's picture; the numbers without the conversion are those of the file."""
    data = encoded(Image.new("RGB", (8, 8), (199, 150, 110)), "PNG", icc_profile=p3_profile())
    assert decode(data).image.getpixel((3, 3)) == (208, 147, 103)
    assert decode(data, convert_to_srgb=False).image.getpixel((3, 3)) == (199, 150, 110)
    kept = stored(data, convert_to_srgb=False, **LOSSLESS)
    assert decode(kept).image.getpixel((3, 3)) == (199, 150, 110)
    assert "icc_profile" not in Image.open(io.BytesIO(kept)).info


def test_a_press_s_colours_are_those_of_its_profile() -> None:
    cyan = Image.new("CMYK", (8, 8), (255, 0, 0, 0))
    for format, options in (("TIFF", {}), ("JPEG", {"quality": 98})):
        data = encoded(cyan, format, icc_profile=cmyk_profile(), **options)
        red, green, blue = decode(data).image.getpixel((4, 4))
        assert red < 30 and 120 < green < 165 and 190 < blue < 240, "printed cyan, not a screen's (0, 255, 255)"
        assert np.abs(decode(encoded(cyan, format)).pixels.astype(int) - (0, 255, 255)).max() < 4, "without one"


def test_profiles_that_change_nothing_are_told() -> None:
    from picture_files import odd_srgb_profile

    assert is_srgb(None) and is_srgb(b"") and is_srgb(odd_srgb_profile()) and is_srgb(b"no profile")
    assert not is_srgb(p3_profile())
    assert is_srgb(p3_profile().ljust(5_000_000, b"\0")), "too large to be believed"


def test_a_profile_of_srgb_costs_no_second_decoding() -> None:
    from picture_files import odd_srgb_profile

    found = decode(encoded(scene(), "JPEG", icc_profile=odd_srgb_profile()))
    assert "image" not in vars(found), "Pillow had no part in it"


def test_an_image_at_hand_is_taken_as_a_file_would_be() -> None:
    """`apply` in a notebook, of whatever Pillow opened."""
    op = load("score.pixel_hash")
    for name, data, _, _ in plain_files():
        with Image.open(io.BytesIO(data)) as image:
            made = op.apply({}, [image])
        assert list(made["pixel_hash"]) == [op.prepare_image(decode(data))], name


@pytest.mark.parametrize("name", ALL)
def test_what_is_upright_stays_so(name: str) -> None:
    """Images that were decoded come through the same function again, in a notebook."""
    once = decode(ALL[name][0])
    np.testing.assert_array_equal(np.asarray(upright(once.image)), once.pixels)


def test_the_identity_of_an_op_tells_how_images_are_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    before = load("score.phash").spec(), load("score.words").spec()
    monkeypatch.setattr("curate.op.DECODING", 99)
    assert load("score.phash").spec() != before[0]
    assert load("score.words").spec() == before[1]


#: Formats that lose nothing, and the modes that they hold.
MODES = {
    "PNG": ("1", "L", "LA", "P", "RGB", "RGBA", "I;16"),
    "TIFF": ("1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "I;16", "F"),
    "WEBP": ("RGB", "RGBA"),
    "BMP": ("1", "L", "P", "RGB"),
    "PPM": ("1", "L", "RGB"),
    "GIF": ("1", "L", "P"),
}


def shown(image: Image.Image, turn: int) -> np.ndarray:
    """What a viewer shows of it, by the formulas, and by EXIF's table of turns."""
    if image.mode in ("I;16", "F"):
        levels = np.asarray(image).astype(float)
        white = 65535 if image.mode == "I;16" else next(w for w in (1, 255, 65535) if levels.max() <= w)
        pixels = np.rint(levels / white * 255).astype(np.uint8)[..., None].repeat(3, 2)
    elif image.mode in ("LA", "RGBA"):
        pixels = np.asarray(on_white(image))
    elif image.mode == "CMYK":
        inks = 255 - np.asarray(image).astype(float)
        pixels = np.rint(inks[..., :3] * inks[..., 3:] / 255).astype(np.uint8)
    else:
        pixels = np.asarray(image.convert("RGB"))
    lying = pixels.swapaxes(0, 1)
    turns = {2: pixels[:, ::-1], 3: pixels[::-1, ::-1], 4: pixels[::-1]}
    turns |= {5: lying, 6: lying[:, ::-1], 7: lying[::-1, ::-1], 8: lying[::-1]}
    return turns.get(turn, pixels)


@st.composite
def pictures(draw: st.DrawFn) -> tuple[Image.Image, str, int]:
    format = draw(st.sampled_from(sorted(MODES)))
    mode = draw(st.sampled_from(MODES[format]))
    width, height = draw(st.integers(1, 40)), draw(st.integers(1, 40))
    rng = np.random.default_rng(draw(st.integers(0, 1 << 30)))
    if mode in ("I;16", "F"):
        values = rng.integers(0, 65536, (height, width))
        image = Image.fromarray(values.astype(np.uint16) if mode == "I;16" else (values / 65535).astype(np.float32))
    elif mode == "P":
        image = Image.fromarray(rng.integers(0, 16, (height, width)).astype(np.uint8), "P")
        image.putpalette(rng.integers(0, 256, 48).astype(np.uint8).tobytes())
    elif mode == "1":
        image = Image.fromarray(rng.integers(0, 2, (height, width)).astype(bool))
    else:
        bands = Image.getmodebands(mode)
        image = Image.merge(
            mode, [Image.fromarray(rng.integers(0, 256, (height, width)).astype(np.uint8)) for _ in range(bands)]
        )
    return image, format, draw(st.integers(1, 8)) if format in ("PNG", "TIFF", "WEBP") else 1


@settings(derandomize=True, max_examples=250, deadline=None)
@given(pictures())
def test_every_mode_in_every_format_shows_what_it_holds(made: tuple[Image.Image, str, int]) -> None:
    image, format, turn = made
    more: dict[str, Any] = {"exif": exif(turn)} if turn > 1 else {}
    if format == "WEBP":
        more |= {"lossless": True, "exact": True}
    data = encoded(image, format, **more)
    pixels = decode(data).pixels
    wanted = shown(image, turn)
    assert pixels.shape == wanted.shape
    assert np.abs(pixels.astype(int) - wanted).max() <= 1
    np.testing.assert_array_equal(decode(stored(data, **LOSSLESS)).pixels, pixels)
