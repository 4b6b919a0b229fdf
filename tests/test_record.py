"""uids, sample keys, and columns found by their usual names."""

from __future__ import annotations

import hashlib
import random
import sys

import pyarrow as pa
import pytest

from curate import record


@pytest.mark.parametrize(
    ("url", "text", "joined"),
    [
        ("http://a/b.jpg", "a dog", b"a doghttp://a/b.jpg"),
        (None, "a dog", b"a dog"),
        ("http://a", None, b"http://a"),
        (None, None, b""),
        ("u", "é\0\n", "é\0\nu".encode()),
        ("u", "\ud83d", b"\xed\xa0\xbdu"),
    ],
)
def test_uid_is_md5_of_caption_then_url(url, text, joined):
    assert record.uid(url, text) == hashlib.md5(joined).hexdigest()
    assert record.UID.match(record.uid(url, text))


def test_uids_of_columns():
    urls, texts = pa.chunked_array([["a"], [None, "c"]]), pa.chunked_array([["x", "y"], [None]])
    assert record.uids(urls, texts).to_pylist() == [record.uid("a", "x"), record.uid(None, "y"), record.uid("c", None)]


@pytest.mark.parametrize("own", [True, False])
def test_uids_of_many_rows_are_each_row_s(own, monkeypatch):
    """Also where Python was built without md5 of its own."""
    if not own:
        monkeypatch.setitem(sys.modules, "_md5", None)
    random_ = random.Random(0)
    pairs = [
        tuple(random_.choice([None, "", "é\0🐕" * random_.randint(1, 40)]) for _ in range(2)) for _ in range(2_345)
    ]
    urls, texts = (pa.chunked_array([column[:7], column[7:]], pa.large_string()) for column in zip(*pairs, strict=True))
    expected = [record.uid(url, text) for url, text in pairs]
    uids = record.uids(urls.slice(5), texts.slice(5))
    uids.validate(full=True)
    assert uids.to_pylist() == expected[5:] and uids.type == pa.string()
    assert record.uids(urls.slice(0, 0), texts.slice(0, 0)).to_pylist() == []


@pytest.mark.parametrize(
    ("names", "url", "text"),
    [
        (["URL", "TEXT"], "URL", "TEXT"),
        (["Url", "Alt", "n"], "Url", "Alt"),
        (["iMaGe_UrL", "CaPtIoN"], "iMaGe_UrL", "CaPtIoN"),
        (["URL", "url", "title", "text", "alt"], "url", "text"),
        (["picture", "words"], None, None),
        ([], None, None),
    ],
)
def test_find(names, url, text):
    assert record.find("url", names, record.URL_NAMES) == url
    assert record.find("text", names, record.TEXT_NAMES) == text


def test_sample_key_has_room_for_every_row():
    assert record.sample_key(0, 0, 1) == "000000"
    assert record.sample_key(99_999, 9_999, 10_000) == "999999999"
    assert record.sample_key(3, 10_000, 10_001) == "0000310000"
