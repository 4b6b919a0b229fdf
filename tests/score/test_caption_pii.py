"""score.caption_pii: recall and precision on planted captions, and single ones of each kind."""

from __future__ import annotations

import numpy as np
import pytest
from planted_pii import KINDS, planted

from curate.catalog import load
from curate.score.caption_pii import pii_of

#: Recall and precision on the planted set, as the docstring has them.
STATED = {
    "pii_emails": (1.0, 1.0), "pii_phones": (0.925, 0.989), "pii_ibans": (1.0, 1.0), "pii_cards": (1.0, 1.0),
    "pii_ids": (1.0, 1.0),
}  # fmt: skip


def test_the_planted_set() -> None:
    texts, kinds = planted()
    assert len(texts) == 2200 and set(kinds) == {*KINDS, ""}
    columns = load("score.caption_pii").apply({"text": texts})
    for name, (recall, precision) in STATED.items():
        named, is_one = np.asarray(columns[name]) > 0, np.array([kind == name for kind in kinds])
        assert named[is_one].mean() == pytest.approx(recall, abs=5e-4), name
        assert is_one[named].mean() == pytest.approx(precision, abs=5e-4), name


@pytest.mark.parametrize("seed", [2, 3])
def test_another_draw_says_about_the_same(seed: int) -> None:
    texts, kinds = planted(100, 600, seed)
    columns = load("score.caption_pii").apply({"text": texts})
    for name in STATED:
        named, is_one = np.asarray(columns[name]) > 0, np.array([kind == name for kind in kinds])
        assert named[is_one].mean() > 0.85 and is_one[named].mean() > 0.95, name


def counts(text: str) -> str:
    """What is counted, in short: `emails 2, phones 1`."""
    return ", ".join(f"{name.removeprefix('pii_')} {number}" for name, number in pii_of(text).items() if number)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a@b.co, c.d@e.example.org", "emails 2"),
        ("icon@2x.png by @jane", ""),
        ("a@b", ""),
        ("DE89 3704 0044 0532 0130 00", "ibans 1"),
        ("DE88 3704 0044 0532 0130 00", ""),
        ("GB29NWBK60161331926819 and NO93 8601 1117 947", "ibans 2"),
        ("4111 1111 1111 1111", "cards 1"),
        ("4111-1111-1111-1112", ""),
        ("378282246310005", "cards 1"),
        ("978-0-306-40615-7", ""),
        ("078-05-1120", "ids 1"),
        ("000-12-3456 and 900-12-3456", ""),
        ("QQ123456C", ""),
        ("AB 12 34 56 C", "ids 1"),
        ("12345678Z", "ids 1"),
        ("12345678A", ""),
        ("529.982.247-25", "ids 1"),
        ("529.982.247-24", ""),
        ("111.111.111-11", ""),
        ("11010519491231002X", "ids 1"),
        ("110105194912310021", ""),
        ("P<UTOERIKSSON<<ANNA<MARIA<<<<<<<<<<<<<<<<<<<", "ids 1"),
        ("+49 (0)30 1234567 or (415) 555-2671", "phones 2"),
        ("Tel: 555 26 71", "phones 1"),
        ("555 2671", ""),
        ("call of duty 2 2019 1080p", ""),
        ("tel 2019-05-31", ""),
        ("30.05.2019 10:45", ""),
        ("1920 x 1080, 300000000 m/s", ""),
        ("jane@example.org 415-555-2671 4111111111111111", "emails 1, cards 1, phones 1"),
        ("", ""),
    ],
)
def test_captions(text: str, expected: str) -> None:
    assert counts(text) == expected


def test_many_in_one_caption_and_long_ones_end() -> None:
    assert pii_of("a@b.co " * 70_000)["pii_emails"] == 70_000
    columns = load("score.caption_pii").apply(
        {"text": ["a@b.co " * 70_000, "1 " * 100_000, "+" * 100_000 + "@" * 100_000]}
    )
    assert columns["pii_emails"].tolist() == [65_535, 0, 0]
