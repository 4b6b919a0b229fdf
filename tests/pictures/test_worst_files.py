"""The worst files that outsiders may serve: each costs its row a status, less than 1 GB in all and less than 10 s."""

from __future__ import annotations

import json
import pickle
import struct
import subprocess
import sys
from pathlib import Path

import pytest
from picture_files import encoded, scene
from PIL import Image
from test_picture_file import ico_of, jpeg_of_scans, png_of, webp_of

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="memory is measured as Linux tells it"),
]

#: One file after the other as a download and as an op see them: the most memory that this process and the one that
#: decodes for it had at one time, looked at every few milliseconds, and seconds of both.
WORK = """
import json, pickle, sys, threading, time
import psutil
from curate.pictures.attempt import attempt
from curate.pictures.decoders import decoders, seconds_apart
from curate.pictures.resize import Resize
from curate.pictures.resize_options import ResizeOptions

most, here = 0, psutil.Process()

def watch():
    global most
    while True:
        processes = [here, *(psutil.Process(decoder) for decoder in seen)]
        most = max(most, sum(process.memory_info().rss for process in processes))
        time.sleep(0.003)

resize, seen = Resize(ResizeOptions(max_image_pixels=10**10)), []
attempt(b"II*\\0")
seen.append(decoders()._idle[0].process.pid)
threading.Thread(target=watch, daemon=True).start()
for name, data in pickle.load(open(sys.argv[1], "rb")):
    most = 0
    began = time.process_time() + seconds_apart()
    statuses = [resize(data).status, attempt(data)[1].partition(":")[0]]
    seconds = time.process_time() + seconds_apart() - began
    print(json.dumps([name, *statuses, most, seconds, [decoder.process.pid for decoder in decoders()._idle] == seen]))
"""


def gif_of_frames(count: int) -> bytes:
    whole = encoded(scene(300, 200).quantize(8), "GIF")
    head = 13 + (3 << (whole[10] & 7) + 1)
    return whole[:head] + whole[head:-1] * count + b";"


def webp_of_frames(count: int, side: int = 1000) -> bytes:
    still = encoded(scene(side, side), "WEBP", quality=50, method=0)
    size = struct.pack("<I", side - 1)[:3]
    frame = bytes(6) + size + size + struct.pack("<I", 20)[:3] + b"\0" + still[12:]
    chunks = [(b"VP8X", b"\x02\0\0\0" + size + size), (b"ANIM", bytes(6)), *[(b"ANMF", frame)] * count]
    body = b"WEBP" + b"".join(
        kind + struct.pack("<I", len(data)) + data + b"\0" * (len(data) % 2) for kind, data in chunks
    )
    return b"RIFF" + struct.pack("<I", len(body)) + body


#: name: (file, its status; none for one that may be decoded)
WORST = {
    "a PNG of 30,000 x 30,000 in one colour": (png_of(30_000, 30_000), "too_large_to_decode"),
    "a PNG of 16 bits that is just allowed": (png_of(8_200, 8_200, bits=16, colours=6), ""),
    "a WebP of 34 bytes": (webp_of(16_383, 16_383), "too_large_to_decode"),
    "an icon with a large PNG inside": (ico_of(png_of(16_000, 10_000)), "too_large_to_decode"),
    "a large JPEG of 5,000 scans": (jpeg_of_scans(5_000, side=4096), "too_many_scans"),
    "a small JPEG of 5,000 scans": (jpeg_of_scans(5_000, side=600), ""),
    "a fax of 30,000 x 30,000": (
        encoded(Image.new("1", (30_000, 30_000)), "TIFF", compression="group4"),
        "too_large_to_decode",
    ),
    "a WebP of 3,000 frames": (webp_of_frames(3_000), ""),
    "a GIF of 10,000 frames": (gif_of_frames(10_000), ""),
}


def test_each_costs_one_row_under_1_gb_and_10_s(tmp_path: Path) -> None:
    (tmp_path / "files").write_bytes(pickle.dumps([(name, data) for name, (data, _) in WORST.items()]))
    done = subprocess.run(
        [sys.executable, "-c", WORK, str(tmp_path / "files")], capture_output=True, text=True, check=True
    )
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert [line[0] for line in lines] == list(WORST)
    for name, stored, seen, memory, seconds, is_alive in lines:
        status = WORST[name][1]
        assert (stored, seen) == (status or "success", status or "ok"), name
        assert memory < 1_000_000_000 and seconds < 2 * 10, (name, memory, seconds)
        assert is_alive, name
