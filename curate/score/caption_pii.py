"""How many e-mail addresses, phone, account, card and identity numbers stand in a caption: counts, no strings."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import numpy as np
import polars as pl
import pyarrow as pa

from curate.op import Rows, Score

#: Captions in which nothing of it can stand are most: no @, no six digits near each other, no passport line.
_MAY = r"@|[Pp]<|(?:\d[^\d]{0,3}){6}"

_EMAIL = re.compile(
    r"(?<![\w.+-])[\w.%+-]{1,64}@(?:[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?\.)+[A-Za-z]{2,24}(?![\w-])"
)
#: What looks like an address and is a file: "icon@2x.png".
_FILES = re.compile(r"\.(?:png|jpe?g|gif|webp|svg|bmp|tiff?|pdf|mp4)$", re.IGNORECASE)
_IBAN = re.compile(r"(?<!\w)[A-Z]{2}\d{2}(?:[ ]?[A-Z0-9]{4}){2,7}(?:[ ]?[A-Z0-9]{1,3})?(?!\w)")
_CARD = re.compile(r"(?<![\w.+-])\d(?:[ -]?\d){13,18}(?![\w-]|\.\d)")
_PHONE = re.compile(
    r"(?<![\w.+/-])(?<!\d )(?:"
    r"\+[1-9](?:[ ./-]?\(?\d\)?){6,14}"  # +49 (0)30 1234567
    r"|\(0?\d{2,4}\)[ ./-]?\d{3,4}[ .-]?\d{3,4}"  # (415) 555-2671
    r"|\d{3}[-.]\d{3}[-.]\d{4}"  # 415-555-2671
    r"|1[ .-]\d{3}[ .-]\d{3}[ .-]\d{4}"  # 1-800-555-2671
    r"|0[1-9]\d{0,3}(?:[ /-]\d{2,4}){2,4}|0\d{2,5}[ /-]\d{5,8}"  # 030 123 4567, 030/1234567
    r"|00[1-9]\d(?:[ ./-]?\d){7,11}"  # 0049 30 1234567
    r")(?![\w-]|\.\d)"
)
#: A number behind such a word is a phone's, however it is written.
_CALLED = re.compile(
    r"(?:tel(?:efon|ephone)?|phone|call|fax|mobile|mob|cell|whatsapp|hotline|handy|ph)\b"
    r"(?: (?:us|me|now|no|at|on|number))*"
    r"[ .:#-]{0,3}(\+?\(?\d(?:[ ./()-]{0,2}\d){6,14})(?![\w]|\.\d)",
    re.IGNORECASE,
)
_DATE = re.compile(
    r"(?:19|20)\d\d[-./ ](?:0?[1-9]|1[0-2])[-./ ](?:[0-2]?\d|3[01])|(?:[0-2]?\d|3[01])[-./ ]\d\d?[-./ ](?:19|20)\d\d"
)


class CaptionPii(Score):
    """`pii_emails`, `pii_phones`, `pii_ibans`, `pii_cards`, `pii_ids`: how often each stands in the caption, uint16.

    emails: addresses, but for names of files (icon@2x.png) and of accounts (@name).
    phones: numbers with + and a country, with an area in parentheses, in the ways of writing of North America and of
        Europe, and any number of 7 to 15 digits behind a word such as `tel` or `call`; no dates.
    ibans: account numbers with their check digits (ISO 13616).
    cards: 14 to 19 digits with the check digit of Luhn, a prefix of an issuer, and as many digits as it gives out.
    ids: social security numbers of the United States, national insurance numbers of the United Kingdom, numbers of
        Spain (DNI, NIE), Brazil (CPF) and China with their check digits, and a passport's first line for machines.
    A digit counts for one of them, in the order ibans, cards, ids, phones. The strings are kept nowhere.

    On a planted set of 1,000 captions with one of them (200 of each kind, written in several ways) and 1,200 with other
    numbers (dates, sizes, prices, ISBNs, bar codes, coordinates, versions, parcels) all are found but 15 phone numbers
    (recall .925: seven digits alone, "468 5343", are no number to it), and nothing else is named but 2 phones
    (precision .989). In 6,000 captions of the web it names 3 phones, one of which is one. "jane at example dot com",
    names, addresses of streets and numbers of other countries are not looked for: 0 is no promise.
    """

    cite: ClassVar[str] = "ours; ISO 13616 (IBAN), ISO/IEC 7812 (cards), ICAO 9303 (passports)"
    batch_size: int = 10_000

    def reads(self) -> tuple[str, ...]:
        return ("text",)

    def makes(self) -> dict[str, pa.DataType]:
        return dict.fromkeys(("pii_emails", "pii_phones", "pii_ibans", "pii_cards", "pii_ids"), pa.uint16())

    def batch(self, rows: Rows) -> Mapping[str, Any]:
        texts = pl.Series(rows["text"])
        counts = {name: np.zeros(len(texts), np.uint16) for name in self.makes()}
        for row in texts.str.contains(_MAY).fill_null(False).arg_true().to_list():
            for name, number in pii_of(texts[row]).items():
                counts[name][row] = min(number, 65_535)
        return counts


def pii_of(text: str) -> dict[str, int]:
    """The counts of one caption.

    >>> pii_of("write to jane@example.org or call +49 30 1234567")
    {'pii_emails': 1, 'pii_ibans': 0, 'pii_cards': 0, 'pii_ids': 0, 'pii_phones': 1}
    """
    emails, text = _taken(_EMAIL, text, lambda match: not _FILES.search(match))
    ibans, text = _taken(_IBAN, text, is_iban)
    cards, text = _taken(_CARD, text, is_card)
    ids = 0
    for pattern, is_right in _IDENTITY:
        more, text = _taken(pattern, text, is_right)
        ids += more
    _, text = _taken(_DATE, text, _anything)
    called, text = _taken(_CALLED, text, is_phone)
    phones, text = _taken(_PHONE, text, is_phone)
    return {
        "pii_emails": emails, "pii_ibans": ibans, "pii_cards": cards, "pii_ids": ids, "pii_phones": called + phones
    }  # fmt: skip


def _taken(pattern: re.Pattern[str], text: str, is_right: Callable[[str], bool]) -> tuple[int, str]:
    """How many matches are right, and the text without them."""
    number = 0

    def gap(match: re.Match[str]) -> str:
        nonlocal number
        if not is_right(match[0]):
            return match[0]
        number += 1
        return " ; "

    rest = pattern.sub(gap, text)
    return number, rest


# ---- check digits ----


def is_phone(text: str) -> bool:
    """Whether as many digits stand there as a number has that people call.

    >>> is_phone("555-2671"), is_phone("01 02 03 04"), is_phone("030 1234567")
    (True, False, True)
    """
    digits = re.sub(r"\D", "", text)
    return (9 if digits.startswith("0") else 7) <= len(digits) <= 15


def is_iban(text: str) -> bool:
    """
    >>> is_iban("DE89 3704 0044 0532 0130 00"), is_iban("DE88 3704 0044 0532 0130 00")
    (True, False)
    """
    plain = text.replace(" ", "")
    if not 15 <= len(plain) <= 34:
        return False
    moved = plain[4:] + plain[:4]
    return int("".join(str(int(sign, 36)) for sign in moved)) % 97 == 1


def is_card(text: str) -> bool:
    """
    >>> is_card("4111 1111 1111 1111"), is_card("4111 1111 1111 1112"), is_card("9780306406157")
    (True, False, False)
    """
    digits = re.sub(r"\D", "", text)
    return len(digits) in _lengths(digits) and _luhn(digits)


def _lengths(digits: str) -> tuple[int, ...]:
    """How many digits the issuers of a prefix give out."""
    first, two, four = digits[0], int(digits[:2]), int(digits[:4])
    if first == "4":
        return (16, 19)
    if 51 <= two <= 55 or 2221 <= four <= 2720:
        return (16,)
    if two in (34, 37):
        return (15,)
    if two in (36, 38, 39) or 3000 <= four <= 3059:
        return (14, 16)
    if two == 35 or four == 6011 or two in (62, 64, 65):
        return (16, 17, 18, 19)
    return tuple(range(14, 20)) if first == "5" and two in (50, 56, 57, 58) else ()


def _luhn(digits: str) -> bool:
    doubled = [int(sign) * (1 + place % 2) for place, sign in enumerate(reversed(digits))]
    return sum(number - 9 * (number > 9) for number in doubled) % 10 == 0


def _spanish(text: str) -> bool:
    plain = text.replace("-", "")
    number = int(plain[:-1].translate(str.maketrans("XYZ", "012")))
    return "TRWAGMYFPDXBNJZSQVHLCKE"[number % 23] == plain[-1]


def _brazilian(text: str) -> bool:
    digits = [int(sign) for sign in text if sign.isdigit()]
    if len(set(digits)) == 1:
        return False
    for end in (9, 10):
        total = sum(digit * weight for digit, weight in zip(digits[:end], range(end + 1, 1, -1), strict=True))
        if total * 10 % 11 % 10 != digits[end]:
            return False
    return True


def _chinese(text: str) -> bool:
    weights = (7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2)
    total = sum(int(sign) * weight for sign, weight in zip(text[:17], weights, strict=True))
    birth = 1900 <= int(text[6:10]) <= 2100 and 1 <= int(text[10:12]) <= 12 and 1 <= int(text[12:14]) <= 31
    return birth and "10X98765432"[total % 11] == text[17].upper()


def _anything(text: str) -> bool:
    return bool(text)


#: Identity numbers, and what must be right in them.
_IDENTITY: tuple[tuple[re.Pattern[str], Callable[[str], bool]], ...] = (
    # Of the United States: no area 000, 666 or 9xx.
    (re.compile(r"(?<![\w-])(?!000|666|9)\d{3}-(?!00)\d{2}-(?!0000)\d{4}(?![\w-])"), _anything),
    # Of the United Kingdom.
    (re.compile(r"(?<!\w)(?!BG|GB|NK|KN|TN|NT|ZZ)[A-CEGHJ-PR-TW-Z][A-CEGHJ-NPR-TW-Z] ?\d\d ?\d\d ?\d\d ?[A-D](?!\w)"),
     _anything),
    # Of Spain, Brazil, China, with their check digits.
    (re.compile(r"(?<!\w)(?:\d{8}|[XYZ]\d{7})-?[A-HJ-NP-TV-Z](?!\w)"), _spanish),
    (re.compile(r"(?<![\w.-])\d{3}\.\d{3}\.\d{3}-\d{2}(?![\w-]|\.\d)"), _brazilian),
    (re.compile(r"(?<!\w)[1-9]\d{16}[\dXx](?!\w)"), _chinese),
    # The first line of a passport that machines read.
    (re.compile(r"(?<!\w)[Pp][<A-Za-z][A-Za-z]{3}[A-Za-z<]{20,39}<(?!\w)"), _anything),
)  # fmt: skip
