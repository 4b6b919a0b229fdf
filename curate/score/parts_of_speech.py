"""Whether an English caption holds a noun, a determiner, a preposition, by a dictionary and rules of context."""

from __future__ import annotations

import importlib
import importlib.metadata
import re
from collections.abc import Mapping
from functools import cache
from typing import Any, ClassVar

import pyarrow as pa

from curate.op import Rows, Score

#: A run of letters (with the apostrophe of "don't"), a number, or any other sign: what stands between words counts.
_TOKEN = re.compile(r"[^\W\d_]+(?:['’][^\W\d_]+)*|\d+|[^\w\s]|_")


def _words(words: str) -> frozenset[str]:
    return frozenset(words.split())


_DETERMINERS = _words("a an the this that these those each every either neither some any no another all both")
_WH = _words("which what whatever whichever")
_POSSESSIVES = _words("my your his her its our their whose")
_PRONOUNS = _words(
    "i you he she it we they me him us them mine yours hers ours theirs myself yourself himself herself itself who "
    "whom someone somebody something anyone anything everyone everything nobody nothing none one ones"
)
_AUXILIARIES = _words(
    "am is are was were be been being do does did has have had having will would shall should can could may might "
    "must ought don't doesn't didn't isn't aren't wasn't weren't can't cannot won't wouldn't shouldn't couldn't "
    "haven't hasn't hadn't i'm you're we're they're it's that's there's here's let's i've you've we've i'll you'll "
    "we'll i'd"
)
_OTHERS = _words(
    "in on at by for from of off to into onto with without within about above across after against along among "
    "around as before behind below beneath beside besides between beyond down during except inside like near out "
    "outside over past per since than through throughout till toward towards under until up upon versus via vs amid "
    "amidst and or but nor so yet if because while when where why how whether though although unless not just only "
    "very too also again ever never always often still already here there now then more most less least much many "
    "few such quite rather almost etc eg ie ok okay hi hello oh yes please thanks wow first second third last next "
    "same other own else two three four five six seven eight nine ten hundred thousand de la le du des et en el los "
    "las un une der die das und von di da"
)
#: Words after which a verb stands, and words that an order at the caption's beginning has behind it.
_BEFORE_VERBS = _words("to i you we they he she it who please not never let's don't") | _AUXILIARIES
_AFTER_ORDERS = _words("a an the to on here for your our my it more now this all below and through")
#: Words that stand before a noun and say where, when, whose, with what.
_PREPOSITIONS = _words(
    "in on at by for from of off to into onto with without within about above across after against along among around "
    "as before behind below beneath beside besides between beyond down during except inside like near out outside over "
    "past per since than through throughout till toward towards under until up upon versus via amid amidst"
)
_FUNCTION = _DETERMINERS | _WH | _POSSESSIVES | _PRONOUNS | _AUXILIARIES | _OTHERS


class PartsOfSpeech(Score):
    """`has_noun`, `has_determiner` and `has_preposition`, false for an empty caption.

    has_determiner: an article, or this, that, some, no, which ..., that another word follows; "Vitamin A" holds none.
        Possessives (my, his) are none.
    has_noun: a word that the dictionary of lemminflect knows as a noun only, or does not know at all (a name), or a
        noun that may be a verb or an adjective too, where it stands as one: `a run`, not `to run`.

    has_preposition: in, of, with, under ..., where a word stands behind it; `to` only before what can be no verb.

    A stand-in for the tagger that Conceptual Captions and CC12M used, which is not public. English only: words of other
    languages count as names. Of 100 web captions read, has_determiner was right on 99 (of 40 it named 39: `<a href` was
    not one). Of 6,000, 6 had no noun by it (3 of these rightly), and 1,136 (19 %) a determiner.
    """

    version: ClassVar[int] = 2  # has_preposition is new
    cite: ClassVar[str] = (
        "after Sharma et al., Conceptual Captions, 2018; the tagger is ours, on lemminflect's dictionary"
    )
    batch_size: int = 10_000

    def reads(self) -> tuple[str, ...]:
        return ("text",)

    def makes(self) -> dict[str, pa.DataType]:
        return dict.fromkeys(("has_noun", "has_determiner", "has_preposition"), pa.bool_())

    def packages(self) -> tuple[str, ...]:
        return ("lemminflect",)

    def weights(self) -> str:
        try:
            return f"lemminflect@{importlib.metadata.version('lemminflect')}"
        except importlib.metadata.PackageNotFoundError:
            return "lemminflect@not installed"

    def batch(self, rows: Rows) -> Mapping[str, Any]:
        captions = [_TOKEN.findall(text.replace("’", "'")) for text in rows["text"].to_pylist()]
        lower = [[token.lower() for token in caption] for caption in captions]
        return {
            "has_noun": [any(is_noun(caption, i) for i in range(len(caption))) for caption in lower],
            "has_determiner": [any(is_determiner(caption, i) for i in range(len(caption))) for caption in captions],
            "has_preposition": [any(is_preposition(caption, i) for i in range(len(caption))) for caption in lower],
        }


def is_determiner(tokens: list[str], i: int) -> bool:
    """Whether a token is an article or another determiner: a word follows it.

    >>> [is_determiner(text.split(), 0) for text in ("a dog", "No pets", "No 5", "This is", "A &", "my dog")]
    [True, True, False, False, False, False]
    """
    word = tokens[i].lower()
    if word not in _DETERMINERS and word not in _WH:
        return False
    after = tokens[i + 1] if i + 1 < len(tokens) else ""
    if word in ("a", "no") and after[:1].isdigit():
        return False
    if after.lower() in (_AUXILIARIES if word in _DETERMINERS else _AUXILIARIES | _PRONOUNS):
        return False  # "this is", "what you see": pronouns
    return after[:1].isalnum() or after in ("'", '"', "“", "‘")


def is_preposition(tokens: list[str], i: int) -> bool:
    """Whether a token of a caption in lower case is a preposition: a word that may be a noun's stands behind it.

    >>> [is_preposition(text.split(), 0) for text in ("of dogs", "in the sun", "to run", "up", "like", "by 1999")]
    [True, True, False, False, False, True]
    """
    after = tokens[i + 1] if i + 1 < len(tokens) else ""
    if tokens[i] not in _PREPOSITIONS or not after[:1].isalnum() or after in _AUXILIARIES:
        return False
    kinds = _kinds(after) if after not in _FUNCTION else frozenset()
    return tokens[i] != "to" or "VERB" not in kinds


def is_noun(tokens: list[str], i: int) -> bool:
    """Whether a token of a caption in lower case is a noun where it stands.

    >>> [is_noun(text.split(), i) for text, i in (("a run", 1), ("to run", 1), ("blue dogs", 1), ("very blue", 1))]
    [True, False, True, False]
    """
    word = tokens[i]
    if len(word) < 2 or not word[0].isalpha() or word in _FUNCTION:
        return False
    kinds = _kinds(word.removesuffix("'s"))
    if not kinds or not kinds & {"NOUN", "PROPN"}:
        return not kinds
    if kinds <= {"NOUN", "PROPN"}:
        return True
    before, after = tokens[i - 1] if i else "", tokens[i + 1] if i + 1 < len(tokens) else ""
    if "VERB" in kinds and (before in _BEFORE_VERBS or (not before and after in _AFTER_ORDERS)):
        return False
    if word.endswith("s") or not (kinds & {"ADJ", "ADV"} or word.endswith(("ing", "ed"))):
        return True
    named = before[:1].isalpha() and (before not in _FUNCTION or before in _DETERMINERS or before in _POSSESSIVES)
    return named and (not after[:1].isalpha() or after in _FUNCTION)


@cache
def _kinds(word: str) -> frozenset[str]:
    """NOUN, PROPN, VERB, ADJ, ADV: what a word can be; nothing for one that the dictionary does not have."""
    return frozenset(importlib.import_module("lemminflect").getAllLemmas(word))
