"""Hashes and colours of images of every shape, to the bit: no version of a library may move them."""

from __future__ import annotations

import ast
from pathlib import Path

import imagehash
import numpy as np
import pytest
from PIL import Image

import curate
from curate.alike.colours import cell_colours
from curate.alike.shrink import shrunk
from curate.catalog import load
from curate.pictures.decoded import Decoded
from curate.score.phash import BITS, SIZES

#: By imagehash 4.3.2 and Pillow 12.0, which resizes every image across first: phash, dhash, ahash, colours. Of the tall
#: one Pillow 13 makes others, of each kind.
EXPECTED = {
    (1000, 100): (
        *("969610c69696fd96", "ec122048ac12ac12", "36cb7f3434c936cb"),
        "7f7f7f818080808080808080807f7f7f80817f80807f80807f7f8080807f80807f80807f7f7f807f7f7f7f7f7f7f7f7f",
    ),
    (100, 1000): (
        *("a0f7a0a1807f8a7f", "8081400000804080", "ffff000000ff00ff"),
        "8a87818c88818b87818b878178817c77817b78817b78817b867f84877f85867f85867f857d7e847c7e857c7e857c7e85",
    ),
    (300, 300): (
        *("9580d5ffd5c4d580", "8040800000400000", "ff00ff00ff00007f"),
        "818180848381818180848381807f7f807f7f807f7f807f7f7f7f807d7f817f7f807d7f81807f80817e81807f80817e81",
    ),
}


def picture(height: int, width: int) -> np.ndarray:
    """Blocks of black and white by chance: much is cut off at 0 and 255 between the two directions."""
    y, x = np.mgrid[:height, :width]
    channels = [(x // 3 * 73_856_093 ^ y // 7 * 19_349_663 * (c + 2)) // 1024 % 2 * 255 for c in range(3)]
    return np.stack(channels, axis=-1).astype(np.uint8)


@pytest.mark.parametrize("shape", EXPECTED)
def test_literals(shape: tuple[int, int]) -> None:
    pixels = picture(*shape)
    levels = Decoded(pixels).grey_levels
    bits = [BITS[kind](shrunk(levels, *SIZES[kind])) for kind in ("phash", "dhash", "ahash")]
    hashes = [np.packbits(values).tobytes().hex() for values in bits]
    assert (*hashes, cell_colours(pixels).hex()) == EXPECTED[shape]
    made = load("score.phash").apply({}, [Image.fromarray(pixels)])
    assert (f"{made['phash'][0]:016x}", made["phash_colours"][0].hex()) == (hashes[0], EXPECTED[shape][3])


def across_then_down(image: Image.Image, size: tuple[int, int], filtered: Image.Resampling) -> bytes:
    return image.resize((size[0], image.height), filtered).resize(size, filtered).tobytes()


@pytest.mark.parametrize("width", [1, 2, 3, 4, 5, 7, 9, 31, 32, 33, 64, 100, 511, 640, 1023, 2500])
@pytest.mark.parametrize("height", [1, 3, 8, 33, 97, 512, 1999])
def test_levels_and_colours_are_those_of_pillow_direction_by_direction(width: int, height: int) -> None:
    random = np.random.default_rng(width * 10_000 + height)
    for pixels in (random.integers(0, 256, (height, width, 3)), random.integers(0, 2, (height, width, 3)) * 255):
        decoded = Decoded(pixels.astype(np.uint8))
        grey = Image.fromarray(decoded.grey_levels)
        for size in SIZES.values():
            small = shrunk(decoded.grey_levels, *size)
            assert small.tobytes() == across_then_down(grey, size, Image.Resampling.LANCZOS)
        assert cell_colours(decoded.pixels) == across_then_down(decoded.image, (4, 4), Image.Resampling.BOX)


def test_a_symmetric_picture_has_no_bits_by_rounding() -> None:
    half = np.random.default_rng(0).integers(0, 256, (32, 16), np.uint8)
    bits = BITS["phash"](np.concatenate([half, half[:, ::-1]], axis=1))
    # Frequencies 1, 3, 5 and 7 across are zero: all of them above the median, or none.
    assert len(np.unique(bits[:, 1::2])) == 1 and len(np.unique(bits[:, ::2])) == 2
    plain = np.random.default_rng(1).integers(0, 256, (32, 32), np.uint8)
    assert (BITS["phash"](plain) == imagehash.phash(Image.fromarray(plain)).hash).all()


@pytest.mark.parametrize("room", ["alike", "score", "dedupe", "balance"])
def test_no_hash_or_statistic_leaves_the_order_to_pillow(room: str) -> None:
    """What Pillow shrinks at once changes with its version; `curate.alike.shrink` says how it is done here."""
    calls = {
        (path.name, ast.unparse(node))
        for path in (Path(curate.__file__).parent / room).glob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call)
        and ast.unparse(node.func).endswith((".resize", ".thumbnail"))
        and ast.unparse(node.func) != "cv2.resize"
    }
    assert calls == set()
