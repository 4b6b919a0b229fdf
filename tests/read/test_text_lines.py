"""Arrow's word on what is UTF-8 is Python's."""

from __future__ import annotations

import itertools

import pytest

from curate.read.text_lines import is_utf8

#: Bytes at the borders of what may follow what: ASCII, continuations, overlong forms, surrogates, the last plane.
BORDERS = bytes.fromhex("41 7f 80 8f 90 9f a0 bf c0 c1 c2 df e0 e1 ec ed ee ef f0 f1 f3 f4 f5 ff")


def decodes(text: bytes) -> bool:
    try:
        text.decode()
    except UnicodeDecodeError:
        return False
    return True


@pytest.mark.parametrize("around", [b"", b"a line of ASCII, longer than what is looked at together\n"])
def test_what_is_utf8(around):
    texts = [
        around + bytes(some) + around for length in (1, 2, 3) for some in itertools.product(BORDERS, repeat=length)
    ]
    four = [around + bytes([*some, 0x80]) + around for some in itertools.product(BORDERS[-7:], BORDERS[1:9], BORDERS)]
    answers = {text: is_utf8(text) for text in texts + four}
    assert answers == {text: decodes(text) for text in answers}
    assert {True, False} == set(answers.values())


def test_nothing_is_utf8():
    assert is_utf8(b"")
