"""score.named_face: names of a list in captions, and faces in their images."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest
from conftest import HERE, MakeStore, column

from curate.annotate.step import annotate
from curate.catalog import load
from curate.errors import CurateError
from curate.op import Op

NAMES = """# opted out
Beyoncé
Jean-Luc O'Neill
ivan müller
王菲
Łukasz Żak
"""

FACE = [[0.1, 0.1, 0.4, 0.5]]


@pytest.fixture
def op(tmp_path: Path) -> Op:
    (tmp_path / "names.txt").write_text(NAMES)
    loaded = load({"score.named_face": {"names": str(tmp_path / "names.txt")}})
    loaded.check()
    loaded.setup()
    return loaded


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("Beyoncé on stage", True),
        ("BEYONCE on stage", True),
        ("photo of Beyonce\u0301's dress", True),  # the accent as a character of its own
        ("a beyoncette doll", False),
        ("rebeyonce", False),
        ("jean luc o\u2019neill, 2019", True),
        ("Jean-Luc, by O'Neill", False),
        ("Jean-Luc", False),
        ("IVAN MU\u0308LLER", True),
        ("Ivan Mueller", False),
        ("Müller Ivan", False),
        ("ivan_müller.jpg", True),
        ("Ivan\nMüller", True),
        ("歌手王菲在台上", True),
        ("王 菲", True),
        ("王小菲", False),
        ("Łukasz Zak", True),
        ("Lukasz Zak", False),  # a stroke is no accent
        ("ＢＥＹＯＮＣÉ", True),
        ("", False),
        ("... !", False),
    ],
)
def test_captions(op: Op, text: str, named: bool) -> None:
    boxes = pa.array([FACE, []], pa.list_(pa.list_(pa.float32())))
    assert list(op.apply({"text": [text, text], "face_bboxes": boxes})["named_face"]) == [named, False]


def test_the_list_is_known_by_its_content(op: Op, tmp_path: Path) -> None:
    (tmp_path / "again.txt").write_text(NAMES)
    assert load({"score.named_face": {"names": str(tmp_path / "again.txt")}}).spec() == op.spec()
    (tmp_path / "again.txt").write_text("Beyoncé\n")
    assert load({"score.named_face": {"names": str(tmp_path / "again.txt")}}).spec() != op.spec()


@pytest.mark.parametrize(
    ("content", "message"),
    [("# nobody\n\n", "names nobody"), ("Ivan\n&&\n", "'&&' in .* is no name"), (None, "cannot be read")],
)
def test_a_list_that_is_none(tmp_path: Path, content: str | None, message: str) -> None:
    if content is not None:
        (tmp_path / "names.txt").write_text(content)
    with pytest.raises(CurateError, match=message):
        load({"score.named_face": {"names": str(tmp_path / "names.txt")}}).check()
        load({"score.named_face": {"names": str(tmp_path / "names.txt")}}).spec()


def test_boxes_have_to_be_boxes(op: Op) -> None:
    with pytest.raises(CurateError, match="'face_bboxes' holds int64, and no lists of boxes"):
        op.apply({"text": ["Beyoncé"], "face_bboxes": pa.array([1])})


@pytest.mark.slow
def test_in_a_store_with_boxes_of_the_input(op: Op, make_store: MakeStore) -> None:
    rows = [("Beyoncé", FACE), ("Beyoncé", []), ("a cat", FACE), (None, FACE), ("Beyoncé", None)]
    view = make_store([{"url": f"http://a.test/{n}", "text": t, "face_bboxes": b} for n, (t, b) in enumerate(rows)])
    view = annotate(view, [op], HERE)
    assert column(view, "named_face") == [True, False, False, None, None]
