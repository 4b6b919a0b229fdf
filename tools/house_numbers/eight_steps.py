"""Eight steps over made pairs in this process: how often the manifest is opened, and which files an image passes."""

from __future__ import annotations

import functools
import io
import json
import sys
import tempfile
import threading
from collections import Counter
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np
import polars as pl
from PIL import Image

import curate

ROWS = 96
#: The first bytes of a JPEG file.
JPEG = b"\xff\xd8\xff"
PACKAGE = str(Path(curate.__file__).parent)

#: Eight steps; the old way to write a filter, which every version reads.
STEPS = """
name: eight
set: {{root: "{folder}/store"}}
steps:
  - read: {{input: "{folder}/pairs.parquet", rows_per_shard: 32}}
  - annotate: [score.words, {{dedupe.exact: {{by: url_text}}}}]
  - filter: {{name: captions, where: {{short: words > 2, twice: dup_url_text_of IS NULL}}}}
  - download: {{image_size: 64, allow_private_addresses: [127.0.0.0/8], timeout_seconds: 5}}
  - filter: {{name: sizes, where: {{small: original_width >= 40}}}}
  - annotate: [score.phash, {{score.clip: {{model: lite0-minilm, name: fit}}}}, {{dedupe.exact: {{by: sha256}}}}]
  - filter: {{name: images, where: {{twice: dup_sha256_of IS NULL, no fit: fit > -1}}}}
  - write: {{samples_per_shard: 40}}
"""


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:
        """Nothing: only the numbers are printed."""


class Watch:
    """Counts files by what happens to them in this process."""

    def __init__(self) -> None:
        self.manifest_reads = 0
        self.ran: Counter[str] = Counter()
        self.held: Counter[str] = Counter()

    def opened(self, event: str, details: tuple[Any, ...]) -> None:
        """An audit hook: `open` with path, mode, flags."""
        if event == "open" and str(details[0]).endswith("/manifest.json") and "w" not in str(details[1]):
            self.manifest_reads += 1

    def called(self, frame: FrameType, event: str, value: Any) -> None:
        """A profile function: a file holds the image when one of its functions is handed it, or returns it."""
        file = frame.f_code.co_filename
        if not file.startswith(PACKAGE) or event not in ("call", "return"):
            return
        self.ran[file] += 1
        if is_image(value if event == "return" else tuple(frame.f_locals.values()), 3):
            self.held[file] += 1


def is_image(value: Any, depth: int) -> bool:
    """Bytes of a file, a Pillow image, pixels; or a few of them in something, `depth` levels down."""
    if isinstance(value, (bytes, bytearray, memoryview)):
        return bytes(value[:3]) == JPEG
    if isinstance(value, Image.Image):
        return True
    if isinstance(value, np.ndarray):
        return bool(value.ndim >= 3 and value.dtype == np.uint8)
    if depth == 0:
        return False
    if isinstance(value, dict):
        value = tuple(value.values())
    elif hasattr(value, "__dict__") and type(value).__module__.startswith("curate"):
        value = tuple(vars(value).values())
    return isinstance(value, (list, tuple)) and any(is_image(item, depth - 1) for item in value[:8])


def make_pairs(folder: Path, address: str) -> None:
    """Pictures of noise under `folder/web`, and their pairs; every tenth is a copy of the one before."""
    (folder / "web").mkdir()
    for number in range(ROWS):
        seed = number - (number % 10 == 9)
        pixels = np.random.default_rng(seed).integers(0, 256, (48, 60, 3), dtype=np.uint8)
        buffer = io.BytesIO()
        Image.fromarray(pixels).save(buffer, "JPEG")
        (folder / "web" / f"{number}.jpg").write_bytes(buffer.getvalue())
    texts = [f"picture number {number} of noise" if number % 8 else "noise" for number in range(ROWS)]
    urls = [f"{address}/{number}.jpg" for number in range(ROWS)]
    pl.DataFrame({"url": urls, "text": texts}).write_parquet(folder / "pairs.parquet")


def curate_them(folder: Path) -> None:
    """`curate run` in this process, without Ray."""
    from curate.cli import main

    (folder / "eight.yaml").write_text(STEPS.format(folder=folder))
    sys.argv = ["curate", "run", str(folder / "eight.yaml"), "--workers", "0"]
    try:
        main()
    except SystemExit as end:
        if end.code:
            raise


def main() -> None:
    """Print the numbers as JSON behind a word that marks them."""
    watch = Watch()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        handler = functools.partial(Quiet, directory=str(folder / "web"))
        server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        make_pairs(folder, f"http://127.0.0.1:{server.server_port}")
        sys.addaudithook(watch.opened)
        threading.setprofile(watch.called)
        sys.setprofile(watch.called)
        curate_them(folder)
        sys.setprofile(None)
        threading.setprofile(None)
        server.shutdown()
    if "--files" in sys.argv:
        print("\n".join(sorted(watch.held)))
    numbers = {
        "manifest reads in eight steps": watch.manifest_reads,
        "files that run in eight steps": len(watch.ran),
        "files an image passes": len(watch.held),
    }
    print("NUMBERS", json.dumps(numbers))


if __name__ == "__main__":
    main()
