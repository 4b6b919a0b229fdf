"""Errors that name what there is: all of a few, the nearest of many."""

from __future__ import annotations

from curate.errors import NAMES_NEAREST, unknown


def test_a_few_names_are_all_listed():
    assert (
        str(unknown("op", "wrds", ["words", "clip"])) == "no op 'wrds' (did you mean 'words'?); there are: clip, words"
    )
    assert str(unknown("op", "x", [])) == "no op 'x'; there are: none"


def test_of_many_names_the_nearest_are_listed():
    names = [f"model-{number:03}" for number in range(150)]
    said = str(unknown("model", "model-07x", names))
    assert "; there are 150, the nearest: model-0" in said and "model-079" in said
    assert said.count("model-") == NAMES_NEAREST + 2, "the name itself, the nearest, and the list"
