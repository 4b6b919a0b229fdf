"""A file that kills its decoder, or takes all memory or time, costs its row a status; good ones have the same bytes."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import psutil
import pytest
from picture_files import encoded, files, scene
from PIL import Image

from curate.pictures import decoders as module
from curate.pictures.attempt import attempt
from curate.pictures.decoded import decode
from curate.pictures.decoders import Decoders, decoders, seconds_apart
from curate.pictures.doubtful import doubt
from curate.pictures.resize import Resize
from curate.pictures.resize_options import STATUS, ResizeOptions

pytestmark = pytest.mark.slow

ALL = {name: data for name, data, _, _ in files()}
TIFF = ALL["RGB TIFF"]

#: A decoder that a file of these bytes ends: by a signal, by an error, or by an answer that is none.
FRAGILE = """
import os, signal
from curate.pictures import decoder_process
real = decoder_process.TASKS["decode"]
def fragile(data, request):
    if data == b"kill":
        os.kill(os.getpid(), signal.SIGKILL)
    if data == b"crash":
        os.kill(os.getpid(), signal.SIGSEGV)
    if data == b"exit":
        os._exit(3)
    if data == b"nonsense":
        os.write(0, b"no JSON\\n")
    if data == b"huge":
        return {"status": "ok", "height": 1 << 20, "width": 1 << 20}, iter(())
    return real(data, request)
decoder_process.TASKS["decode"] = fragile
decoder_process.main()
"""


@pytest.fixture
def fragile() -> Iterator[Decoders]:
    some = Decoders([sys.executable, "-W", "ignore", "-c", FRAGILE])
    yield some
    some.close()


def children() -> list[int]:
    return [child.pid for child in psutil.Process().children() if "decoder" in " ".join(child.cmdline())]


@pytest.mark.parametrize("name", ALL)
def test_the_same_pixels_and_files_wherever_they_are_decoded(name: str) -> None:
    for data in (ALL[name], ALL[name][: len(ALL[name]) * 2 // 3]):
        here, apart = attempt(data), attempt(data, careful=True)
        assert here[1] == apart[1]
        if here[0] is None or apart[0] is None:
            assert here[0] is apart[0] is None
        else:
            np.testing.assert_array_equal(decode(data).pixels, apart[0].pixels)
            np.testing.assert_array_equal(here[0].pixels, apart[0].pixels)
            assert apart[0].pixels.flags.writeable and apart[0].pixels.flags.c_contiguous
        for options in ({}, {"resize_mode": "no", "disable_all_reencoding": True}):
            resize = Resize(ResizeOptions.model_validate(options))
            assert resize.here(data) == resize(data) == resize(data, careful=True)


def test_a_process_is_kept_from_file_to_file() -> None:
    decoders().close()  # other tests have left as many as they had threads
    attempt(TIFF)
    before = children()
    seconds = seconds_apart()
    for _ in range(5):
        assert attempt(TIFF)[1] == "ok"
    large = encoded(scene(3000, 2000), "TIFF", compression="tiff_adobe_deflate")
    assert attempt(large)[1] == "ok"
    assert len(before) == 1 and children() == before
    assert seconds + 0.005 < seconds_apart() < seconds + 8


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"kill", "SIGKILL"),
        (b"crash", "SIGSEGV"),
        (b"exit", "exit status 3"),
        (b"nonsense", "its answer was none"),
        (b"huge", "its answer was none"),
    ],
)
def test_a_file_that_ends_its_decoder_costs_a_status(fragile: Decoders, data: bytes, why: str) -> None:
    for _ in range(2):
        answer, pixels = fragile.ask("decode", data)
        assert pixels is None
        assert answer == {"status": "decoder_died", "error": f"the process that decoded it ended 2 times: {why}"}
        answer, pixels = fragile.ask("decode", TIFF)
        assert answer["status"] == "ok" and isinstance(pixels, np.ndarray)
        np.testing.assert_array_equal(pixels, np.asarray(scene()))


def test_one_death_from_outside_blames_no_file(fragile: Decoders) -> None:
    fragile.ask("decode", TIFF)
    (idle,) = fragile._idle
    os.kill(idle.process.pid, 9)
    assert fragile.ask("decode", TIFF)[0]["status"] == "ok"
    assert fragile._idle != [idle]


def test_time_is_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    """A real file, of 400 scans of 4 million pixels each: two seconds."""
    whole = encoded(Image.new("L", (2048, 2048), 77), "JPEG", progressive=True)
    last = whole.rindex(b"\xff\xda")
    slow = whole[:-2] + whole[last:-2] * 400 + b"\xff\xd9"
    assert doubt(slow) == "many scans" and attempt(TIFF)[1] == "ok"
    monkeypatch.setattr(module, "SECONDS", 0.1)
    before = seconds_apart()
    assert attempt(slow) == (None, "decode_timeout: more than 0.1 s of the processor")
    assert seconds_apart() == pytest.approx(before + 0.1)
    stored = Resize(ResizeOptions())(slow)
    assert (stored.status, stored.error, stored.body) == ("decode_timeout", "more than 0.1 s of the processor", None)
    assert len(stored.sha256 or "") == 64
    monkeypatch.undo()
    assert attempt(slow)[1] == "ok", "the next process has all its time"


def test_a_decoder_that_waits_for_ever_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "CLOCK_SECONDS", 0.5)
    asleep = Decoders([sys.executable, "-c", "import time; time.sleep(60)"])
    began = time.monotonic()
    assert asleep.ask("decode", TIFF)[0]["status"] == "decode_timeout"
    assert time.monotonic() - began < 20


@pytest.mark.skipif(sys.platform != "linux", reason="the address space is limited as Linux does it")
def test_memory_is_limited_by_the_kernel() -> None:
    """Where a header tells less than what decoding takes: asked for a billion bytes, there are none."""
    code = "from curate.pictures import decoder_process\n"
    code += "decode = decoder_process.decode\n"
    code += "decoder_process.decode = lambda data, **k: decode(data, **k) if len(data) != 4 else bytearray(10**9)\n"
    some = Decoders([sys.executable, "-c", code + "decoder_process.main()"])
    answer, _ = some.ask("decode", b"more", working_bytes=500_000_000)
    assert answer["status"] == "too_large_to_decode"
    assert some.ask("decode", TIFF)[0]["status"] == "ok"
    assert len(some._idle) == 1, "the process lives"
    some.close()


def test_large_files_are_decoded_one_at_a_time() -> None:
    large = encoded(Image.new("RGB", (5400, 5400), "red"), "TIFF", compression="tiff_adobe_deflate")
    some, most = Decoders(), 0
    tried = some._tried

    def counted(*arguments: object) -> object:
        nonlocal most
        is_large = arguments[3] > module.HERE_BYTES  # type: ignore[operator]
        at_once.append(1) if is_large else None
        most = max(most, len(at_once))
        try:
            return tried(*arguments)  # type: ignore[arg-type]
        finally:
            at_once.pop() if is_large else None

    at_once: list[int] = []
    some._tried = counted  # type: ignore[method-assign,assignment]
    threads = [threading.Thread(target=lambda: seen.append(some.ask("decode", large)[0])) for _ in range(3)]
    seen: list[dict[str, object]] = []
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    some.close()
    assert [answer["status"] for answer in seen] == ["ok"] * 3 and most == 1


def test_several_threads_have_a_process_each() -> None:
    some = Decoders()
    seen: list[np.ndarray] = []
    threads = [
        threading.Thread(target=lambda: seen.extend(some.ask("decode", TIFF)[1] for _ in range(20)))  # type: ignore[misc]
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert 1 <= len(some._idle) <= 4
    some.close()
    assert len(seen) == 80 and all(np.array_equal(pixels, np.asarray(scene())) for pixels in seen)


ENDS = """
import os, sys
from pathlib import Path
from curate.pictures.attempt import attempt
from curate.pictures.decoders import decoders
data = Path(sys.argv[1]).read_bytes()
assert attempt(data)[1] == "ok"
print(decoders()._idle[0].process.pid, flush=True)
if sys.argv[2] == "kill":
    os.kill(os.getpid(), 9)
"""


@pytest.mark.parametrize("end", ["kill", "leave"])
def test_no_process_outlives_the_one_that_asks(tmp_path: Path, end: str) -> None:
    (tmp_path / "a.tif").write_bytes(TIFF)
    command = [sys.executable, "-W", "error", "-c", ENDS, str(tmp_path / "a.tif"), end]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.stderr == ""
    deadline = time.monotonic() + 20
    while psutil.pid_exists(int(done.stdout)) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not psutil.pid_exists(int(done.stdout))


def test_a_fork_has_its_own() -> None:
    attempt(TIFF)
    before = decoders()
    reading, writing = os.pipe()
    pid = os.fork()
    if not pid:
        os.write(writing, b"same" if decoders() is before else b"other")
        os._exit(0)
    os.waitpid(pid, 0)
    assert os.read(reading, 9) == b"other" and decoders() is before


def test_the_statuses_are_documented() -> None:
    assert {"decode_timeout", "decoder_died"} <= set(STATUS)
    assert f"{module.SECONDS:g} seconds" in STATUS["decode_timeout"]


def test_processes_that_died_while_they_waited_are_no_file_s_fault() -> None:
    decoders().close()
    attempt(TIFF)
    threads = [threading.Thread(target=attempt, args=(TIFF,)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    waiting = children()
    for pid in waiting:
        psutil.Process(pid).kill()
    assert waiting
    assert attempt(TIFF)[1] == "ok"
