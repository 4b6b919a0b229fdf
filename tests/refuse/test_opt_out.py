"""Opt-out lists in their forms, and the file of keys that is made of them."""

from __future__ import annotations

import bz2
import gzip
import lzma

import polars as pl
import pytest

from curate.errors import CurateError
from curate.refuse.list_check import list_faults
from curate.refuse.lists import read_list
from curate.refuse.opt_out import lists_id, lists_kept, opened
from curate.store.store import Store

SHA, MD5 = "ab" * 32, "cd" * 16


def read(file, kind: str = "") -> dict[str, list[str]]:
    named: dict[str, list[str]] = {}
    for which, texts in read_list(str(file), kind):
        named.setdefault(which, []).extend(texts.to_list())
    return named


def test_a_list_of_lines(tmp_path):
    lines = ["# opted out", "", "https://a.test/1.jpg", "b.test", " *.c.test ", SHA, MD5.upper(), "d.test/2.png"]
    (tmp_path / "list.txt").write_text("\n".join(lines))
    (tmp_path / "list.txt.gz").write_bytes(gzip.compress("\r\n".join(lines).encode()))
    expected = {
        "url": ["https://a.test/1.jpg", "d.test/2.png"],
        "host": ["b.test", "*.c.test"],
        "sha256": [SHA],
        "md5": [MD5.upper()],
    }
    assert read(tmp_path / "list.txt") == read(tmp_path / "list.txt.gz") == expected
    assert read(tmp_path / "list.txt", "url")["url"] == [line.strip() for line in lines[2:]]


def test_tables_with_the_usual_columns(tmp_path):
    frame = pl.DataFrame({"URL": ["http://a.test/1", None], "domain": ["b.test", "c.test"], "note": ["x", "y"]})
    frame.write_csv(tmp_path / "list.csv")
    frame.write_parquet(tmp_path / "list.parquet")
    pl.DataFrame({"md5": [bytes.fromhex(MD5)]}).write_parquet(tmp_path / "hashes.parquet")
    expected = {"url": ["http://a.test/1"], "host": ["b.test", "c.test"]}
    assert read(tmp_path / "list.csv") == read(tmp_path / "list.parquet") == expected
    assert read(tmp_path / "hashes.parquet") == {"md5": [MD5]}
    with pytest.raises(CurateError, match=r"has no column called uid; it has URL, domain, note"):
        read(tmp_path / "list.csv", "uid")
    with pytest.raises(CurateError, match=r"none\.txt' cannot be read"):
        read(tmp_path / "none.txt")


def test_keys_of_lists_are_made_once_and_mapped(tmp_path):
    urls = [f"http://a.test/{n}.jpg" for n in range(5000)]
    (tmp_path / "one.txt").write_text("\n".join(urls[:3000]))
    (tmp_path / "two.txt").write_text("\n".join([*urls[2000:], "b.test"]))
    store = Store(str(tmp_path / "store"))
    files = [str(tmp_path / "one.txt"), str(tmp_path / "two.txt")]
    name = lists_kept(store, files)
    named = opened(store, name)
    assert len(named.keys) == 5001 and named.kinds == {"url", "host"}
    asked = pl.Series([*urls, "http://a.test/5000.jpg", "http://x.b.test/", None])
    assert named.by({"url": asked}).tolist() == ["url"] * 5000 + [None, "host", None]
    assert lists_kept(store, files[::-1]) == name, "the order of the files says nothing"
    (tmp_path / "two.txt").write_text("c.test")
    assert lists_id(files) not in name
    (tmp_path / "store" / name).write_bytes((tmp_path / "store" / name).read_bytes()[:-1])
    with pytest.raises(CurateError, match="is damaged"):
        opened(store, name)
    assert lists_kept(store, []) == "" == lists_id([])


CUT = gzip.compress(bytes(range(97, 123)) * 5000)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("page.txt", b"<!DOCTYPE html>\n<html><p>Not found</html>", "'<!DOCTYPE html>' is no host"),
        ("words.txt", b"b.test\nmy own pictures", "'my own pictures' is no host"),
        ("hashes.csv", b"sha256\nab12\n", "'ab12' is no sha256 (64 hex digits)"),
        ("hashes.csv", b"md5\n" + SHA.encode(), "is no md5 (32 hex digits)"),
        ("table.csv", b"link\nhttp://a.test/1\n", "has no column called url, domain, sha256, md5, uid; it has link"),
        ("table.parquet", b"PAR1 and nothing more PAR1", "table.parquet' cannot be read"),
        ("cut.txt.gz", CUT[:-20], "cut.txt.gz' cannot be read"),
        ("broken.txt.gz", CUT[:30] + b"xxxxxxxx" + CUT[38:], "broken.txt.gz' cannot be read"),
        ("cut.csv.bz2", bz2.compress(b"url\nhttp://a.test/1\n" * 99)[:-9], "cut.csv.bz2' cannot be read"),
        ("plain.txt.xz", b"b.test", "plain.txt.xz' cannot be read"),
        ("cut.txt.xz", lzma.compress(b"b.test\n" * 99)[:-9], "cut.txt.xz' cannot be read"),
        ("plain.txt.zst", b"b.test", "plain.txt.zst' cannot be read"),
    ],
)
def test_what_is_wrong_with_a_list(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    (tmp_path / "good.txt").write_text("b.test")
    (fault,) = list_faults([str(tmp_path / "good.txt"), str(tmp_path / name)])
    assert fault.startswith("opt_out: the list '") and message in fault
    with pytest.raises(CurateError, match="the list '"):
        lists_kept(Store(str(tmp_path / "store")), [str(tmp_path / name)])


def test_a_good_list_and_none_have_no_fault(tmp_path):
    (tmp_path / "list.txt").write_text(f"# ours\nhttp://a.test/a b.jpg?x=<1>\nm\u00fcller.test\n[::1]:80\n{SHA}\n")
    assert list_faults([str(tmp_path / "list.txt")]) == list_faults([]) == []
    assert "nothing is there" in list_faults([str(tmp_path / "none.txt")])[0]
