"""Token ids of CLIP's own tokenizer by the Rust library `tokenizers`: the same ids, several times faster.

It works outside of Python's lock, so that threads that decode images go on meanwhile.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

#: The words of an ASCII text, lower case: the tokenizer's own expression there. Texts with other letters are cut by the
#: tokenizer itself: two libraries rarely agree on what is a letter in all of Unicode.
_WORDS = r"'s|'t|'re|'ve|'m|'ll|'d|[a-z]+|[0-9]|[^\sa-z0-9]+"


class ClipWords:
    """Ids of captions as `SimpleTokenizer.encode` of open_clip gives them: all of a caption, without start and end.

    Built from the tokenizer's own vocabulary and merges. Any thread may call it.
    """

    def __init__(self, tokenizer: Any):
        from tokenizers import Regex, pre_tokenizers

        self._tokenizer = tokenizer
        bytes_of = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
        words = pre_tokenizers.Split(Regex(_WORDS), "removed", invert=True)
        merges = _merges(tokenizer)
        self._texts = _bpe(*merges, pre_tokenizers.Sequence([words, bytes_of]))
        self._cut = _bpe(*merges, bytes_of)

    def __call__(self, captions: Sequence[str]) -> list[list[int]]:
        """For each caption its ids."""
        ids: list[list[int]] = [[]] * len(captions)
        texts: dict[int, str] = {}
        cut: dict[int, list[str]] = {}
        for row, caption in enumerate(captions):
            text = caption if _is_clean(caption) else self._tokenizer.clean_fn(caption)
            if "<" in text and any(special in text.lower() for special in _specials(self._tokenizer)):
                ids[row] = self._tokenizer.encode(caption)
            elif text.isascii():
                texts[row] = text.lower()
            else:
                cut[row] = self._tokenizer.pat.findall(text)
        for row, encoded in zip(texts, self._texts.encode_batch_fast(list(texts.values())), strict=True):
            ids[row] = encoded.ids
        for row, encoded in zip(
            cut, self._cut.encode_batch_fast(list(cut.values()), is_pretokenized=True), strict=True
        ):
            ids[row] = encoded.ids
        return ids


def clip_words(tokenizer: Any) -> ClipWords | None:
    """None for a tokenizer that is not open_clip's own as it comes, or that cleans captions in another way."""
    if type(tokenizer).__name__ != "SimpleTokenizer" or getattr(tokenizer, "reduction_fn", None) is not None:
        return None
    if getattr(tokenizer.clean_fn, "__name__", "") != "_clean_lower" or len(_specials(tokenizer)) != 2:
        return None
    return ClipWords(tokenizer)


def _is_clean(caption: str) -> bool:
    """Whether open_clip's clean-up (ftfy, entities, blanks) changes no more of it than case and blanks between words:
    printable ASCII without entities.

    >>> _is_clean("A red  bus"), _is_clean("Tom &amp; Jerry"), _is_clean("caf\N{LATIN SMALL LETTER E WITH ACUTE}")
    (True, False, False)
    """
    return caption.isascii() and caption.isprintable() and "&" not in caption


def _specials(tokenizer: Any) -> list[str]:
    """What a caption may spell out: the tokenizer takes it for its own mark of start or end."""
    return [tokenizer.decoder[number] for number in tokenizer.all_special_ids]


def _merges(tokenizer: Any) -> tuple[dict[str, int], list[tuple[str, str]]]:
    return tokenizer.encoder, sorted(tokenizer.bpe_ranks, key=tokenizer.bpe_ranks.__getitem__)


def _bpe(vocabulary: dict[str, int], merges: list[tuple[str, str]], pre_tokenizer: Any) -> Any:
    from tokenizers import Tokenizer, models

    tokenizer = Tokenizer(models.BPE(vocabulary, merges, end_of_word_suffix="</w>"))
    tokenizer.pre_tokenizer = pre_tokenizer
    return tokenizer
