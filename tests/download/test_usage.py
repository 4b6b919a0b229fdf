"""Content-Usage and Content-Signal: what is read of them."""

from __future__ import annotations

import pytest

from curate.download.usage import forbidden_use, preferences, usage_lines, usage_of

USES = ("train-ai", "ai-train")


@pytest.mark.parametrize(
    ("values", "use"),
    [
        (["train-ai=n"], "train-ai"),
        (["search=y, TRAIN-AI = N"], "train-ai"),
        (["search=yes,ai-train=no,ai-input=no"], "ai-train"),
        (["train-ai=n;exp=1700000000"], "train-ai"),
        (['train-ai="n"'], "train-ai"),
        (["search=y", "train-ai=n"], "train-ai"),
        (["train-ai=y"], ""),
        (["train-ai=n", "train-ai=y"], ""),  # of two of one label the last one counts
        (["search=n"], ""),
        (["train-ai"], ""),
        (["no-train-ai=n, xtrain-ai=n"], ""),
        (["train-ai=none"], ""),
        (["", ",,;==", "\x00"], ""),
        ([], ""),
    ],
)
def test_what_forbids_training(values: list[str], use: str) -> None:
    assert forbidden_use(values, USES) == use


def test_what_is_no_member_is_passed_over() -> None:
    assert preferences(["a b=c, search=y, =n, 7=n"]) == {"search": "y"}


ROBOTS = """\
Content-Signal: search=yes   # before the first group: said to all
User-agent: otherbot
Content-Usage: train-ai=n

user-agent: GPTBot
User-Agent: Curate
Disallow: /private
Content-Usage: train-ai=y
content-usage: /art train-ai=n
Content-Usage: /art/free/* train-ai=y

User-agent: *
Content-Usage: train-ai=n
"""


def test_the_group_that_names_us_comes_before_the_one_for_all() -> None:
    assert usage_lines(ROBOTS, ["curate"]) == [
        ("", "search=yes"),
        ("", "train-ai=y"),
        ("/art", "train-ai=n"),
        ("/art/free/*", "train-ai=y"),
    ]
    assert usage_lines(ROBOTS, ["mybot"]) == [("", "search=yes"), ("", "train-ai=n")]


@pytest.mark.parametrize(
    ("target", "said"),
    [("/a.jpg", ["search=yes", "train-ai=y"]), ("/art/1.jpg", ["train-ai=n"]), ("/art/free/1.jpg", ["train-ai=y"])],
)
def test_the_longest_path_counts(target: str, said: list[str]) -> None:
    assert usage_of(usage_lines(ROBOTS, ["curate"]), target) == said


@pytest.mark.parametrize(
    ("path", "target", "fits"),
    [
        ("/*.jpg$", "/a/b.jpg", True),
        ("/*.jpg$", "/a/b.jpg?x", False),
        ("/*.jpg", "/a/b.jpg?x", True),
        ("/a$", "/a", True),
        ("/a$", "/ab", False),
        ("/a*b*c$", "/abc", True),
        ("/a*b*c$", "/acb", False),
        ("/a*a$", "/a", False),
        ("/" + "*a" * 500 + "b", "/" + "a" * 5000, False),
    ],
)
def test_wildcards(path: str, target: str, fits: bool) -> None:
    assert bool(usage_of([(path, "x")], target)) is fits
