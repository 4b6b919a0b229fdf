"""WARC files: a page's rows are those of its WAT; what is no page is counted."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import brotli
import pytest
from conftest import HERE, column
from crawl_files import image, members, warc_page, warc_record, wat_page, write_crawl

from curate.read.inputs import warc, wat
from curate.read.step import ReadOptions, read
from curate.store.store import Store

PAGE = "https://x.example/p/"

HTML = """<!DOCTYPE html>
<html><head><title>A page</title><base href="/q/"><base href="/other/"></head>
<body>
<img src="a.jpg" alt=" A
cat " title="The &amp; cat" data-image-title='said of it'>
<a href="https://creativecommons.org/licenses/by/4.0/"><img src="in_the_link.jpg" alt="before its end"></a>
<p><IMG ALT="capital letters" SRC="//cdn.example/B.jpg?x=1&amp;y=2">
<noscript><img src=noscript.jpg alt="without a script"></noscript>
<!-- <img src="comment.jpg" alt="in a comment"> -->
<script>document.write('<img src="script.jpg" alt="in a script">')</script>
<img alt="no source"><img src="" alt="an empty source">
<picture><source srcset="big.webp"><img src="picture.jpg" alt="in a picture"></picture>
<a href="https://creativecommons.org/licenses/by-sa/4.0/">licence</a><img src="last.jpg" alt="the last one">
</body></html>
"""

#: The same page as Common Crawl's WAT writer sees it.
LINKS = [
    image("a.jpg", " A\ncat ", title="The & cat", data_image_title="said of it"),
    image("in_the_link.jpg", "before its end"),
    {"path": "A@/href", "url": "https://creativecommons.org/licenses/by/4.0/"},
    image("//cdn.example/B.jpg?x=1&y=2", "capital letters"),
    image("noscript.jpg", "without a script"),
    image("", "an empty source"),
    image("picture.jpg", "in a picture"),
    {"path": "A@/href", "url": "https://creativecommons.org/licenses/by-sa/4.0/", "text": "licence"},
    image("last.jpg", "the last one"),
]


def rows(file: str, module: Any = warc, rules: str = "laion") -> list[dict[str, Any]]:
    return [row for batch in module.read(file, links=rules) for row in batch.to_pylist()]


@pytest.mark.parametrize("rules", ["laion", "metaclip2", "cc2dataset"])
def test_a_page_has_the_rows_of_its_wat(rules: str, tmp_path: Path) -> None:
    from_html = write_crawl(tmp_path / "CC-MAIN-00000.warc.gz", [warc_page(PAGE, HTML.encode())])
    from_links = write_crawl(tmp_path / "CC-MAIN-00000.warc.wat.gz", [wat_page(PAGE, LINKS, "/q/")])
    assert rows(from_html, warc, rules) == rows(from_links, wat, rules)
    assert warc.scan(from_html, rules).remarks.counts == wat.scan(from_links, rules).remarks.counts
    assert len(rows(from_html, warc, rules)) == {"laion": 6, "metaclip2": 8, "cc2dataset": 6}[rules]


def test_rows_of_laion(tmp_path: Path) -> None:
    pairs = rows(write_crawl(tmp_path / "CC-MAIN-00000.warc.gz", [warc_page(PAGE, HTML.encode())]))
    assert [(row["url"], row["text"], (row["license"] or "")[-8:]) for row in pairs] == [
        ("https://x.example/q/a.jpg", "A cat", ""),
        ("https://x.example/q/in_the_link.jpg", "before its end", ""),
        ("https://cdn.example/B.jpg?x=1&y=2", "capital letters", "/by/4.0/"),
        ("https://x.example/q/noscript.jpg", "without a script", "/by/4.0/"),
        ("https://x.example/q/picture.jpg", "in a picture", "/by/4.0/"),
        ("https://x.example/q/last.jpg", "the last one", "-sa/4.0/"),
    ]
    assert {(row["page_url"], row["cc_filename"]) for row in pairs} == {(PAGE, "CC-MAIN-00000.warc.gz")}


PLAIN = '<img src="a.jpg" alt="Le café">'


@pytest.mark.parametrize(
    ("html", "options", "text"),
    [
        (PLAIN.encode(), {"kind": "text/html; charset=utf-8"}, "Le café"),
        (PLAIN.encode("latin-1"), {"kind": "text/html; charset=ISO-8859-1"}, "Le café"),
        (b'<meta charset="windows-1252">' + PLAIN.encode("cp1252"), {}, "Le café"),
        (PLAIN.encode("utf-16"), {"kind": "text/html; charset=utf-16"}, "Le café"),
        (PLAIN.encode("latin-1"), {"kind": "text/html; charset=utf-8"}, "Le caf\ufffd"),
        (PLAIN.encode(), {"kind": "text/html; charset=no-such"}, "Le café"),
        (gzip.compress(PLAIN.encode()), {"more": "Content-Encoding: gzip\r\n"}, "Le café"),
        (brotli.compress(PLAIN.encode()), {"more": "Content-Encoding: br\r\n"}, "Le café"),
        (b"20\r\n" + PLAIN.encode() + b"\r\n0\r\n\r\n", {"more": "Transfer-Encoding: chunked\r\n"}, "Le café"),
        # Declared and not done: crawlers store bodies unpacked.
        (PLAIN.encode(), {"more": "Content-Encoding: gzip\r\n"}, "Le café"),
        (PLAIN.encode(), {"kind": "application/xhtml+xml"}, "Le café"),
    ],
)
def test_encodings_and_codings(html: bytes, options: dict[str, str], text: str, tmp_path: Path) -> None:
    file = write_crawl(tmp_path / "x.warc.gz", [warc_page(PAGE, html, **options)])
    assert [row["text"] for row in rows(file)] == [text]
    assert (warc.NOT_ENCODED in warc.scan(file).remarks.counts) == ("\ufffd" in text)


def test_what_is_no_page_is_counted(tmp_path: Path) -> None:
    file = write_crawl(
        tmp_path / "x.warc.gz",
        [
            warc_record("warcinfo", "", b"software: x"),
            warc_record("request", PAGE, b"GET / HTTP/1.1\r\n\r\n", "application/http; msgtype=request"),
            warc_page("https://x.example/404", PLAIN.encode(), status="404 Not Found"),
            warc_page("https://x.example/j", b"{}", kind="application/json"),
            warc_record("response", "https://x.example/dns", b"no HTTP", "text/dns"),
            warc_page("https://x.example/text", b"<p>no images"),
            warc_page("https://x.example/empty", b""),
            warc_page(PAGE, PLAIN.encode()),
        ],
    )
    scan = warc.scan(file)
    assert scan.rows == 1 and scan.remarks.counts == {warc.NO_PAGE: 3}


def test_hostile_pages_end_and_cost_themselves(tmp_path: Path) -> None:
    bomb = gzip.compress(b"<img " * 20_000_000)
    many = b"".join(b'<div><img src="%d.jpg" alt="number %d"></div>' % (n, n) for n in range(3000))
    pages = [
        warc_page("https://x.example/deep", b"<div>" * 100_000 + b'<img src="deep.jpg" alt="deep down">'),
        warc_page("https://x.example/bomb", bomb, more="Content-Encoding: gzip\r\n"),
        warc_page("https://x.example/open", b'<img src="open.jpg" alt="' + b"x" * 100_000),
        warc_page("https://x.example/many", many),
        warc_page("https://x.example/zero", b'<img src="z\x00.jpg" alt="z\x00ero">'),
    ]
    urls = [row["url"] for row in rows(write_crawl(tmp_path / "x.warc.gz", pages))]
    assert urls[0] == "https://x.example/deep.jpg" and len([url for url in urls if url[-8:-4].isdigit()]) == 2000
    assert len(urls) >= 3001


def test_a_damaged_file_and_a_folder_of_both_kinds(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pages = [warc_page(f"https://x{n}.example/", PLAIN.encode()) for n in range(6)]
    packed = members(pages)
    packed[1] = packed[1][:-20]
    (tmp_path / "x.warc.gz").write_bytes(b"".join(packed)[:-10])
    write_crawl(tmp_path / "x.warc.wat.gz", [wat_page(PAGE, LINKS)])
    view = read(Store(str(tmp_path / "store")), ReadOptions(input=f"{tmp_path}/*.warc.gz"), HERE)
    assert column(view, "url") == [f"https://x{n}.example/a.jpg" for n in (0, 2, 3, 4)]
    assert "2 place(s) where WARC files are damaged" in " ".join(capsys.readouterr().err.split())
