"""Languages of captions: labels, the lower-cased question, and what each detector needs."""

from __future__ import annotations

import importlib.util

import polars as pl
import pyarrow as pa
import pytest
import yaml

from curate.catalog import library, load
from curate.errors import CurateError
from curate.filter.decide import decide
from curate.filter.rule import load_filter

TEXTS = [
    "a dog runs on the beach with a ball",
    "Hunde laufen am Strand mit einem Ball",
    "PLAID TEE SHIRT",
    " \n",
    "two\nlines of words",
]


def columns(texts, **options):
    op = load({"score.language": options}) if options else load("score.language")
    op.setup()
    return op.batch({"text": pa.array(texts)})


def test_labels_and_probabilities():
    found = columns(TEXTS)
    assert found["lang"][0] == "en" and found["lang"][1] == "de" and found["lang"][4] == "en"
    assert found["lang"][3] is None and found["lang_score"][3] is None and found["lang_lower"][3] is None
    assert all(0 < score <= 1 for score in found["lang_score"] if score is not None)


def test_capitals_are_asked_for_again_in_lower_case():
    found = columns(TEXTS)
    assert found["lang"][2] != "en"
    assert found["lang_lower"] == columns([text.lower() for text in TEXTS])["lang"]


@pytest.mark.skipif(importlib.util.find_spec("lingua") is None, reason="lingua is not installed")
@pytest.mark.slow
def test_lingua_has_the_same_columns():
    found = columns(TEXTS, detector="lingua")
    assert found["lang"][0] == "en" and found["lang"][1] == "de" and found["lang"][3] is None
    assert load({"score.language": {"detector": "lingua"}}).weights().startswith("lingua@")


@pytest.mark.parametrize("name", ["web", "demo"])
@pytest.mark.parametrize(
    ("lang", "score", "lower", "kept"),
    [
        ("en", 0.2, "de", True),
        ("de", 0.39, "de", True),
        ("de", 0.9, "en", True),
        ("de", 0.4, "de", False),
        ("ru", 0.9, "ru", False),
        (None, None, None, False),
    ],
)
def test_the_pipelines_drop_what_is_surely_not_english(name, lang, score, lower, kept):
    step = next(step for step in _steps(name) if any("lang_lower" in sql for sql in step.where.values()))
    rule = step.model_copy(update={"where": {r: sql for r, sql in step.where.items() if "lang" in sql}})
    row = {"lang": [lang], "lang_score": [score], "lang_lower": [lower]}
    frame = pl.DataFrame(row, schema={"lang": pl.String, "lang_score": pl.Float32, "lang_lower": pl.String})
    assert decide(frame, rule)["kept"].to_list() == [kept]


def _steps(name):
    steps = yaml.safe_load(library("pipelines")[name].read_text())["steps"]
    rules = [step["filter"] for step in steps if isinstance(step.get("filter"), dict) and "keep" in step["filter"]]
    return [load_filter(rule) for rule in rules if "lang" in str(rule)]


def test_what_is_refused():
    with pytest.raises(CurateError, match="'lid176' or 'lingua', got 'cld3'"):
        load({"score.language": {"detector": "cld3"}})
    with pytest.raises(CurateError, match=r"`model` is a lid\.176 file"):
        load({"score.language": {"detector": "lingua", "model": "lid.176.bin"}}).check()
    assert load({"score.language": {"detector": "lingua"}}).packages() == ("lingua",)
