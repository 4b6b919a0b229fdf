"""score.concepts: whole words of synonyms, however they are written."""

from __future__ import annotations

import random
import re
from pathlib import Path

import pyarrow as pa
import pytest

from curate.catalog import load
from curate.errors import CurateError
from curate.score.concepts import concept_list

pytestmark = pytest.mark.slow


def named(file: Path, texts: list[str]) -> list[list[int]]:
    op = load({"score.concepts": {"file": str(file)}})
    op.check()
    op.setup()
    return pa.array(op.apply({"text": texts})["concepts"], op.makes()["concepts"]).to_pylist()


def concepts(folder: Path, *lines: str) -> Path:
    file = folder / "concepts.tsv"
    file.write_text("\n".join(lines) + "\n")
    return file


def test_panda_and_crane(tmp_path: Path) -> None:
    file = concepts(tmp_path, "panda\tpanda|giant panda", "crane\tcrane")
    texts = ["A giant panda.", "pandas", "Crane-fly", "crane and panda"]
    assert named(file, texts) == [[0], [], [1], [0, 1]]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Ocean_liner!", [0]),
        ("ocean  \n liner", [0]),
        ("ocean, liner", [0]),
        ("the oceanliner", []),
        ("OCEAN LINERS", []),
        ("a 'jack-o\u2019-lantern'", [1]),
        ("jackolantern", []),
        ("\u0440\u0443\u0441\u0441\u043a\u0438\u0439 \u0447\u0430\u0439", [2]),
        ("caf\u00e9s", []),
        ("the CAF\u00c9", [3]),
        ("ship", [0, 4]),
        ("7 up", [5]),
        ("", []),
    ],
)
def test_words(tmp_path: Path, text: str, expected: list[int]) -> None:
    file = concepts(
        tmp_path, "liner\tocean liner|ship", "lantern\tjack-o'-lantern", "tea\t\u0447\u0430\u0439", "caf\u00e9",
        "vessel\tship|Ship.", "drink\t7-Up",
    )  # fmt: skip
    assert named(file, [text]) == [expected]


@pytest.mark.parametrize(
    ("lines", "fault"),
    [
        (["a\ta", "", "b\tb"], r"line 2 has no name: expected name<TAB>synonym\|synonym"),
        (["a\ta", "a\tb"], "line 2: 'a' stands twice"),
        (["a\ta|...|b"], r"line 1: synonym '...' has no letter or digit"),
        ([""], "line 1 has no name"),
    ],
)
def test_faults_of_the_file(tmp_path: Path, lines: list[str], fault: str) -> None:
    with pytest.raises(CurateError, match=fault):
        concept_list(str(concepts(tmp_path, *lines)))


def test_a_file_that_is_not_there() -> None:
    with pytest.raises(CurateError, match=r"score.concepts: no file 'none.tsv'"):
        load({"score.concepts": {"file": "none.tsv"}}).check()


def test_its_content_is_its_identity(tmp_path: Path) -> None:
    file = concepts(tmp_path, "a", "b")
    first = load({"score.concepts": {"file": str(file)}}).spec()
    file.rename(tmp_path / "moved.tsv")
    assert load({"score.concepts": {"file": str(tmp_path / "moved.tsv")}}).spec() == first
    assert load({"score.concepts": {"file": str(concepts(tmp_path, "a", "c"))}}).spec() != first


def test_against_regular_expressions_on_random_captions(tmp_path: Path) -> None:
    draw = random.Random(8)
    words = ["red", "car", "dog", "house", "the", "Red", "CAR", "dogs", "o"]
    lines = {f"c{i}": [" ".join(draw.choices(words[:5], k=draw.randint(1, 3))) for _ in range(3)] for i in range(20)}
    file = concepts(tmp_path, *(f"{name}\t{'|'.join(synonyms)}" for name, synonyms in lines.items()))
    texts = [
        "".join(f"{w}{draw.choice(' -_.,!')}" for w in draw.choices(words, k=draw.randint(0, 7))) for _ in range(500)
    ]
    expected = []
    for text in texts:
        plain = " ".join(re.findall(r"[a-z0-9]+", text.lower()))
        hits = [i for i, synonyms in enumerate(lines.values()) if any(f" {s} " in f" {plain} " for s in synonyms)]
        expected.append(hits)
    assert named(file, texts) == expected
