"""YAML of a user's, whatever it holds: a value, or one sentence with the line."""

from __future__ import annotations

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curate.errors import CurateError
from curate.library.yaml_text import MOST_LEVELS, parse

BOMB = "a: &a [1, 1, 1, 1, 1, 1, 1, 1, 1]\n" + "".join(
    f"{new}: &{new} [{', '.join([f'*{old}'] * 9)}]\n" for old, new in zip("abcdefgh", "bcdefghi", strict=True)
)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("score.clip: {model: ViT", "line 1, column 24: expected ',' or '}'"),
        ("a: 1\n b: 2", "line 2, column 3: mapping values are not allowed here"),
        ("a:\n\t- b", "line 2, column 1: found character '\\t' that cannot start any token"),
        ("'", "unexpected end of stream"),
        ("a: &a [*a]", "a value contains itself"),
        ("a: &a {b: *a}", "a value contains itself"),
        ("&a a: &b [*b, *a]", "a value contains itself"),
        ("a: *b", "found undefined alias 'b'"),
        ("[" * 100 + "]" * 100, f"more than {MOST_LEVELS} levels"),
        ("[" * 100_000, f"more than {MOST_LEVELS} levels"),
        ("{a: " * 3000, f"more than {MOST_LEVELS} levels"),
        ("- " * 3000 + "a", f"more than {MOST_LEVELS} levels"),
        (BOMB, "its aliases unfold to more than 1,000,000 values"),
        ("a: !!python/object/apply:os.system [ls]", "could not determine a constructor for the tag"),
        ("a: 2024-13-45", "month must be in 1..12"),
        ("a: 1\nb: 2\na: 3", "line 3, column 1: the key 'a' stands twice"),
        ("? [1]\n: 2", "unhashable"),
        ("a: b\0c", "special characters are not allowed"),
        ('a: "b\\0c"', "holds NUL"),
        ('"a\\0": b', "holds NUL"),
        ('a: "\\ud800"', "holds NUL or half a character"),
        ("a: 1\n---\nb: 2", "line 2, column 1: but found another document"),
        ("x" * 5_000_001, "too long for YAML"),
    ],
    ids=range(23),
)
def test_one_sentence(text: str, message: str) -> None:
    began = time.process_time()
    with pytest.raises(CurateError) as caught:
        parse(text, "job.yaml")
    assert message in str(caught.value) and str(caught.value).startswith("job.yaml")
    assert "\n" not in str(caught.value)
    assert time.process_time() - began < 20, "counted before it is unfolded"


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("a: &x {b: 1}\nc: *x", {"a": {"b": 1}, "c": {"b": 1}}),
        ("base: &x {b: 1}\nc: {<<: *x, d: 2}", {"base": {"b": 1}, "c": {"b": 1, "d": 2}}),
        ("<<: {b: 1}\nb: 2", {"b": 2}),
        ("", None),
        ("[1, 2.5, true, null, x]", [1, 2.5, True, None, "x"]),
    ],
)
def test_values(text: str, value: object) -> None:
    assert parse(text, "x") == value


@settings(max_examples=300, derandomize=True, deadline=None)
@given(st.text(st.sampled_from("ab:-?[]{},&*!|>'\"%@`#\n\t \\0\x00\x1b<é"), max_size=40))
def test_nothing_else_comes_out(text: str) -> None:
    try:
        parse(text, "x")
    except CurateError as error:
        assert "\n" not in str(error)
