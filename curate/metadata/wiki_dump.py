"""Articles of a Wikipedia XML dump (pages-articles) as plain text: namespace 0, no redirects, markup stripped.

Wikitext cannot be parsed without running its templates, so this strips rather than parses: what templates, tables,
references, formulas, images and categories hold is dropped, links leave their label. For counting words that is enough,
and it is an order of magnitude faster than a parser of wikitext, whose output still has the captions' options in it.
"""

from __future__ import annotations

import html
import re
import xml.etree.ElementTree as ET
from collections.abc import Iterator

from curate.errors import CurateError
from curate.read.inputs import opened

#: Namespaces whose links show no text in the article: media, files, categories; a dump states their local names.
SILENT_KEYS = ("-2", "6", "14")
SILENT = frozenset({"media", "file", "image", "category"})

#: Deeper than any article nests its links.
NESTED_LINKS = 8

# Every pattern takes linear time: one that is never closed reaches to the end, or stops where the next begins.
_COMMENT = re.compile(r"<!--.*?(?:-->|\Z)", re.DOTALL)
_DROPPED_TAG = re.compile(
    r"<(ref|math|chem|ce|gallery|timeline|syntaxhighlight|source|score|hiero|imagemap|graph|mapframe|maplink|"
    r"templatedata|templatestyles)\b[^<>]*?(?:/>|>.*?(?:</\1\s*>|\Z))",
    re.DOTALL | re.IGNORECASE,
)
_BRACKET = re.compile(r"\{\{|\}\}|^[ \t:*]*\{\||^[ \t]*\|\}(?!\})", re.MULTILINE)
_LINK = re.compile(r"\[\[([^\[\]]*)\]\]")
_SITE_LINK = re.compile(r"\[(?:(?:https?:|ftp:)?//|mailto:)([^\[\]\n]*)\]")
_URL = re.compile(r"\b(?:https?|ftp)://[^\s<>\[\]{}|]+")
_BREAK = re.compile(r"<br\b[^<>]*>", re.IGNORECASE)
_TAG = re.compile(r"</?[a-zA-Z][^<>]*>")
_QUOTES = re.compile(r"'{2,}|__[A-Z]+__")
_LINE_MARK = re.compile(r"^[*#:;=]+[ \t]*|(?<!=)=+[ \t]*$", re.MULTILINE)
_LANGUAGE = re.compile(r"simple|[a-z]{2,3}(?:-[a-z-]+)?")


def articles(file: str) -> Iterator[str]:
    """The plain text of each article of a dump, plain or compressed (`.bz2`, `.gz`, `.zst`), in its order.

    Memory is that of one article. Raises CurateError for a file that is no whole XML dump.
    """
    silent = set(SILENT)
    root: ET.Element | None = None
    pages = 0
    with opened(file) as stream:
        try:
            for event, element in ET.iterparse(stream, ("start", "end")):
                root = element if root is None else root
                if event == "start":
                    continue
                tag = element.tag.rpartition("}")[2]
                if tag == "namespace" and element.get("key") in SILENT_KEYS:
                    silent.add((element.text or "").lower())
                elif tag == "page":
                    pages += 1
                    yield from _article(element, frozenset(silent))
                    root.clear()
        except (ET.ParseError, OSError) as error:
            raise CurateError(
                f"{file}: not a whole XML dump after {pages:,} pages: {error}; download it again and compare its md5"
            ) from None
    if not pages:
        name = root.tag.rpartition("}")[2] if root is not None else "nothing"
        raise CurateError(f"{file}: no <page> in it (its root is <{name}>), expected a pages-articles dump")


def _article(page: ET.Element, silent: frozenset[str]) -> Iterator[str]:
    space = page.tag.rpartition("}")[0]
    prefix = f"{space}}}" if space else ""
    if page.findtext(f"{prefix}ns", "0") == "0" and page.find(f"{prefix}redirect") is None:
        markup = page.findtext(f"{prefix}revision/{prefix}text")
        if markup:
            yield plain(markup, silent)


def plain(markup: str, silent: frozenset[str] = SILENT) -> str:
    """The running text of wikitext; `silent`: lower-case namespaces whose links leave nothing.

    A dropped template or table leaves a line end, so that the words at its sides do not become neighbours.

    >>> plain("'''Whitby''' is a [[town|seaside town]] in {{convert|5|km}} [[Yorkshire]].<ref>a</ref>")
    'Whitby is a seaside town in \\n Yorkshire.'
    """
    text = _DROPPED_TAG.sub("", _COMMENT.sub("", markup))
    text = _without_nested(text)

    def label(match: re.Match[str]) -> str:
        target, pipe, shown = match[1].partition("|")
        namespace, colon, _ = target.partition(":")
        if colon and (namespace.strip().lower() in silent or (not pipe and _LANGUAGE.fullmatch(namespace))):
            return ""
        return shown if pipe else target.lstrip(":")

    for _ in range(NESTED_LINKS):  # from the inside out: captions of images hold links
        text, links = _LINK.subn(label, text)
        if not links:
            break
    text = _URL.sub("", _SITE_LINK.sub(lambda match: match[1].partition(" ")[2], text))
    text = _TAG.sub("", _BREAK.sub(" ", text))
    text = _LINE_MARK.sub("", _QUOTES.sub("", text))
    return html.unescape(text)


def _without_nested(text: str) -> str:
    """The text without its templates and tables, however deep, in one pass; what is never closed stays."""
    opened_at: list[tuple[str, int]] = []
    spans: list[tuple[int, int]] = []
    for match in _BRACKET.finditer(text):
        mark = match[0].strip(" \t:*")
        if mark in {"{{", "{|"}:
            opened_at.append((mark, match.start()))
            continue
        kind = "{{" if mark == "}}" else "{|"
        if all(other != kind for other, _ in opened_at):
            continue
        while opened_at[-1][0] != kind:
            opened_at.pop()
        _, start = opened_at.pop()
        while spans and spans[-1][0] > start:
            spans.pop()
        spans.append((start, match.end()))
    kept, end = [], 0
    for start, stop in spans:
        kept.append(text[end:start])
        end = stop
    return "\n".join([*kept, text[end:]])
