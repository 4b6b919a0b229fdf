"""Bytes of an object store fetched ahead: the same as asked for one by one, in few requests, bounded in bytes."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import numpy as np
import pytest
import s3fs
from conftest import HERE, picture
from hypothesis import given, settings
from hypothesis import strategies as st
from late_s3 import KEYS, LateS3

from curate.annotate.ahead import Ahead
from curate.catalog import load
from curate.errors import CurateError
from curate.read.step import ReadOptions, read
from curate.store import fetched
from curate.store.fetched import Fetched, Place, WholeFile, ranges
from curate.store.images import ImageReader
from curate.store.store import Store
from curate.store.verify import verify
from curate.write.step import WriteOptions, write

FILES = {name: np.random.default_rng(n).bytes(3000) for n, name in enumerate("abc")}


class Counted:
    """Ranges of FILES, noted; `hold` keeps all answers back."""

    def __init__(self) -> None:
        self.asked: list[Place] = []
        self.hold = threading.Event()
        self.hold.set()
        self.answered = 0

    def __call__(self, file: str, start: int, stop: int) -> bytes:
        self.asked.append(Place(file, start, stop))
        assert self.hold.wait(10)
        self.answered += 1
        return FILES[file][start:stop]


@pytest.fixture(autouse=True)
def small(monkeypatch):
    """Ranges of 100 bytes, 400 ahead."""
    for name, value in {"RANGE_BYTES": 100, "GAP_BYTES": 10, "AHEAD_BYTES": 400}.items():
        monkeypatch.setattr(fetched, name, value)
    monkeypatch.setattr(ranges, "__defaults__", (100, 10))


places = st.builds(
    lambda file, start, size: Place(file, start, start + size),
    st.sampled_from("abc"),
    st.integers(0, 3100),
    st.integers(0, 150),
)


@given(planned=st.lists(places, max_size=40), others=st.lists(places, max_size=10), seed=st.integers(0, 9))
@settings(deadline=None, max_examples=100)
def test_any_places_in_any_order(planned, others, seed):
    order = np.random.default_rng(seed)
    asked = [*planned, *others]
    if seed % 2:
        asked = [asked[i] for i in order.permutation(len(asked))]
    several = Fetched(Counted(), planned)
    for place in asked:
        assert bytes(several.read(place)) == FILES[place.file][place.start : place.stop]
    several.close()


@given(planned=st.lists(places, max_size=40))
def test_each_place_lies_in_one_range(planned):
    cut = list(ranges(planned))
    assert [place for _, parts in cut for place in parts] == planned
    for whole, parts in cut:
        assert all(whole.holds(part) for part in parts)
        assert whole.stop - whole.start <= 100 or len(set(parts)) == 1


def test_places_that_lie_close_together_are_one_request():
    count = Counted()
    several = Fetched(count, [Place("a", 10 * n, 10 * n + 8) for n in range(100)])
    for n in range(100):
        assert bytes(several.read(Place("a", 10 * n, 10 * n + 8))) == FILES["a"][10 * n : 10 * n + 8]
        assert bytes(several.read(Place("a", 10 * n + 2, 10 * n + 7))), "a part of what is at hand"
    several.close()
    assert sorted(count.asked) == [Place("a", 100 * n, 100 * n + 98) for n in range(10)]


def test_no_more_is_fetched_than_may_be_held():
    count = Counted()
    several = Fetched(count, [Place("a", 100 * n, 100 * n + 100) for n in range(30)])
    several.read(Place("a", 0, 100))
    assert len(count.asked) <= 4
    several.read(Place("a", 100, 200))
    assert len(count.asked) <= 4, "one range before is kept"
    several.read(Place("a", 1500, 1600))
    several.close()
    assert Place("a", 1600, 1700) in count.asked, "where reading goes on"
    assert not any(600 <= place.start < 1500 for place in count.asked), "what was jumped over is not fetched"


def test_a_file_larger_than_what_may_be_held():
    count = Counted()
    several = Fetched(count, [Place("a", 0, 1000), Place("a", 1000, 1100)])
    assert bytes(several.read(Place("a", 0, 1000))) == FILES["a"][:1000]
    assert count.asked == [Place("a", 0, 1000)], "the next one waits"
    assert bytes(several.read(Place("a", 1000, 1100))) == FILES["a"][1000:1100]
    several.close()


def test_what_comes_next_is_under_way_while_the_first_is_waited_for():
    count = Counted()
    count.hold.clear()
    several = Fetched(count, [Place("a", 100 * n, 100 * n + 100) for n in range(4)])
    waiting = threading.Thread(target=several.read, args=[Place("a", 0, 100)])
    waiting.start()
    while len(count.asked) < 4:  # the test's time limit ends it
        time.sleep(0.01)
    assert count.answered == 0
    count.hold.set()
    waiting.join()
    several.close()


def test_what_a_request_raises_is_raised_where_its_bytes_are_asked_for():
    def fetch(file: str, start: int, stop: int) -> bytes:
        if start == 200:
            raise OSError("the store is gone")
        return FILES[file][start:stop]

    several = Fetched(fetch, [Place("a", 100 * n, 100 * n + 100) for n in range(4)])
    assert bytes(several.read(Place("a", 100, 200))) == FILES["a"][100:200]
    with pytest.raises(OSError, match="the store is gone"):
        several.read(Place("a", 200, 300))
    assert bytes(several.read(Place("a", 300, 400))) == FILES["a"][300:400]
    several.close()


@pytest.mark.parametrize("size", [0, 1, 99, 100, 101, 3000])
@pytest.mark.parametrize("block", [1, 7, 100, 250, 5000, -1])
def test_a_whole_file(size, block):
    with WholeFile(lambda _, start, stop: FILES["a"][start:stop], size) as file:
        read = b"".join(iter(lambda: file.read(block), b""))
    assert read == FILES["a"][:size]


def test_a_file_that_was_cut_off_since_its_size_was_asked_for():
    with WholeFile(lambda _, start, stop: FILES["a"][:250][start:stop], 1000) as file:
        assert file.read() == FILES["a"][:250]


# ---- a real S3 ----


@pytest.fixture
def late_s3(monkeypatch) -> Iterator[LateS3]:
    with LateS3() as server:
        for name, value in {**KEYS, "AWS_ENDPOINT_URL": server.address}.items():
            monkeypatch.setenv(name, value)
        # An instance of an earlier test would ask that test's server.
        s3fs.S3FileSystem.clear_instance_cache()
        yield server
    s3fs.S3FileSystem.clear_instance_cache()


PICTURES = [picture(number) + bytes([number]) * 40_000 for number in range(12)]


@pytest.fixture
def view(late_s3, make_store, request, monkeypatch):
    """A store of 12 rows in S3, whose images lie in a tar there: 40 KB each, fetched 100 KB at a time."""
    monkeypatch.setattr(fetched, "RANGE_BYTES", 100_000)
    monkeypatch.setattr(fetched, "AHEAD_BYTES", 400_000)
    monkeypatch.setattr(ranges, "__defaults__", (100_000, 10_000))
    bucket = f"late-{abs(hash(request.node.nodeid)) % 10**10}"
    s3fs.S3FileSystem().mkdir(bucket)
    local = make_store(12, 100, PICTURES)
    tar = local.store.read_part(local.images, 0)["tar"][0].as_py()
    s3fs.S3FileSystem().put_file(tar, f"{bucket}/in/part.tar")
    made = read(Store(f"s3://{bucket}/store"), ReadOptions(input=f"s3://{bucket}/in/*.tar"), HERE)
    late_s3.asked.clear()
    return made


def test_rows_that_are_announced_come_in_few_requests(view, late_s3):
    reader = ImageReader(view.store, view.images, 0)
    reader.coming(range(12))
    assert [reader.bytes(row) for row in range(12)] == PICTURES
    reader.close()
    assert len(late_s3.asked) == 6, "two pictures of 40 KB in 100 KB"


def test_several_requests_are_under_way_while_the_first_is_waited_for(view, late_s3):
    late_s3.together = 4
    reader = ImageReader(view.store, view.images, 0)
    reader.coming(range(12))
    assert reader.bytes(0) == PICTURES[0]
    reader.close()
    assert late_s3.most == len(late_s3.asked) == 4, "as many as 400 KB hold"


def test_only_rows_that_are_asked_for_are_fetched(view, late_s3):
    reader = ImageReader(view.store, view.images, 0)
    assert reader.bytes(7) == PICTURES[7]
    assert len(late_s3.asked) == 1
    start, end = map(int, late_s3.asked[0].split("-"))
    assert end + 1 - start == len(PICTURES[7])
    reader.coming([1, 9])
    assert [reader.bytes(1), reader.bytes(9)] == [PICTURES[1], PICTURES[9]]
    assert len(late_s3.asked) == 3
    reader.close()


def test_writing_reads_ahead_too(view, late_s3):
    assert list(map(bytes, ImageReader(view.store, view.images, 0).in_turn(range(12)))) == PICTURES
    assert len(late_s3.asked) == 6


def test_a_pass_announces_the_rows_that_its_ops_have_to_see(view, late_s3):
    todo = np.zeros(12, bool)
    todo[[2, 3, 10]] = True
    op = load("score.pixel_hash")
    reader = ImageReader(view.store, view.images, 0)
    chunks = [np.array([2, 3]), np.array([10])]
    seen = [chunk.status for chunk in Ahead({"seen": op}, {"seen": todo}, reader=reader)(chunks)]
    assert seen == [["ok", "ok"], ["ok"]]
    assert len(late_s3.asked) == 2, "2 and 3 lie side by side"


def test_an_answer_that_breaks_off_is_asked_for_again(view, late_s3):
    late_s3.cut_off = 2
    reader = ImageReader(view.store, view.images, 0)
    reader.coming(range(12))
    assert [reader.bytes(row) for row in range(12)] == PICTURES
    reader.close()
    assert late_s3.cut_off == 0
    assert len(late_s3.asked) == 8


def test_a_server_that_always_breaks_off_is_an_error(view, late_s3, monkeypatch):
    monkeypatch.setattr(s3fs.S3FileSystem, "retries", 2)
    late_s3.cut_off = 10**6
    reader = ImageReader(view.store, view.images, 0)
    reader.coming(range(12))
    with pytest.raises(OSError, match=r"(?i)payload|incomplete|not enough data"):
        reader.bytes(0)
    reader.close()


def test_a_tar_that_was_cut_or_changed_is_told(view, late_s3):
    fs = s3fs.S3FileSystem()
    where = view.store.read_part(view.images, 0).to_pylist()
    tar, whole = where[0]["tar"], fs.cat_file(where[0]["tar"])
    for changed, message in {
        whole[: where[5]["offset"] + 3]: "the image of row 5 of shard 0 is cut off",
        whole[: where[5]["offset"] - 600]: "the image of row 5 of shard 0 is cut off",
        whole[: where[5]["offset"]] + b"x" + whole[where[5]["offset"] + 1 :]: "row 5 .* is not as it was stored",
    }.items():
        fs.pipe_file(tar, changed)
        reader = ImageReader(view.store, view.images, 0)
        reader.coming(range(12))
        assert [reader.bytes(row) for row in range(5)] == PICTURES[:5]
        with pytest.raises(CurateError, match=message):
            reader.bytes(5)
        reader.close()
    fs.rm(tar)
    reader = ImageReader(view.store, view.images, 0)
    with pytest.raises(FileNotFoundError):
        reader.bytes(0)


def test_verify_reads_ahead(view, late_s3, tmp_path):
    shards = f"{view.store.url}/written"
    write(view, WriteOptions(to=shards), HERE)
    late_s3.asked.clear()
    assert "all as written" in verify(shards)
    assert len(late_s3.asked) == -(-s3fs.S3FileSystem().size(f"{shards}/00000.tar") // 100_000)
