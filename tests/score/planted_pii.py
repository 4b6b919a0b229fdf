"""Captions with planted e-mail, phone, account, card and identity numbers, and captions with numbers that are none."""

from __future__ import annotations

import random
from collections.abc import Callable

Draw = random.Random

FRAMES = (
    "{}",
    "Contact {} for prints",
    "my desk ({}), 2019",
    "Flyer: {}. Open daily",
    "Visitenkarte, {}",
    "{} - sale today!",
    "A red car\n{}\nblue sky",
    "photo of a sign that reads {}",
    "Invoice 17; {}; thank you",
)


def digits(draw: Draw, number: int, first: str = "0123456789") -> str:
    return draw.choice(first) + "".join(draw.choices("0123456789", k=number - 1))


def email(draw: Draw) -> str:
    name = draw.choice(["jane", "j.doe", "info", "Bob_Smith", "a+news", "sales-team", "x1987", "MARIA.L"])
    host = draw.choice(["example.org", "mail.example.co.uk", "ex-ample.com", "EXAMPLE.NET", "uni.example.edu"])
    return draw.choice(["{}", "mailto:{}", "<{}>", "e-mail: {}"]).format(f"{name}@{host}")


def phone(draw: Draw) -> str:
    a, b, c, d = (digits(draw, n, "23456789") for n in (3, 3, 4, 6))
    return draw.choice(
        [
            f"({a}) {b}-{c}",
            f"{a}-{b}-{c}",
            f"{a}.{b}.{c}",
            f"1-{a}-{b}-{c}",
            f"+1 {a} {b} {c}",
            f"+44 20 {c} {digits(draw, 4)}",
            f"+49 (0)30 {d}",
            f"+49{a}{d}",
            f"+33 1 23 45 67 {digits(draw, 2)}",
            f"0{a} {b} {c}",
            f"0{a}/{d}",
            f"0{a}-{d}",
            f"0049 {a} {d}",
            f"Tel. {d}{digits(draw, 2)}",
            f"call us at {b} {c}",
            f"WhatsApp: {a}{d}",
            f"fax {b}-{c}",
            f"01 23 45 67 {digits(draw, 2)}",
            f"Phone: +{digits(draw, 2, '3456789')} {a} {d}",
            f"{b} {c}",
        ]
    )


def iban(draw: Draw) -> str:
    country, length = draw.choice([("DE", 22), ("FR", 27), ("GB", 22), ("NL", 18), ("ES", 24), ("NO", 15), ("MT", 31)])
    rest = digits(draw, length - 4)
    if country in ("GB", "NL"):
        rest = "".join(draw.choices("ABCDEFGHIJKL", k=4)) + rest[4:]
    number = int("".join(str(int(sign, 36)) for sign in f"{rest}{country}00"))
    whole = f"{country}{98 - number % 97:02}{rest}"
    return draw.choice([whole, " ".join(whole[i : i + 4] for i in range(0, length, 4))])


def card(draw: Draw) -> str:
    start, length = draw.choice(
        [("4", 16), ("52", 16), ("2221", 16), ("37", 15), ("36", 14), ("6011", 16), ("3528", 16)]
    )
    body = start + digits(draw, length - len(start) - 1)
    doubled = [int(sign) * (2 - place % 2) for place, sign in enumerate(reversed(body))]
    whole = body + str(-sum(n - 9 * (n > 9) for n in doubled) % 10)
    parts = [whole[:4], whole[4:10], whole[10:]] if length < 16 else [whole[i : i + 4] for i in range(0, length, 4)]
    return draw.choice(["", " ", "-"]).join(parts)


def identity(draw: Draw) -> str:
    kind = draw.randrange(6)
    if kind == 0:
        return f"{digits(draw, 3, '1234578')}-{draw.randint(1, 99):02}-{draw.randint(1, 9999):04}".replace(
            "666-", "665-"
        )
    if kind == 1:
        return draw.choice(["AB {} {} {} C", "JG{}{}{}A"]).format(*(digits(draw, 2) for _ in range(3)))
    if kind == 2:
        number = draw.randrange(10**8)
        return f"{number:08}{draw.choice(['', '-'])}{'TRWAGMYFPDXBNJZSQVHLCKE'[number % 23]}"
    if kind == 3:
        nine = [int(sign) for sign in digits(draw, 8)] + [draw.randrange(9)]
        nine[0] = (nine[1] + 1) % 10  # not all the same
        for end in (9, 10):
            total = sum(d * w for d, w in zip(nine, range(end + 1, 1, -1), strict=True))
            nine.append(total * 10 % 11 % 10)
        plain = "".join(map(str, nine))
        return f"{plain[:3]}.{plain[3:6]}.{plain[6:9]}-{plain[9:]}"
    if kind == 4:
        birth = f"19{draw.randint(40, 99)}{draw.randint(1, 12):02}{draw.randint(1, 28):02}"
        body = f"{digits(draw, 6, '1234')}{birth}{digits(draw, 3)}"
        weights = (7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2)
        return body + "10X98765432"[sum(int(s) * w for s, w in zip(body, weights, strict=True)) % 11]
    return f"P<UTO{draw.choice(['ERIKSSON<<ANNA<MARIA', 'DOE<<JOHN', 'MUSTERMANN<<ERIKA'])}".ljust(44, "<")


def harmless(draw: Draw) -> str:
    """Numbers and signs that are none of it."""
    year, a, b = draw.randint(1850, 2030), draw.randint(1, 12), draw.randint(10, 28)
    return draw.choice(
        [
            f"{year}-{a:02}-{b}",
            f"{b}.{a}.{year}",
            f"{a}/{b}/{year} 10:45:30",
            f"{year}-{year + 4}, {year + 5}-{year + 9}",
            f"{draw.randint(100, 9999)} x {draw.randint(100, 9999)} px",
            f"$ {draw.randint(1, 999)},{digits(draw, 3)}.{digits(draw, 2)}",
            f"ISBN 978-{draw.randint(0, 9)}-{digits(draw, 3)}-{digits(draw, 5)}-{draw.randint(0, 9)}",
            f"EAN 40{digits(draw, 11)}",
            f"{draw.uniform(-90, 90):.6f}, {draw.uniform(-180, 180):.6f}",
            f"v{a}.{b}.{digits(draw, 3)}",
            f"@user_{digits(draw, 6)} on stage",
            f"IMG_{year}{a:02}{b}_{digits(draw, 6)}.jpg",
            f"icon@2x.png and icon@{a}x.png",
            f"SKU {digits(draw, 5)}-{digits(draw, 4)}",
            f"1Z{digits(draw, 9)}{digits(draw, 7)}",
            f"{digits(draw, 3)} {digits(draw, 3)} {digits(draw, 3)} people",
            f"100 000 000 views, {b} 000 likes",
            f"{year} {year + 1} {year + 2} {year + 3} results",
            f"RA {a}h{b}m, HIP {digits(draw, 5)}",
            f"NGC {digits(draw, 4)}, {b},{digits(draw, 3)},{digits(draw, 3)} km",
            f"dinner @ 7pm, {a}:{b}, {digits(draw, 5)} Berlin",
            f"patent US {a},{digits(draw, 3)},{digits(draw, 3)} B2",
            f"#{digits(draw, 8)}",
            f"lot {digits(draw, 6)} / {digits(draw, 6)}",
            f"call of duty {year}",
            f"phone case {digits(draw, 4)}",
            f"{digits(draw, 12)} bytes",
            f"{digits(draw, 20)}",
            f"DE{digits(draw, 9)} (VAT)",
            f"order 4{digits(draw, 15)}0",
            f"{b}-{a}-{b} formation, {year}/{a:02}",
        ]
    )


KINDS: dict[str, Callable[[Draw], str]] = {
    "pii_emails": email,
    "pii_phones": phone,
    "pii_ibans": iban,
    "pii_cards": card,
    "pii_ids": identity,
}


def planted(each: int = 200, without: int = 1200, seed: int = 1) -> tuple[list[str], list[str]]:
    """(captions, what stands in each: the name of a column, or "")."""
    draw = random.Random(seed)
    kinds = [kind for kind in KINDS for _ in range(each)] + [""] * without
    texts = [draw.choice(FRAMES).format(KINDS[kind](draw) if kind else harmless(draw)) for kind in kinds]
    return texts, kinds
