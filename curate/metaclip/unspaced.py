"""Characters of scripts that put no blanks between words."""

from __future__ import annotations

#: First and last code point of the published unspaced scripts.
RANGES = (
    (0x0E00, 0x0EFF),  # Thai, Lao
    (0x0F00, 0x0FFF),  # Tibetan
    (0x1000, 0x109F),  # Burmese
    (0x1780, 0x17FF),  # Khmer
    (0x2E80, 0x2FFF),  # radicals and signs of Han
    (0x3400, 0x4DBF),  # Han
    (0x4E00, 0x9FFF),
    (0xF900, 0xFAFF),
    (0x20000, 0x2A6DF),
    (0x2A700, 0x2EBEF),
)
#: Kana, with the signs that stand for a character.
KANA = ((0x3005, 0x3007), (0x3040, 0x30FF), (0x31F0, 0x31FF), (0xFF66, 0xFF9F))
SCRIPTS = "".join(f"{chr(first)}-{chr(last)}" for first, last in RANGES + KANA)
