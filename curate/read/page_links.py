"""The links of a web page that matter here, from its HTML, as a WAT file of Common Crawl has them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from curate.read.crawl_links import IMAGE_PATH, LICENCES

#: Attributes of an image that may be its text.
_TEXTS = ("alt", "title", "data-image-title")
_IMAGE = re.compile(rb"<img", re.IGNORECASE)


def page_text(body: bytes, charset: str | None) -> str:
    """A page as text: in the encoding that the server named, else in the one that the page names or looks like. Bytes
    that do not fit are U+FFFD."""
    from resiliparse.parse.encoding import bytes_to_str, detect_encoding, map_encoding_to_html5

    named = map_encoding_to_html5(charset, fallback_utf8=False) if charset else None
    encoding = named or detect_encoding(body, from_html_meta=True) or "utf-8"
    return str(bytes_to_str(body, encoding, errors="replace", fallback_encodings=()))


def may_have_images(body: bytes, charset: str | None) -> bool:
    return bool(_IMAGE.search(body)) or (charset or "").lower().startswith("utf-16")


def links(text: str) -> tuple[list[dict[str, str]], str | None]:
    """Images, and links to licences, in the order of a WAT file (a link is noted where it ends); and the base that the
    head declares."""
    from resiliparse.parse.html import HTMLTree, traverse_dom

    document = HTMLTree.parse(text).document
    root = document.document_element if document is not None else None
    page = _Links()
    if root is not None:
        traverse_dom(root, page.see, elements_only=True)
    return [*page.images, *page.ended(0)], page.base


class _Links:
    def __init__(self) -> None:
        self.images: list[dict[str, str]] = []
        self.base: str | None = None
        #: Links that have begun, with how deep they lie.
        self._open: list[tuple[int, str]] = []

    def see(self, place: Any) -> None:
        node, tag = place.node, place.node.tag
        if self._open:
            self.images += self.ended(place.depth)
        if tag == "img":
            url = node.getattr("src")
            if url is not None:
                texts = {name: text for name in _TEXTS if (text := node.getattr(name)) is not None}
                self.images.append({"path": IMAGE_PATH, "url": url, **texts})
        elif tag == "a":
            url = node.getattr("href")
            if url is not None and LICENCES in url:
                self._open.append((place.depth, url))
        elif tag == "base" and self.base is None:
            self.base = node.getattr("href")

    def ended(self, depth: int) -> Iterator[dict[str, str]]:
        """Links that ended before an element at this depth began."""
        while self._open and self._open[-1][0] >= depth:
            yield {"path": "A@/href", "url": self._open.pop()[1]}
