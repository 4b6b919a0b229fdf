"""Entry lists: what is read, what is refused and how, what the small list holds."""

from __future__ import annotations

import gzip
import json
import logging
from pathlib import Path

import pytest
import zstandard

from curate.errors import CurateError
from curate.metaclip.entry_list import build_small, describe, load
from curate.metadata.wordnet import synset_names

ENTRIES = ["Photo", "photo", "dog house", "St. Louis", "caf\u00e9", "line\u2028end", "7"]


def test_json_keeps_order_and_capitals(tmp_path: Path) -> None:
    path = tmp_path / "metadata.json"
    path.write_text(json.dumps(ENTRIES))
    assert load(str(path)) == ENTRIES
    packed = tmp_path / "metadata.json.gz"
    packed.write_bytes(gzip.compress(json.dumps(ENTRIES, ensure_ascii=False).encode()))
    assert load(str(packed)) == ENTRIES


@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize(
    ("name", "pack"),
    [("e.txt", bytes), ("e.txt.gz", gzip.compress), ("e.txt.zst", zstandard.ZstdCompressor().compress)],
)
def test_text_one_a_line(tmp_path: Path, name: str, pack, end: str) -> None:  # type: ignore[no-untyped-def]
    (tmp_path / name).write_bytes(pack((end.join(ENTRIES) + end + end).encode()))
    assert load(str(tmp_path / name)) == ENTRIES


def test_repeats_are_dropped_and_reported(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "metadata.json"
    path.write_text('["dog", "cat", "dog", "Dog"]')
    with caplog.at_level(logging.WARNING):
        assert load(str(path)) == ["dog", "cat", "Dog"]
    assert "1 repeated entries dropped" in caplog.text


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"a": 1}', "JSON holds a dict, expected a list of strings"),
        ('["a", 3]', "item 1 is int 3, expected a string"),
        ('["a", null]', "item 1 is NoneType None"),
        ('["\\ud800"]', "half a surrogate pair"),
        ("[]", "no entries"),
        ('["a"', "not JSON"),
        ("version https://git-lfs.github.com/spec/v1", "a git-lfs pointer"),
    ],
)
def test_wrong_json_is_explained(tmp_path: Path, content: str, message: str) -> None:
    path = tmp_path / "metadata.json"
    path.write_text(content)
    with pytest.raises(CurateError, match=message):
        load(str(path))


def test_missing_empty_and_binary_files(tmp_path: Path) -> None:
    with pytest.raises(CurateError, match=r"no file .*none\.json"):
        load(str(tmp_path / "none.json"))
    (tmp_path / "empty.txt").write_text("\n\n")
    with pytest.raises(CurateError, match="no entries"):
        load(str(tmp_path / "empty.txt"))
    (tmp_path / "binary.txt").write_bytes(b"a\xff\xfe")
    with pytest.raises(CurateError, match=r"not UTF-8 text .* at byte 1"):
        load(str(tmp_path / "binary.txt"))


def wordnet(folder: Path) -> Path:
    (folder / "data.noun").write_text(
        "  1 This software and database is provided\n"
        "00001740 03 n 01 entity 0 003 ~ 00001930 n 0000 | that which is\n"
        "00002000 03 n 02 Dog_house 0 kennel 0 000 | a house\n"
        "00002001 03 n 01 a.k.a. 0 000 | also\n"
    )
    (folder / "data.adj").write_text("00002002 00 s 01 galore(ip) 0 000 | in great numbers\n")
    return folder


def test_synset_names(tmp_path: Path) -> None:
    assert list(synset_names(str(wordnet(tmp_path)))) == ["galore", "entity", "dog house", "a"]
    assert list(synset_names(str(tmp_path / "none"))) == []


@pytest.mark.slow
def test_build_small() -> None:
    entries = build_small(words=1000)
    assert entries[:103] == [*(str(n) for n in range(100)), "the", "to", "and"]
    assert {"the", "house"} < set(entries)
    assert "House" not in entries
    assert "House" in build_small(words=1000, capitalised=True)
    assert describe(entries)["duplicates"] == 0
    assert not {"", ".", "-"} & set(entries)


@pytest.mark.slow
def test_describe() -> None:
    assert describe(["a", "a", "a", "U.S.", "dog house"]) == {
        "entries": 5, "duplicates": 2, "unmatchable": 1, "several_words": 1,
    }  # fmt: skip
