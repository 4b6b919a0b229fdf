"""WAT files of Common Crawl: which links become rows, and what is said of the others."""

from __future__ import annotations

import datetime
import gzip
import json
from pathlib import Path
from typing import Any
from urllib.parse import urljoin

import pyarrow as pa
import pytest
from conftest import HERE, column
from crawl_files import image, members, warc_record, wat_page, write_crawl
from hypothesis import given, settings
from hypothesis import strategies as st

from curate.errors import CurateError
from curate.read import crawl_links as links
from curate.read.inputs import wat
from curate.read.step import ReadOptions, read
from curate.record import uid
from curate.store.store import Store
from curate.store.view import View

PAGE = "https://x.example/p/"


def pairs(
    tmp_path: Path, page: list[dict[str, Any]], rules: str, base: str | None = None
) -> list[tuple[str, str, str]]:
    """(url, text, kind) of a page's links."""
    file = write_crawl(tmp_path / "x.wat.gz", [wat_page(PAGE, page, base)])
    return [
        (row["url"], row["text"], row["kind"]) for batch in wat.read(file, links=rules) for row in batch.to_pylist()
    ]


def remarks(tmp_path: Path, page: Any, rules: str = "laion") -> dict[str, int]:
    return wat.scan(write_crawl(tmp_path / "x.wat.gz", [wat_page(PAGE, page)]), rules).remarks.counts


def in_store(tmp_path: Path, file: str, name: str = "store", **options: Any) -> View:
    return read(Store(str(tmp_path / name)), ReadOptions(input=file, **options), HERE)


@pytest.mark.parametrize("rules", ["laion", "metaclip2"])
def test_a_url_is_joined_and_a_text_is_one_line(rules: str, tmp_path: Path) -> None:
    assert pairs(tmp_path, [image("/a.jpg", " A\ncat ")], rules) == [("https://x.example/a.jpg", "A cat", "alt")]


def test_cc2dataset_keeps_texts_as_they_are(tmp_path: Path) -> None:
    page = [image("/a.jpg", " A\ncat "), image("b.svg", "x"), image("c.jpg", "")]
    assert pairs(tmp_path, page, "cc2dataset") == [
        ("https://x.example/a.jpg", " A\ncat ", "alt"),
        ("https://x.example/p/b.svg", "x", "alt"),
    ]


def test_metaclip2_takes_every_text(tmp_path: Path) -> None:
    page = [
        image("a.jpg", "an alt", title="a\r\ntitle", data_image_title="data"),
        image("b.jpg", " \n", title="x"),
        {"path": "IMG@/srcset", "url": "c.jpg", "alt": "of a set"},
    ]
    assert pairs(tmp_path, page, "metaclip2") == [
        ("https://x.example/p/a.jpg", "an alt", "alt"),
        ("https://x.example/p/a.jpg", "a  title", "title"),
        ("https://x.example/p/a.jpg", "data", "data-image-title"),
        ("https://x.example/p/b.jpg", "x", "title"),
        ("https://x.example/p/c.jpg", "of a set", "alt"),
    ]


def test_laion_repairs_texts(tmp_path: Path) -> None:
    page = [image("a.jpg", "Le caf\u00c3\u00a9 &amp; the\u200b dog"), image("b.jpg", "five\x1b[31m!")]
    assert [text for _, text, _ in pairs(tmp_path, page, "laion")] == ["Le café & the dog", "five!"]


@pytest.mark.parametrize(
    ("link", "kind"),
    [
        (image("a.jpg", "four"), links.TOO_SHORT),
        (image("a.jpg"), links.NO_TEXT),
        (image("a.jpg", "\n \t"), links.NO_TEXT),
        (image("", "a caption"), links.NO_URL),
        ({"path": "IMG@/src", "alt": "a caption"}, links.NO_URL),
        (image("a.SVG.svg?x", "a caption"), links.UNWANTED),
        (image("a.gif", "a caption"), links.UNWANTED),
        (image("data:image/png;base64,AA", "a caption"), links.UNWANTED),
        (image("javascript:x()", "a caption"), links.UNWANTED),
        (image("ftp://x.example/a.jpg", "a caption"), links.NOT_HTTP),
        (image("http://[::1/a.jpg", "a caption"), None),
        (image("//[::1/a.jpg", "a caption"), links.NOT_HTTP),
        (image(f"https://{'a' * 61}/a.jpg", "a caption"), links.LONG_HOST),
        (image(f"https://{'a' * 60}/a.jpg", "a caption"), None),
        ({"path": "A@/href", "url": "a.jpg", "alt": "a caption"}, None),
    ],
)
def test_every_link_that_laion_drops_is_counted_by_its_reason(link: Any, kind: str | None, tmp_path: Path) -> None:
    kept = [image("/kept.jpg", "a caption")]
    assert remarks(tmp_path, [*kept, link]) == ({kind: 1} if kind else {})


def test_what_laion_cuts(tmp_path: Path) -> None:
    page = [image("https://x.example/" + "u" * 3000, "t" * 3000)]
    [(url, text, _)] = pairs(tmp_path, page, "laion")
    assert (len(url), len(text)) == (2000, 2000)
    assert remarks(tmp_path, page) == {links.CUT_TEXT: 1, links.CUT_URL: 1}


def test_of_equal_pairs_the_first_one_is_taken(tmp_path: Path) -> None:
    page = [image("/a.jpg", "a cat here"), image("https://x.example/a.jpg", "a cat here"), image("/a.jpg", "another")]
    assert [text for _, text, _ in pairs(tmp_path, page, "laion")] == ["a cat here", "another"]
    assert remarks(tmp_path, page) == {links.DUPLICATE: 1}


def test_the_base_that_the_head_declares(tmp_path: Path) -> None:
    page = [image("a.jpg", "a cat here")]
    assert pairs(tmp_path, page, "laion", "/q/")[0][0] == "https://x.example/q/a.jpg"
    assert pairs(tmp_path, page, "laion", "http://[")[0][0] == "https://x.example/p/a.jpg"


def test_rows_in_a_store(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    licence = {"path": "A@/href", "url": "https://creativecommons.org/licenses/by/4.0/"}
    page = [image("/a.jpg", "a cat here"), licence, image("/b.jpg", "a dog there"), image("/c.jpg", "no")]
    view = in_store(tmp_path, write_crawl(tmp_path / "x.wat.gz", [wat_page(PAGE, page)]))
    assert column(view, "uid") == [
        uid("https://x.example/a.jpg", "a cat here"),
        uid("https://x.example/b.jpg", "a dog there"),
    ]
    assert column(view, "kind", "page_url", "cc_filename", "license") == [
        ("alt", PAGE, "CC-MAIN-00000.warc.gz", None),
        ("alt", PAGE, "CC-MAIN-00000.warc.gz", "https://creativecommons.org/licenses/by/4.0/"),
    ]
    assert column(view, "crawl_time")[0] == datetime.datetime(2024, 2, 20, 20, 1, 2, tzinfo=datetime.timezone.utc)
    assert f"2 rows, url <- url, text <- text, 1 {links.TOO_SHORT}" in " ".join(capsys.readouterr().err.split())


def test_odd_pages(tmp_path: Path) -> None:
    good = wat_page(PAGE, [image("/good.jpg", "a caption")])
    body = json.dumps({"Envelope": "IMG@/src"}).encode()
    file = write_crawl(
        tmp_path / "x.wat.gz",
        [
            warc_record("warcinfo", "", b"software: x"),
            wat_page("https://x.example/none", None),
            wat_page("https://x.example/odd", {"IMG@/src": 1}),
            wat_page(
                "https://x.example/mixed", [None, 3, {"path": None}, {"path": ["IMG@/src"]}, image("/m.jpg", "mixed")]
            ),
            warc_record("metadata", "https://x.example/cut", b'{"Envelope": {"IMG@/src'),
            warc_record("metadata", "https://x.example/text", body),
            warc_record("metadata", "https://x.example/deep", b'{"IMG@/src":' + b"[" * 100_000),
            good.replace(b"a caption", b"a \xe9aption"),
        ],
    )
    scan = wat.scan(file)
    rows = [row for batch in wat.read(file) for row in batch.to_pylist()]
    assert [(row["url"], row["text"]) for row in rows] == [
        ("https://x.example/m.jpg", "mixed"),
        ("https://x.example/good.jpg", "a \ufffdaption"),
    ]
    assert scan.rows == len(rows) and scan.remarks.counts[wat.NO_PAGE] == 3 and scan.remarks.counts[wat.NOT_UTF8] == 1


def test_halves_of_characters(tmp_path: Path) -> None:
    page = json.loads(wat_page(PAGE, [image("/a.jpg", "x")]).split(b"\r\n\r\n")[1])
    page["Envelope"]["Payload-Metadata"]["HTTP-Response-Metadata"]["HTML-Metadata"]["Links"][0]["alt"] = (
        "half \ud83d of one"
    )
    file = write_crawl(tmp_path / "x.wat.gz", [warc_record("metadata", PAGE, json.dumps(page).encode())])
    assert [row["text"] for batch in wat.read(file) for row in batch.to_pylist()] == ["half \ufffd of one"]


def test_a_damaged_file_of_several(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Its other records are rows, and one line says what was lost; shards hold rows of both files."""
    folder = tmp_path / "crawl"
    folder.mkdir()
    for name in "ab":
        pages = [wat_page(f"https://{name}{n}.example/", [image(f"/{n}.jpg", f"caption {n}")]) for n in range(8)]
        packed = members(pages)
        if name == "a":
            packed[2] = packed[2][:40] + b"\xff\xff\xff" + packed[2][43:]
        (folder / f"{name}.warc.wat.gz").write_bytes(b"".join(packed))
    view = in_store(tmp_path, str(folder), rows_per_shard=4)
    urls = [f"https://a{n}.example/{n}.jpg" for n in range(8) if n != 2]
    assert column(view, "url") == urls + [f"https://b{n}.example/{n}.jpg" for n in range(8)]
    assert "1 place(s) where WARC files are damaged" in " ".join(capsys.readouterr().err.split())


def test_other_rules_are_another_input(tmp_path: Path) -> None:
    file = write_crawl(tmp_path / "x.wat.gz", [wat_page(PAGE, [image("/a.jpg", "a cat here", title="a title")])])
    view = in_store(tmp_path, file)
    assert in_store(tmp_path, file).store.shard_rows() == view.store.shard_rows()
    with pytest.raises(CurateError, match="read with link_rules: laion, not with link_rules: metaclip2"):
        in_store(tmp_path, file, link_rules="metaclip2")
    in_store(tmp_path, file, "other", link_rules="metaclip2")
    with pytest.raises(CurateError, match="read with link_rules: metaclip2, not with link_rules: laion"):
        in_store(tmp_path, file, "other")


def test_a_list_of_paths(tmp_path: Path) -> None:
    """`wat.paths.gz` of a crawl: paths begin above the list."""
    folder = tmp_path / "crawl-data" / "CC-MAIN-2024-10"
    (folder / "wat").mkdir(parents=True)
    for n in range(3):
        write_crawl(folder / "wat" / f"{n}.warc.wat.gz", [wat_page(PAGE, [image(f"/{n}.jpg", "a cat here")])])
    lines = "".join(f"crawl-data/CC-MAIN-2024-10/wat/{n}.warc.wat.gz\n" for n in (0, 2))
    (folder / "wat.paths.gz").write_bytes(gzip.compress(lines.encode()))
    view = in_store(tmp_path, str(folder / "wat.paths.gz"))
    assert column(view, "url") == ["https://x.example/0.jpg", "https://x.example/2.jpg"]
    (folder / "empty.paths").write_bytes(b"\n")
    with pytest.raises(CurateError, match="lists no files"):
        in_store(tmp_path, str(folder / "empty.paths"), "other")


def test_from_s3(tmp_path: Path, s3: str) -> None:
    import fsspec

    data = b"".join(members([wat_page(PAGE, [image("/a.jpg", "a cat here")])]))
    with fsspec.open(f"{s3}/crawl-data/x/0.warc.wat.gz", "wb") as handle:
        handle.write(data)
    with fsspec.open(f"{s3}/crawl-data/x/wat.paths", "wb") as handle:
        handle.write(b"crawl-data/x/0.warc.wat.gz\n")
    assert column(in_store(tmp_path, f"{s3}/crawl-data/x/wat.paths"), "text") == ["a cat here"]


def test_memory_is_that_of_a_record(tmp_path: Path) -> None:
    """The pages of a large file are never together in memory: batches come while it is read."""
    pages = [
        wat_page(f"https://x.example/{n}/", [image(f"{n}-{i}.jpg", f"caption {i}") for i in range(50)])
        for n in range(40)
    ]
    file = write_crawl(tmp_path / "x.wat.gz", pages)
    batches = wat.read(file, batch_rows=100)
    assert next(batches).num_rows == 100
    assert sum(batch.num_rows for batch in batches) == 1900
    assert pa.Table.from_batches(wat.read(file, 1990, 100)).num_rows == 10


def test_without_the_extra_one_line_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("curate.messages.packages._installed", lambda name: name != "fastwarc")
    file = write_crawl(tmp_path / "x.wat.gz", [wat_page(PAGE, [image("/a.jpg", "a cat here")])])
    with pytest.raises(CurateError, match=r"needs the package 'fastwarc': pip install"):
        in_store(tmp_path, file)


@settings(deadline=None, max_examples=600)
@given(
    st.text("/a.b?#;:&=%@[]é -_~\\", max_size=12),
    st.sampled_from(
        ["https://x.example/p/q", "http://x.example:80?a", "https://u:p@x.example/", "https://[::1]/a", "ftp://x/"]
    ),
)
def test_joining_is_urljoin(url: str, base: str) -> None:
    try:
        expected = urljoin(base, url)
    except ValueError:
        expected = ""
    assert links.joined(base, url) == expected


@pytest.mark.parametrize(
    "url", ["/a", "/a/b.jpg", "/a//b", "/a/./b", "/a/../b", "/.b", "/a?", "/a?x=1", "/a?x#y", "//h/a", "/a;b", "/"]
)
def test_plain_paths_join_as_urljoin_does(url: str) -> None:
    for base in ("https://x.example/p/q?r#s", "http://x.example", "https://X.example:8080/p"):
        assert links.joined(base, url) == urljoin(base, url)
