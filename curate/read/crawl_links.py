"""Pairs of image url and text among the links of a web page, by the rules of datasets that were made of Common Crawl.

Links are as a WAT file has them: {"path": "IMG@/src", "url": ..., "alt": ..., "title": ...}. In all rule sets a url is
joined with the page's base, only http and https are taken, and of pairs with the same md5(text + url) the first one is
(cc2dataset/main.py of rom1504/cc2dataset).
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal
from urllib.parse import urljoin, urlsplit

from curate.messages.remarks import Remarks

#: laion: as LAION-400M and LAION-5B were made (ccpp.py of rvencu/crawlingathome-gpu-hcloud), without its language
#: detection and its Bloom filters. metaclip2: metaclip/curation/parse_wat.py of facebookresearch/MetaCLIP.
#: cc2dataset: alt texts as they are.
LinkRules = Literal["laion", "metaclip2", "cc2dataset"]

#: How the path of an image's link begins.
IMAGE_PATH = "IMG@/src"

NO_TEXT = "image link(s) without a text"
NO_URL = "image link(s) without a url"
NOT_HTTP = "image url(s) that are not http or https"
DUPLICATE = "pair(s) of the same url and text in one file"

#: What of a link shows a licence.
LICENCES = "creativecommons.org/licenses/"
_LICENCE_CHARACTERS = 80

# What LAION's workers dropped and cut.
_LAION_SHORTEST = 5
_LAION_LONGEST = 2_000
_LAION_HOST = 60
_LAION_UNWANTED = (".svg", ".gif", "data:image", "javascript:")
TOO_SHORT = f"text(s) under {_LAION_SHORTEST} characters"
UNWANTED = f"image url(s) with {', '.join(_LAION_UNWANTED)}"
LONG_HOST = f"image url(s) whose host has more than {_LAION_HOST} characters"
CUT_TEXT = f"text(s) cut at {_LAION_LONGEST:,} characters"
CUT_URL = f"image url(s) cut at {_LAION_LONGEST:,} characters"


@dataclass(frozen=True, slots=True)
class Pair:
    """kind: the attribute that the text is of. license: the page's last link to a Creative Commons licence before the
    image, as LAION took it: a hint, and no statement about the image."""

    url: str
    text: str
    kind: str
    license: str | None


class Pairs:
    """The pairs of one file, page by page; what is dropped or cut is counted."""

    def __init__(self, rules: LinkRules, remarks: Remarks) -> None:
        self._rules, self._remarks = rules, remarks
        self._kinds = ("alt", "title", "data-image-title") if rules == "metaclip2" else ("alt",)
        self._clean = _CLEAN[rules]
        self._seen: set[bytes] = set()

    def of(self, links: Any, base: str) -> Iterator[Pair]:
        """Pairs of a page's links.

        base: what its urls are relative to.
        """
        license = None
        for link in links if isinstance(links, list) else ():
            if not isinstance(link, dict):
                continue
            url, path = link.get("url"), link.get("path")
            if isinstance(url, str) and LICENCES in url:
                license = url[:_LICENCE_CHARACTERS].replace("\n", "")
            if isinstance(path, str) and (path == IMAGE_PATH or self._of_other_path(path)):
                yield from self._of_image(link, url, base, license)

    def _of_other_path(self, path: str) -> bool:
        return self._rules == "metaclip2" and path.startswith(IMAGE_PATH)

    def _of_image(self, link: Mapping[str, Any], url: Any, base: str, license: str | None) -> Iterator[Pair]:
        texts = self._texts(link)
        if not texts:
            return
        if not isinstance(url, str) or not url:
            self._remarks.add(NO_URL)
            return
        url = self._joined(url, base)
        for kind, text in texts if url else ():
            key = hashlib.md5((text + url).encode(), usedforsecurity=False).digest()
            if key in self._seen:
                self._remarks.add(DUPLICATE)
                continue
            self._seen.add(key)
            yield Pair(url, text, kind, license)

    def _texts(self, link: Mapping[str, Any]) -> list[tuple[str, str]]:
        texts = [(kind, self._clean(link[kind])) for kind in self._kinds if isinstance(link.get(kind), str)]
        texts = [(kind, text) for kind, text in texts if text]
        if not texts:
            self._remarks.add(NO_TEXT)
        if self._rules != "laion":
            return texts
        long_enough = [(kind, text) for kind, text in texts if len(text) >= _LAION_SHORTEST]
        self._remarks.add(TOO_SHORT, len(texts) - len(long_enough))
        self._remarks.add(CUT_TEXT, sum(len(text) > _LAION_LONGEST for _, text in long_enough))
        return [(kind, text[:_LAION_LONGEST]) for kind, text in long_enough]

    def _joined(self, url: str, base: str) -> str:
        """The whole url; "" for one that is dropped."""
        if self._rules == "laion":
            if any(part in url for part in _LAION_UNWANTED):
                self._remarks.add(UNWANTED)
                return ""
            self._remarks.add(CUT_URL, int(len(url) > _LAION_LONGEST))
            url = url[:_LAION_LONGEST].replace("\n", "")
        if not url.startswith(("http://", "https://")):
            url = joined(base, url)
        if not url.startswith(("http://", "https://")):
            self._remarks.add(NOT_HTTP)
            return ""
        if self._rules == "laion" and len(_host(url)) > _LAION_HOST:
            self._remarks.add(LONG_HOST)
            return ""
        return url


#: A path from the root in its plainest form: joining puts the origin before it, and nothing else.
_PLAIN_PATH = re.compile(r"(?:/[A-Za-z0-9_~%+=@!$&'()*-][A-Za-z0-9_~%+=@!$&'()*.-]*)+(?:\?[A-Za-z0-9_~%+=&.-]+)?")
_ORIGIN = re.compile(r"https?://[A-Za-z0-9.-]+(?::[0-9]+)?(?=[/?#]|$)")
_HOST = re.compile(r"https?://([A-Za-z0-9.-]+)(?:[/:?#]|$)")


def joined(base: str, url: str) -> str:
    """As `urljoin`, which takes most of the time of reading links, and is asked for what is not plain; "" for no url.

    >>> joined("https://x.example/p/?q", "/a/b.jpg?w=1"), joined("https://x.example/p/", "../b.jpg")
    ('https://x.example/a/b.jpg?w=1', 'https://x.example/b.jpg')
    """
    if _PLAIN_PATH.fullmatch(url) and (origin := _ORIGIN.match(base)):
        return origin[0] + url
    try:
        return urljoin(base, url)
    except ValueError:
        return ""


def _host(url: str) -> str:
    if plain := _HOST.match(url):
        return plain[1]
    try:
        return urlsplit(url).hostname or ""
    except ValueError:
        return ""


def base_of(page: str, declared: Any) -> str:
    """What the urls of a page are relative to: its own url, or the base that its head declares.

    >>> base_of("https://x.example/p/", "../q/"), base_of("https://x.example/p/", None)
    ('https://x.example/q/', 'https://x.example/p/')
    """
    if not isinstance(declared, str):
        return page
    try:
        return urljoin(page, declared)
    except ValueError:
        return page


def _laion_text(text: str) -> str:
    """Without the damage of wrong encodings (ftfy), line ends, and what cannot be printed."""
    text = text[: 10 * _LAION_LONGEST].replace("\n", " ")
    if not text.isascii() or not text.isprintable() or "&" in text:
        import ftfy

        text = ftfy.fix_text(text)
    text = text.strip()
    return text if text.isprintable() else "".join(letter for letter in text if letter.isprintable())


def _metaclip_text(text: str) -> str:
    return text.replace("\n", " ").replace("\r", " ").strip()


_CLEAN: dict[LinkRules, Callable[[str], str]] = {"laion": _laion_text, "metaclip2": _metaclip_text, "cc2dataset": str}
