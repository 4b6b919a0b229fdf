"""Entry lists built from literal texts whose counts and PMI are computable by hand."""

from __future__ import annotations

import bz2
import gzip
import json
import math
from collections import Counter
from itertools import pairwise
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import yaml
import zstandard

from curate.cli import app
from curate.errors import CurateError
from curate.metaclip.entry_list import load
from curate.metadata.build import build
from curate.metadata.command import make_metadata
from curate.metadata.corpus_text import find
from curate.metadata.rules import PUBLISHED_PAIRS, Rules

pytestmark = pytest.mark.slow


def parts(rules: Rules, folder: Path, text: str, **more) -> dict[str, list[str]]:  # type: ignore[no-untyped-def]
    (folder / "text.txt").write_text(text, encoding="utf-8")
    built = build(rules, find([str(folder / "text.txt")]), **more)
    return {part.source: part.entries for part in built.parts}


def english(**changed) -> Rules:  # type: ignore[no-untyped-def]
    return Rules.published("en", **{"min_count": 1, "pmi": -99, **changed})


# 16 words: a 8, b 4, x 2, y 2. Pairs: "a b" 4, "x y" 2, "b a" 3, "a a" 2 ("a a a": 2).
TEXT = "a b a b a b a b\na a a\na\nx y\nx y\n"


def test_words_by_count_then_spelling(tmp_path: Path) -> None:
    found = parts(english(), tmp_path, TEXT)
    assert found["numbers"] == [str(n) for n in range(100)]
    assert found["words"] == ["a", "b", "x", "y"]
    assert parts(english(min_count=4), tmp_path, TEXT)["words"] == ["a", "b"]
    assert parts(english(min_count=5), tmp_path, TEXT)["words"] == ["a"]


def test_pairs_by_pmi_then_count_then_spelling(tmp_path: Path) -> None:
    """log2(c(xy) 16 / (c(x) c(y))): x y 3; a b 1; b a log2(3 * 16 / 32) = 0.585; a a log2(2 * 16 / 64) = -1."""
    assert parts(english(), tmp_path, TEXT)["pairs"] == ["x y", "a b", "b a", "a a"]
    assert parts(english(pmi=1), tmp_path, TEXT)["pairs"] == ["x y", "a b"]
    assert parts(english(pmi=1.0001), tmp_path, TEXT)["pairs"] == ["x y"]
    assert parts(english(pmi=1, above_pmi=True), tmp_path, TEXT)["pairs"] == ["x y"]
    assert parts(english(min_pair=3), tmp_path, TEXT)["pairs"] == ["a b", "b a"]
    assert parts(english(most_pairs=1), tmp_path, TEXT)["pairs"] == ["x y"]
    ties = "p q\nr s\nr s\nm n\n"  # 8 words: p q and m n log2(1 * 8 / 1) = 3, r s log2(2 * 8 / 4) = 2
    assert parts(english(), tmp_path, ties)["pairs"] == ["m n", "p q", "r s"]


def by_hand(lines: list[str], pmi: float, min_pair: int) -> list[str]:
    words = Counter(word for line in lines for word in line.split())
    pairs = Counter(pair for line in lines for pair in pairwise(line.split()))
    total = sum(words.values())
    scored = [
        (-(math.log2(n * total) - math.log2(words[x] * words[y])), -n, f"{x} {y}")
        for (x, y), n in pairs.items()
        if n >= min_pair
    ]
    return [entry for score, _, entry in sorted(scored) if -score >= pmi]


@pytest.mark.parametrize("pmi", [-20, 0, 2.5, 6, 9, 30])
@pytest.mark.parametrize("min_pair", [1, 3])
def test_what_is_not_counted_could_not_pass(tmp_path: Path, pmi: float, min_pair: int) -> None:
    rng = np.random.default_rng(3)
    numbers = np.minimum(rng.pareto(0.6, 4000), 400).astype(int).reshape(-1, 8)
    lines = [" ".join(f"w{n}" for n in row) for row in numbers]
    found = parts(english(pmi=pmi, min_pair=min_pair), tmp_path, "\n".join(lines))["pairs"]
    assert found == by_hand(lines, pmi, min_pair)


def test_the_first_source_has_the_entry(tmp_path: Path) -> None:
    views = tmp_path / "pageviews.gz"
    views.write_bytes(gzip.compress(b"en dog 99 0\nen red_car 98 0\nen Whitby_Abbey 97 0\nen 7 96 0\n"))
    text = "dog 7 \u3000 red car\n"
    names = ["red car", "dog", "dog", "entity"]
    found = parts(english(), tmp_path, text, names=names, titles=[str(views)])
    assert found["wordnet"] == ["red car", "dog", "entity"]
    assert found["words"] == ["car", "red"]
    assert found["pairs"] == ["7 red", "dog 7"]
    assert found["titles"] == ["Whitby Abbey"]
    assert parts(english(size=103), tmp_path, text, names=names)["words"] == []
    assert parts(english(size=104), tmp_path, text, names=names)["words"] == ["car"]


def test_single_marks_and_empty_entries_are_dropped(tmp_path: Path) -> None:
    names = ["", ".", "..", "\u2014", " ", "a"]
    assert parts(english(most_words=0), tmp_path, "word", names=names)["wordnet"] == ["..", "\u2014", " ", "a"]
    later = Rules.published("de", most_words=0)
    assert parts(later, tmp_path, "word", names=[*names, " b ", "c" * 256, "d" * 257])["wordnet"] == [
        "a",
        "b",
        "c" * 256,
    ]


def test_german_takes_shares(tmp_path: Path) -> None:
    """The later rules: a tenth of 30 distinct words; three quarters (0.76) of 4 titles, the mobile site counted."""
    words = " ".join(["Haus"] * 4 + ["Straße"] * 3 + ["ist"] * 2 + ["x"] * 2 + [f"w{n}" for n in range(26)])
    views = tmp_path / "pageviews.gz"
    lines = "de Berlin 2 0\nde.m Berlin 2 0\nde München 3 0\nde Haus 9 0\nde A 1 0\nde.b Buch 50 0\nen Dog 90 0\n"
    views.write_bytes(gzip.compress(lines.encode()))
    found = parts(Rules.published("de"), tmp_path, words, titles=[str(views)])
    assert found["words"] == ["Haus", "Straße", "ist"]
    assert found["pairs"] == []
    assert found["titles"] == ["Berlin", "München", "A"]


def test_published_numbers() -> None:
    rules = Rules.published("en")
    assert (rules.size, rules.min_count, rules.pmi, rules.min_views, rules.row_views) == (500_000, 100, 30, 70, 50)
    rules = Rules.published("zh_yue")
    assert (rules.most_words, rules.most_pairs, rules.most_titles) == (251_465, PUBLISHED_PAIRS, 61_235)
    assert (rules.word_share, rules.title_share, rules.max_chars, rules.joiner) == (0.1, 0.76, 256, "")
    assert Rules.published("de", pmi=12, min_pair=None).pmi == 12


def test_chinese_pairs_have_no_blank(tmp_path: Path) -> None:
    found = parts(Rules.published("zh", word_share=1, pmi=1), tmp_path, "北京。北京，上海\n東 京\n")
    # 8 characters: 北京 log2(2 * 8 / (2 * 3)), 東京 log2(1 * 8 / (1 * 3)), both 1.415; 上海 3
    assert found["words"] == ["京", "北", "上", "東", "海"]
    assert found["pairs"] == ["上海", "北京", "東京"]


def halves(line: str) -> list[str]:
    return [line[i : i + 2] for i in range(0, len(line), 2)]


def test_a_tokenizer_of_the_user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(Path(__file__).parent))
    rules = Rules.published("ja", word_share=1, pmi=0)
    found = parts(rules, tmp_path, "東京タワ\n、、東京\n", tokenizer="test_metadata_build:halves")
    assert found["words"] == ["東京", "タワ"]
    assert found["pairs"] == ["東京タワ"]
    for name, message in (("x", "package.module:function"), ("no_such:f", "cannot import"), ("json:f", "no function")):
        with pytest.raises(CurateError, match=message):
            make_metadata(str(tmp_path / "o.json"), [str(tmp_path / "text.txt")], cut=name)


def write_all(folder: Path) -> dict[str, Path]:
    """The same two texts in every format."""
    texts = ["red car", "blue\nsea"]
    rows = pl.DataFrame(
        {"id": ["1", "2", "3"], "url": ["u", "v", "w"], "title": ["T", "U", "V"], "text": [*texts, None]}
    )
    files = {
        name: folder / name for name in ("t.txt", "t.txt.gz", "t.txt.zst", "t.txt.bz2", "t.jsonl", "t.parquet", "t.csv")
    }
    plain = "\n".join(texts).encode()
    files["t.txt"].write_bytes(plain)
    files["t.txt.gz"].write_bytes(gzip.compress(plain))
    files["t.txt.bz2"].write_bytes(bz2.compress(plain[:3]) + bz2.compress(plain[3:]))
    files["t.txt.zst"].write_bytes(zstandard.ZstdCompressor().compress(plain))
    rows.write_ndjson(files["t.jsonl"])
    rows.write_parquet(files["t.parquet"])
    rows.write_csv(files["t.csv"])
    return files


def test_every_format_gives_the_same(tmp_path: Path) -> None:
    for path in write_all(tmp_path).values():
        built = build(english(), find([str(path)]))
        assert built.tokens == 4, path
        assert built.entries[100:] == ["blue", "car", "red", "sea", "red car"], path
    built = build(english(), find([str(tmp_path)]), workers=2)
    assert built.tokens == 7 * 4


def test_text_that_is_not_utf8_is_read_with_marks(tmp_path: Path) -> None:
    (tmp_path / "t.txt").write_bytes(b"caf\xe9 ol\xc3\xa9")
    assert build(english(), find([str(tmp_path / "t.txt")])).entries[100:102] == ["caf\ufffd", "olé"]


def test_errors_come_before_work(tmp_path: Path) -> None:
    to = str(tmp_path / "out.json")
    files = {name: str(path) for name, path in write_all(tmp_path).items()}
    (tmp_path / "t.pdf").write_bytes(b"")
    (tmp_path / "empty.txt").write_text(" .\n")
    (tmp_path / "views.gz").write_bytes(gzip.compress(b"en Dog 70 0\n"))
    pl.DataFrame({"a": [1], "text": [2]}).write_parquet(tmp_path / "n.parquet")
    pl.DataFrame({"a": [1]}).write_parquet(tmp_path / "none.parquet")
    for texts, more, message in (
        ([], {}, "--text"),
        ([str(tmp_path / "no.txt")], {}, "no file at"),
        ([str(tmp_path / "*.xml")], {}, "no file at"),
        ([str(tmp_path / "t.pdf")], {}, "known kind"),
        ([files["t.parquet"]], {"column": "txet"}, "did you mean 'text'"),
        ([str(tmp_path / "none.parquet")], {}, "no column of text found among a"),
        ([str(tmp_path / "n.parquet")], {}, "expected text"),
        ([str(tmp_path / "empty.txt")], {}, "no words in"),
        ([files["t.txt"]], {"titles": [str(tmp_path / "no.gz")]}, "no file at"),
        ([files["t.txt"]], {"titles": [files["t.txt"]]}, "page views|page-view"),
        ([files["t.txt"]], {"titles": [str(tmp_path / "views.gz")], "languages": ["fr"]}, "no page of 'fr'"),
        ([files["t.txt"]], {"wordnet": str(tmp_path)}, "no WordNet at"),
        ([files["t.txt"]], {"languages": ["de", "fr"]}, "several languages need a folder"),
        ([files["t.txt"]], {"languages": ["../x"]}, "code of Wikipedia"),
        ([files["t.txt"]], {"size": 0}, "size"),
        ([files["t.txt"]], {"temp": str(tmp_path / "none")}, "no such folder"),
    ):
        with pytest.raises(CurateError, match=message):
            make_metadata(to, texts, **more)
    assert not Path(to).exists()


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("curate.metadata.command.WORDNET", str(tmp_path / "none"))
    for language, text in (("en", "dog St dog"), ("de", "Hund . Hund")):
        (tmp_path / f"{language}.txt").write_text(text)
    views = tmp_path / "views.gz"
    views.write_bytes(gzip.compress(b"de St._Pauli 70 0\nen St._Louis 70 0\nen U.S. 90 0\n"))
    folder = tmp_path / "lists"
    app(
        ["metadata", str(folder), "--text", f"{tmp_path}/{{language}}.txt", "--language", "en", "--language", "de",
         "--titles", str(views), "--min-count", "2"],
        standalone_mode=False,
    )  # fmt: skip
    assert load(str(folder / "en.json"))[100:] == ["dog", "U.S.", "St. Louis"]
    assert load(str(folder / "de.json"))[100:] == []
    shown = capsys.readouterr().out
    assert "'U.S.', 'St. Louis'" in shown
    assert "no pair can pass" in shown
    about = yaml.safe_load((folder / "en.about.yaml").read_text())
    assert about["sources"]["titles"] == {"seen": 2, "candidates": 2, "new": 2}
    assert about["entries"]["unmatchable"] == 2
    assert about["inputs"]["text"][0]["bytes"] == 10
    assert about["words_counted"] == 3
    assert json.loads((folder / "en.json").read_text())[:2] == ["0", "1"]
