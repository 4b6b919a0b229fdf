"""Every notebook runs from top to bottom on a finished run, and holds no output of an earlier one."""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest
from conftest import patience
from finished_run import finish

pytestmark = pytest.mark.slow

nbformat = importlib.import_module("nbformat")
nbclient = importlib.import_module("nbclient")

NOTEBOOKS = sorted((Path(__file__).parents[2] / "notebooks").glob("*.ipynb"))


def execute(path: Path):
    book = nbformat.read(path, as_version=4)
    client = nbclient.NotebookClient(book, timeout=patience(120), resources={"metadata": {"path": str(path.parent)}})
    client.execute()
    return book


def outputs(book) -> list:
    return [output for cell in book.cells for output in cell.get("outputs", [])]


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> str:
    return finish(tmp_path_factory.mktemp("run"))


def test_there_are_notebooks() -> None:
    assert [path.name for path in NOTEBOOKS] == ["explore_run.ipynb"]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_is_stored_without_outputs(path: Path) -> None:
    book = nbformat.read(path, as_version=4)
    nbformat.validate(book)
    assert outputs(book) == []
    assert all(cell.get("execution_count") is None for cell in book.cells)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs_and_draws(path: Path, root: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CURATE_ROOT", root)
    book = execute(path)
    made = outputs(book)
    assert [output for output in made if output.output_type == "error"] == []
    assert [output.text for output in made if output.get("name") == "stderr"] == []
    figures = {cell.id: sum("image/png" in o.get("data", {}) for o in cell.get("outputs", [])) for cell in book.cells}
    assert {cell: n for cell, n in figures.items() if n} == {
        "funnel": 1,
        "scores": 1,
        "captions": 1,
        "images": 1,
        "download": 1,
        "kept": 1,
        "dropped": 3,  # images, duplicates, sure: the steps that drop what was downloaded
        "threshold": 1,
        "border": 2,
    }
    said = "".join(output.get("text", "") for output in made)
    assert f"curate filter {root} --where 'lang_score >= 0.6'" in said


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_without_a_store_it_says_how_to_make_one(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CURATE_ROOT", str(tmp_path / "nothing"))
    with pytest.raises(nbclient.exceptions.CellExecutionError, match="make demo"):
        execute(path)
