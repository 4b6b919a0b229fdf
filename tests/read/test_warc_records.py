"""Records of whole, cut and damaged files."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest
from crawl_files import members, warc_record

from curate.messages.remarks import Remarks
from curate.read import warc_records
from curate.read.warc_records import DAMAGED, TOO_LARGE, records

#: Ten records of more than 1,000 bytes each, and of requests that nobody asked for.
TEN = [
    warc_record("metadata", f"https://x.example/{n}", json.dumps({"n": n, "p": "ab" * 500 + str(n * 7919)}).encode())
    for n in range(10)
]
PACKED = members(TEN)


def read(tmp_path: Path, data: bytes, name: str = "x.wat.gz") -> tuple[str, dict[str, int]]:
    """Last digits of the urls that are read, and the counts of what was passed over."""
    file, remarks = tmp_path / name, Remarks()
    file.write_bytes(data)
    return "".join(record.url[-1] for record in records(str(file), "metadata", remarks)), remarks.counts


def flipped(data: bytes, place: int) -> bytes:
    changed = bytearray(data)
    changed[place] ^= 0xFF
    return bytes(changed)


def with_member(number: int, member: bytes) -> bytes:
    return b"".join(member if place == number else packed for place, packed in enumerate(PACKED))


def test_records_of_one_kind_with_their_content(tmp_path: Path) -> None:
    other = warc_record("request", "https://x.example/r", b"GET / HTTP/1.1\r\n\r\n")
    (tmp_path / "x.wat.gz").write_bytes(b"".join(members([other, *TEN, other])))
    remarks = Remarks()
    all_ten = list(records(str(tmp_path / "x.wat.gz"), "metadata", remarks))
    assert [json.loads(record.body)["n"] for record in all_ten] == list(range(10)) and not remarks
    assert all_ten[3].url == "https://x.example/3"
    assert all_ten[3].time is not None and all_ten[3].time.isoformat() == "2024-02-20T20:01:02+00:00"


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("x.wat.gz", b"".join(PACKED)),
        ("x.wat", b"".join(TEN)),
        ("all_in_one_member.wat.gz", gzip.compress(b"".join(TEN))),
        ("two_members.wat.gz", gzip.compress(b"".join(TEN[:5])) + gzip.compress(b"".join(TEN[5:]))),
    ],
)
def test_whole_files(name: str, data: bytes, tmp_path: Path) -> None:
    assert read(tmp_path, data, name) == ("0123456789", {})


@pytest.mark.parametrize(
    ("data", "urls"),
    [
        (with_member(3, flipped(PACKED[3], 30)), "012456789"),
        (with_member(3, flipped(PACKED[3], -6)), "012456789"),  # only the checksum tells
        (with_member(3, flipped(PACKED[3], 0)), "012456789"),
        (with_member(0, flipped(PACKED[0], 0)), "123456789"),
        (with_member(9, flipped(PACKED[9], 40)), "012345678"),
        (with_member(3, PACKED[3][:100]), "012456789"),
        (with_member(3, b"\x00" * 5000), "012456789"),
        (b"".join(PACKED)[:-100], "012345678"),
        (b"".join(PACKED)[: len(b"".join(PACKED[:5])) + 5], "01234"),
        (b"".join(PACKED) + b"\x00" * 600, "0123456789"),
        (b"no WARC at all " * 100, ""),
        (b"", ""),
    ],
)
def test_one_damaged_place_costs_what_lies_there(data: bytes, urls: str, tmp_path: Path) -> None:
    assert read(tmp_path, data) == (urls, {DAMAGED: 1})


def test_several_damaged_places(tmp_path: Path) -> None:
    data = b"".join(flipped(member, 40) if place in (2, 3, 7) else member for place, member in enumerate(PACKED))
    urls, counts = read(tmp_path, data)
    assert urls == "0145689" and counts[DAMAGED] >= 2


@pytest.mark.parametrize("bytes_lost", [300, 1100])
def test_an_uncompressed_file_is_read_up_to_the_cut(bytes_lost: int, tmp_path: Path) -> None:
    assert read(tmp_path, b"".join(TEN)[:-bytes_lost], "x.wat") == ("012345678", {DAMAGED: 1})


def test_every_byte_flipped_costs_a_record_at_most(tmp_path: Path) -> None:
    """And never an error: FastWARC's own panics included."""
    data = b"".join(PACKED[:4])
    for place in range(0, len(data), 7):
        urls, counts = read(tmp_path, flipped(data, place))
        assert len(urls) >= 3 and set(urls) <= set("0123"), place
        assert len(urls) == 4 or counts, place


def test_a_huge_record_is_left_out_and_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(warc_records, "MOST_BYTES", 2_000)
    huge = warc_record("metadata", "https://x.example/H", b"a" * 2_001)
    data = b"".join([*PACKED[:2], gzip.compress(huge), *PACKED[2:]])
    assert read(tmp_path, data) == ("0123456789", {TOO_LARGE: 1})


def test_an_error_of_the_storage_is_no_damage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Broken:
        def __init__(self, handle: object) -> None:
            self.reads = 0
            self.handle = handle

        def read(self, size: int = -1) -> bytes:
            self.reads += 1
            if self.reads > 1:
                raise OSError(5, "Input/output error")
            return b"".join(PACKED)[:size]

        def tell(self) -> int:
            return 0

    file = tmp_path / "x.wat.gz"
    file.write_bytes(b"".join(PACKED))
    monkeypatch.setattr(warc_records, "Watched", lambda handle: _watched(Broken(handle)))
    with pytest.raises(OSError, match="Input/output"):
        list(records(str(file), "metadata", Remarks()))


def _watched(broken: object) -> object:
    from curate.read.warc_bytes import Watched

    return Watched(broken)  # type: ignore[arg-type]
