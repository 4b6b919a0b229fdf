"""What caption rules look at: digits, capitals, repeated words, URLs, file names, boilerplate."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
import polars as pl
import pyarrow as pa

from curate.arrays.ascii_words import by_bytes, distinct, in_two, with_bytes
from curate.op import Rows, Score

# Words are what Python's str.split() makes of the caption.
_BLANK = r"\s\x1c-\x1f"
_WORD = rf"[^{_BLANK}]+"
_SIGN = rf"[^\p{{L}}\p{{M}}\p{{N}}{_BLANK}]"
#: Punctuation around a word. Taking it away costs half of finding what lies between.
_BEHIND, _BEFORE = rf"{_SIGN}+($|[{_BLANK}])", rf"(^|[{_BLANK}]){_SIGN}+"
_CAPITALISED = rf"(?:^|[{_BLANK}])[^\p{{L}}\p{{N}}{_BLANK}]*[\p{{Lu}}\p{{Lt}}]"

# The following are matched against the caption in lower case; with ASCII word edges, which keep the matcher fast.
_EDGE = r"(?-u:\b)"
_URL = rf"(?:https?|ftp)://\S|{_EDGE}www\.[a-z0-9-]+\.|{_EDGE}[a-z0-9-]+\.(?:com|net|org|info|biz|co\.uk){_EDGE}"
_FILE_NAME = (
    rf"[a-z0-9_)-]\.(?:jpe?g|png|gif|webp|bmp|tiff?|heic|svg|psd|eps|cr2|nef|dng|mp4|mov|avi|pdf){_EDGE}"
    rf"|{_EDGE}(?:img|dsc|dscn|dscf|pxl|mvi|gopr|sam|imgp|image|picture|photo|screenshot)[_-]?[0-9]{{3,}}"
)
_BOILERPLATE = _EDGE + (
    r"(?:click (?:here |(?:on )?(?:the )?(?:image |photo |picture ))?(?:to|for) [a-z]"
    r"|(?:tap|hover|roll ?over) (?:image )?to (?:enlarge|zoom|view|expand)"
    r"|(?:enlarge|larger) (?:image|photo|picture|view)"
    r"|stock (?:photo|image|picture|illustration|vector|footage|video|art)|royalty[- ]free"
    r"|(?:image|photo|picture) (?:may contain|not (?:available|found)|unavailable|coming soon|placeholder)"
    r"|no (?:image|photo|picture) (?:available|found|yet)|all rights reserved)|©"
)


class TextRules(Score):
    """Plain facts of a caption, for SQL to judge. Ratios are 0 for an empty caption, the others false.

    digit_ratio: decimal digits among the characters that are not blanks.
    alnum_ratio: letters (with their combining marks) and numbers among the characters that are not blanks.
    capital_ratio: share of words whose first letter or number is an upper-case or title-case letter.
    repeat_ratio: share of words that repeat an earlier one; case and the punctuation around a word do not count, nor
        do words without a letter or number.
    has_url: a URL, or a host name under www. or a common top-level domain.
    has_file_name: `sunset.jpg`, or the names that cameras and screens give (IMG_2041, DSC00123).
    boilerplate: page furniture: "click to enlarge", "stock photo", "royalty-free", "image not available", "©".

    Conceptual Captions names high repetition, capitals and boilerplate as rules but publishes no definitions and no
    cut-offs: the definitions are ours, cut-offs are the filter's. The phrases are English. Words are split at blanks.
    """

    #: 2: ratios in 64 bits, so that 1 of 5 is not over a limit of 0.2.
    version: ClassVar[int] = 2
    cite: ClassVar[str] = "after Sharma et al., Conceptual Captions, 2018; definitions are ours"
    batch_size: int = 10_000

    def reads(self) -> tuple[str, ...]:
        return ("text",)

    def makes(self) -> dict[str, pa.DataType]:
        ratios = dict.fromkeys(("digit_ratio", "alnum_ratio", "capital_ratio", "repeat_ratio"), pa.float64())
        return ratios | dict.fromkeys(("has_url", "has_file_name", "boilerplate"), pa.bool_())

    def batch(self, rows: Rows) -> Mapping[str, Any]:
        facts = in_two(rows["text"], facts_by_bytes, facts_by_patterns)
        ratios = facts.select(
            digit_ratio=_share(pl.col("digits"), "visible"),
            alnum_ratio=_share(pl.col("letters_and_digits"), "visible"),
            capital_ratio=_share(pl.col("capitalised"), "words"),
            repeat_ratio=_share(pl.col("cores") - pl.col("distinct_cores"), "cores"),
        )
        columns = ratios.to_dict() | phrases(facts["lower"])
        return {name: columns[name].to_arrow() for name in self.makes()}


def facts_by_bytes(texts: pa.Array) -> dict[str, np.ndarray | pl.Series]:
    counts = ("visible", "letters_and_digits", "digits", "words", "capitalised", "cores")
    facts: dict[str, Any] = by_bytes(texts, *counts, "codes", "lower")
    facts["distinct_cores"] = distinct(facts.pop("codes"), facts["cores"])
    return {**facts, "lower": with_bytes(texts, facts["lower"])}


def facts_by_patterns(texts: pl.Series) -> dict[str, pl.Series]:
    text = pl.col("text")
    # Words without the punctuation around them; one of punctuation alone is none.
    cores = text.str.to_lowercase().str.replace_all(_BEHIND, "$1").str.replace_all(_BEFORE, "$1").str.extract_all(_WORD)
    counts = pl.DataFrame({"text": texts}).select(
        visible=text.str.len_chars() - text.str.count_matches(rf"[{_BLANK}]"),
        signs=text.str.count_matches(_SIGN),
        digits=text.str.count_matches(r"\p{Nd}"),
        words=text.str.count_matches(_WORD),
        capitalised=text.str.count_matches(_CAPITALISED),
        cores=cores,
        lower=text.str.to_lowercase(),
    )
    # In a step of its own: within one, polars would match every expression again for each use of it.
    columns = counts.with_columns(
        letters_and_digits=pl.col("visible") - pl.col("signs"),
        cores=pl.col("cores").list.len(),
        distinct_cores=pl.col("cores").list.n_unique(),
    )
    return columns.drop("signs").to_dict()


def phrases(lower: pl.Series) -> dict[str, pl.Series]:
    """Which captions, in lower case, have a URL, a file name, boilerplate: three questions of those in which one
    pattern finds any."""
    patterns = {"has_url": _URL, "has_file_name": _FILE_NAME, "boilerplate": _BOILERPLATE}
    any_of_them = lower.str.contains("|".join(patterns.values()))
    rows = any_of_them.fill_null(False).arg_true()
    some = lower.gather(rows)
    return {name: any_of_them.clone().scatter(rows, some.str.contains(one)) for name, one in patterns.items()}


def _share(part: pl.Expr, whole: str) -> pl.Expr:
    return pl.when(pl.col(whole) > 0).then(part / pl.col(whole)).otherwise(0.0)
