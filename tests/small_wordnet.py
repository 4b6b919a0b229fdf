"""A WordNet of a few lines, as they stand in WordNet 3.0."""

from __future__ import annotations

from pathlib import Path

#: Lines of the index files; a name's first sense is the first number of eight digits.
INDEX = {
    "noun": [
        "  1 This software and database is being provided to you, the LICENSEE",
        "castle n 4 5 @ ~ %p + ; 4 2 03878066 02980441 02980625 00166552  ",
        "dog n 7 5 @ ~ #m #p %p 7 1 02084071 10114209 10023039 09886220 07676602 03901548 02710044  ",
        "men n 1 4 @ ~ %m %p 1 1 08212347  ",
        "mouse n 4 4 @ ~ %p + 4 1 02330245 14289387 10335563 03793489  ",
        "photo n 1 2 @ ~ 1 1 03925226  ",
        "red n 4 4 @ ~ #p + 4 3 04962784 09405949 09863749 13327231  ",
        "running n 5 5 @ ~ #p + ; 5 2 00558883 00293916 14009481 01136985 00440039  ",
        "box n 10 7 @ ~ #m #p %s %p + 10 4 02883344 02884225 13765624 14408951 13883494 12746106 02884607 "
        "02884450 02884011 00135148  ",
        "play n 17 6 @ ~ #p %p + ; 17 8 07007945 07018931 00557588 00556313 14009763 00947596 00786887 "
        "00431893 15256915 13993842 07411851 06780882 04774511 00511817 00457382 00430140 00041468  ",
    ],
    "verb": [
        "dog v 1 2 @ ~ 1 1 02001876  ",
        "lull v 3 3 @ ~ + 3 2 01763661 00558061 01764818  ",
    ],
    "adj": [
        "red a 3 2 & + 3 3 00381097 00248560 00395626  ",
        "big a 13 5 ! & = + ; 13 5 01382086 01276872 01510444 01453084 00579622 02402440 01890753 01890188 "
        "01488616 01191780 01114658 01111418 00173391  ",
    ],
    "adv": [
        r"quickly r 3 2 ! \ 3 2 00085811 00105603 00290935  ",
    ],
}
#: Lines of the files of exceptions; the last one of the nouns is ours.
IRREGULAR = {"noun": "men man\nmice mouse\nzzz nothing\n", "verb": "", "adj": "bigger big\n", "adv": ""}


def small_wordnet(folder: Path) -> str:
    """The folder, with index and exceptions of the four parts of speech."""
    folder.mkdir()
    for part, lines in INDEX.items():
        (folder / f"index.{part}").write_text("\n".join(lines) + "\n")
        (folder / f"{part}.exc").write_text(IRREGULAR[part])
    return str(folder)
