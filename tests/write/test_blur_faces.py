"""Faces in training shards: blurred where DataComp's boxes are, all else byte by byte as it was."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from conftest import HERE, MakeStore
from PIL import Image

from curate.errors import CurateError
from curate.pictures.blur import blurred_file
from curate.read.step import ReadOptions, read
from curate.store.store import Store
from curate.store.verify import verify
from curate.store.view import View
from curate.write.faces import COUNTS, NOT_BLURRED
from curate.write.step import WriteOptions, write

BOXES = [[[0.2, 0.2, 0.6, 0.6]], [], None, [[0.1, 0.1, 0.2, 0.2], [0.5, 0.5, 0.9, 0.9]], [[30.0, 20.0, 60.0, 50.0]]]


def photo(number: int) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(np.random.default_rng(number).integers(0, 256, (80, 80, 3), np.uint8)).save(buffer, "JPEG")
    return buffer.getvalue()


@pytest.fixture
def view(tmp_path: Path) -> View:
    """Images in a parquet, as DataComp's metadata has boxes beside them."""
    rows = [
        {"url": f"http://a/{n}.jpg", "text": f"caption {n}", "jpg": photo(n), "face_bboxes": boxes}
        for n, boxes in enumerate(BOXES)
    ]
    schema = {"url": pl.String, "text": pl.String, "jpg": pl.Binary, "face_bboxes": pl.List(pl.List(pl.Float64))}
    pl.DataFrame(rows, schema=schema).write_parquet(tmp_path / "x.parquet")
    return read(Store(str(tmp_path / "store")), ReadOptions(input=str(tmp_path / "x.parquet"), rows_per_shard=2), HERE)


def images(folder: Path) -> list[bytes]:
    files = []
    for path in sorted(folder.glob("*.tar")):
        with tarfile.open(path) as tar:
            files += [tar.extractfile(m).read() for m in tar if m.name.endswith(".jpg")]  # type: ignore[union-attr]
    return files


def test_only_boxes_are_blurred(view: View, tmp_path: Path) -> None:
    done = write(view, WriteOptions(to=str(tmp_path / "shards"), samples_per_shard=3, blur_faces=True), HERE)
    first, second, third, fourth, fifth = images(tmp_path / "shards")
    assert (second, third) == (photo(1), photo(2))
    assert first == blurred_file(photo(0), [(0.2, 0.2, 0.6, 0.6)], "jpg")[0]
    assert fourth == blurred_file(photo(3), [(0.1, 0.1, 0.2, 0.2), (0.5, 0.5, 0.9, 0.9)], "jpg")[0]
    assert fifth == blurred_file(photo(4), [(0, 0, 1, 1)], "jpg")[0]
    counts = {kind: entry["rows"] for kind, entry in done["remarks"].items()}
    assert {counts[COUNTS["blurred"]], counts[COUNTS["unknown"]], counts[COUNTS["whole"]]} == {2, 1}
    assert counts[COUNTS["blurred"]] == 2
    assert json.loads((tmp_path / "shards" / "00000_stats.json").read_text())["faces"]["blurred"] == 1
    assert "Faces are blurred where `face_bboxes` has boxes." in (tmp_path / "shards" / "README.md").read_text()
    verify(str(tmp_path / "shards"))


def test_the_store_keeps_its_images_and_another_selection_its_shards(view: View, tmp_path: Path) -> None:
    plain = write(view, WriteOptions(), HERE)
    blurred = write(view, WriteOptions(blur_faces="face_bboxes"), HERE)
    assert plain["to"] != blurred["to"]
    assert images(Path(plain["to"])) == [photo(n) for n in range(5)]
    assert NOT_BLURRED in plain["remarks"] and NOT_BLURRED not in blurred["remarks"]
    assert write(view, WriteOptions(blur_faces=True), HERE)["to"] == blurred["to"]


def test_a_column_that_is_not_there(view: View) -> None:
    with pytest.raises(CurateError, match=r"no column 'face_boxes' \(did you mean 'face_bboxes'\?\)"):
        write(view, WriteOptions(blur_faces="face_boxes"), HERE)


def test_an_image_that_cannot_be_blurred_is_not_written_as_it_is(make_store: MakeStore, tmp_path: Path) -> None:
    rows = [{"boxes": [[0.1, 0.1, 0.5, 0.5]]}]
    view = make_store(rows, 10, [photo(0)[:-300]])
    with pytest.raises(CurateError, match="the faces of row 0 of shard 0 cannot be blurred"):
        write(view, WriteOptions(to=str(tmp_path / "shards"), blur_faces="boxes"), HERE)
