"""score.synsets: the first WordNet sense of a word, by lines of WordNet 3.0 as they stand there."""

from __future__ import annotations

import os
from pathlib import Path

import pyarrow as pa
import pytest
from small_wordnet import small_wordnet

from curate.catalog import load
from curate.errors import CurateError
from curate.metadata.wordnet import WORDNET
from curate.score.synsets import FirstSynsets

#: What the published filter says of these words.
FIRST = {
    "dogs": 2084071, "castle": 3878066, "mice": 2330245, "photo": 3925226, "red": 4962784, "running": 558883,
    "men": 8212347, "of": None, "the": None, "dog,": None, "Boxes": 2883344, "LULLED": 1763661, "quickly": 85811,
}  # fmt: skip
IN21K = {2084071, 3878066, 2330245, 2883344}


@pytest.fixture
def wordnet(tmp_path: Path) -> str:
    return small_wordnet(tmp_path / "wordnet")


@pytest.mark.parametrize(("word", "offset"), FIRST.items())
def test_first_synsets(wordnet: str, word: str, offset: int | None) -> None:
    assert FirstSynsets.of(wordnet)(word) == offset


def test_an_irregular_form_has_no_endings_taken_off(wordnet: str) -> None:
    first = FirstSynsets.of(wordnet)
    assert first("bigger") == 1382086  # an adjective's irregular form
    assert first("zzz") is None
    assert first("dogses") == 2084071  # endings are taken off until a form is there
    assert first("s" * 79) is None and first("ses" * 10_000) is None


def test_captions(wordnet: str, tmp_path: Path) -> None:
    (tmp_path / "ids.txt").write_text("n02084071\nn03878066\n02883344\n\n")
    op = load({"score.synsets": {"wordnet": wordnet, "ids": str(tmp_path / "ids.txt")}})
    op.check()
    op.setup()
    texts = ["dogs at play", "a dog,", "running fast of it", "a Castle of\u00a0Dogs", "", "red \x1f box"]
    columns = op.apply({"text": texts})
    assert pa.array(columns["in21k_first"]).to_pylist() == ["dogs", None, None, "Castle", None, "box"]
    assert pa.array(columns["in21k_match"]).to_pylist() == [True, False, False, True, False, True]


@pytest.mark.parametrize(
    ("ids", "fault"),
    [("", "holds no synset id"), ("n02084071\ndog\n", "line 2: 'dog' is no synset id such as n02084071")],
)
def test_faults_of_the_ids(wordnet: str, tmp_path: Path, ids: str, fault: str) -> None:
    (tmp_path / "ids.txt").write_text(ids)
    with pytest.raises(CurateError, match=fault):
        load({"score.synsets": {"wordnet": wordnet, "ids": str(tmp_path / "ids.txt")}}).check()
    with pytest.raises(CurateError, match="no file"):
        load({"score.synsets": {"wordnet": wordnet, "ids": str(tmp_path / "none.txt")}}).check()


def test_without_wordnet(tmp_path: Path) -> None:
    op = load({"score.synsets": {"wordnet": str(tmp_path)}})
    for ask in (op.check, op.weights):
        with pytest.raises(
            CurateError, match=r"index.noun is not there.*: apt install wordnet-base, or name the folder"
        ):
            ask()


def test_a_damaged_index_is_named(wordnet: str) -> None:
    (Path(wordnet) / "index.verb").write_text("dog v 1 2 @\n")
    with pytest.raises(CurateError, match=r"index.verb, line 1 is no line of a WordNet index"):
        FirstSynsets.of(wordnet)


def test_the_whole_of_wordnet() -> None:
    """Where it is installed, or CURATE_TEST_WORDNET names it."""
    folder = os.environ.get("CURATE_TEST_WORDNET", WORDNET)
    if not (Path(folder) / "index.noun").is_file():
        pytest.skip("no WordNet: apt install wordnet-base, or CURATE_TEST_WORDNET")
    op = load({"score.synsets": {"wordnet": folder}})
    op.check()
    op.setup()
    first = FirstSynsets.of(folder)
    assert {word: first(word) for word in FIRST} == FIRST
    matches = pa.array(op.apply({"text": list(FIRST)})["in21k_match"]).to_pylist()
    assert matches == [offset in IN21K for offset in FIRST.values()]
