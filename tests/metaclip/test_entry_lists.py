"""Lists in a folder: which one a language has, one space of ids, and what the user is told of entries."""

from __future__ import annotations

import json
from importlib.metadata import version
from pathlib import Path

import pytest

from curate.errors import CurateError
from curate.metaclip.entry_lists import SMALL_HASH, EntryLists, small_hash

pytestmark = pytest.mark.slow


def folder(path: Path, **lists: list[str]) -> EntryLists:
    path.mkdir(exist_ok=True)
    for name, entries in lists.items():
        (path / f"{name}.json").write_text(json.dumps(entries))
    (path / "README.txt").write_text("not a list")
    return EntryLists(str(path), by_language=True)


def test_ids_count_through_the_lists_in_the_order_of_their_names(tmp_path: Path) -> None:
    lists = folder(tmp_path, zh=["犬"], en=["a", "dog", "a"], other=["1", "2"])
    assert lists.names == ("en", "other", "zh")
    assert lists.starts() == {"en": 0, "other": 2, "zh": 4} and lists.size() == 5
    assert lists.strings([4, 1, 1]) == {1: "en: dog", 4: "zh: 犬"}


def test_the_list_of_a_language(tmp_path: Path) -> None:
    lists = folder(tmp_path / "a", zh=["犬"], zh_yue=["狗"], en=["a"], other=["1"])
    languages = ["zh", "zh_yue", "zh-tw", "zh_classical", "en-GB", "en@x", "fr", "enm", "", None]
    assert [lists.name_of(language) for language in languages] == [
        "zh", "zh_yue", "zh", "zh", "en", "en", "other", "other", "other", "other",
    ]  # fmt: skip
    without = folder(tmp_path / "b", zh=["犬"])
    assert [without.name_of(language) for language in ("zh-tw", "fr", "", None)] == ["zh", None, None, None]


def test_identity_is_that_of_names_and_contents(tmp_path: Path) -> None:
    name, one = folder(tmp_path / "one", en=["a"], fr=["b"]).identity().split("@")
    assert name == "one" and len(one) == 12
    assert folder(tmp_path / "same", en=["a"], fr=["b"]).identity() == f"same@{one}"
    assert folder(tmp_path / "swapped", en=["b"], fr=["a"]).identity() != f"swapped@{one}"
    assert folder(tmp_path / "renamed", en=["a"], de=["b"]).identity() != f"renamed@{one}"


def test_a_single_list(tmp_path: Path) -> None:
    (tmp_path / "m.json").write_text('["a", "dog house"]')
    lists = EntryLists(str(tmp_path / "m.json"))
    assert lists.names == ("",) and lists.starts() == {"": 0} and lists.strings([1]) == {1: "dog house"}
    assert lists.notice() == ""


def test_entries_that_never_match_are_counted_and_quoted(tmp_path: Path) -> None:
    entries = ["St. Louis", "dog", "U.S.", " dog", "dog  house", "a\tb", "i.e", "e.g", "p.m", "."]
    (tmp_path / "m.txt").write_text("\n".join(entries))
    said = EntryLists(str(tmp_path / "m.txt")).notice()
    assert said.startswith(f"{tmp_path}/m.txt: 6 of 10 entries can never match (they hold one of , . ; : ? ! ` beside ")
    assert "e.g. 'St. Louis', 'U.S.', 'a\\tb', 'i.e', 'e.g', …; 2 can match only where a text has several" in said
    lists = folder(tmp_path / "lists", en=["U.S.", "dog"], fr=["p. ex.", "chat"])
    assert "2 of 4 entries can never match" in lists.notice() and "e.g. 'U.S.', 'p. ex.'" in lists.notice()
    assert "…" not in lists.notice() and "several blanks" not in lists.notice()


def test_faults(tmp_path: Path) -> None:
    with pytest.raises(CurateError, match=r"none of its 2 entries can ever match, e.g. 'U.S.'"):
        folder(tmp_path / "a", en=["U.S."], fr=["p. ex."]).notice()
    with pytest.raises(CurateError, match=r"holds no <language>.json"):
        EntryLists(str(tmp_path / "none"), by_language=True).notice()
    with pytest.raises(CurateError, match=r"en.json: no entries in it"):
        folder(tmp_path / "b", en=[]).notice()
    with pytest.raises(CurateError, match=r"is a folder: choose among its lists by a column, {by: lang}"):
        EntryLists(str(tmp_path / "b")).notice()
    with pytest.raises(CurateError, match="no file"):
        EntryLists(str(tmp_path / "gone.json")).notice()
    with pytest.raises(CurateError, match="no metadata file"):
        EntryLists(str(tmp_path / "gone.json")).identity()


def test_the_identity_of_the_small_list_is_that_of_its_entries() -> None:
    assert small_hash() == SMALL_HASH[version("wordfreq")]
    assert EntryLists("small").identity() == f"small@{small_hash()}"
