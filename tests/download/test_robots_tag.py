"""Opt-outs in headers: every form in which X-Robots-Tag is written, for us, for all and for others."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curate.download.fetch import FetchOptions
from curate.download.robots_tag import is_disallowed, is_reserved

DIRECTIVES = FetchOptions().disallowed_header_directives

FORBIDS = [
    *("noai", "NoAI", " noai ", "noimageai", "noindex", "noimageindex", "none", "NONE", '"noai"', "noai;", "noai,"),
    *("nofollow, noai", "nofollow noai", "nofollow  noimageai", "nofollow;noai", "nofollow,noai", "noai nofollow"),
    *("*: noai", "*:noai", "* : noai", "*: nofollow, noai", "*: nofollow noai", "*: none"),
    *("curate: noai", "Curate: noai", "curate:noai", "curate/1.0: noai", "curate: nofollow noai", "curate: none"),
    *("mybot: noai", "MyBot: nofollow, noindex", "mybot/2: none"),
    *(
        "noai, otherbot: nofollow",
        "noai otherbot: nofollow",
        "otherbot: nofollow, *: noai",
        "otherbot: all, curate: noai",
    ),
    *("otherbot: noai, mybot: noindex", "otherbot: unavailable_after: 25 Jun 2030 15:00:00 PST, curate: noai"),
    *(
        "unavailable_after: 25 Jun 2999 15:00:00 PST, noindex",
        "unavailable_after: Friday, 25-Jun-99 15:00:00 PST, noai",
    ),
    *(
        "unavailable_after: Wed, 25 Jun 2010 15:00:00 GMT",
        "unavailable_after: 2010-06-25",
        "unavailable_after:2010-06-25",
    ),
    *("max-snippet:-1, noai", "max-image-preview:none noai", "max-image-preview: large, noindex", "noai: true"),
    *("all, noai", "indexifembedded, noindex", "\tnoarchive,\tnoai"),
]
SAYS_NOTHING = [
    *(
        "",
        " ",
        ",",
        ":",
        "*:",
        "all",
        "index, follow",
        "nofollow",
        "noarchive nosnippet",
        "notranslate",
        "noaim",
        "xnoai",
    ),
    *(
        "otherbot: noai",
        "otherbot: noai, noindex",
        "otherbot: noai noindex",
        "otherbot : none",
        "googlebot-image: noai",
    ),
    *(
        "otherbot: none, bot2: noai",
        "mybot2: noai",
        "curated: noai",
        "max-image-preview: none",
        "max-image-preview:none",
    ),
    *(
        "max-snippet: 0, max-video-preview: -1",
        "unavailable_after: 25 Jun 2999 15:00:00 PST",
        "unavailable_after: 2999-01-01",
    ),
    *("unavailable_after: Mon, 25 Jun 2999 15:00:00 GMT", "unavailable_after: soon", "unavailable_after:"),
    *("otherbot: unavailable_after: 25 Jun 2010 15:00:00 PST",),
]


@pytest.mark.parametrize("value", FORBIDS)
def test_forms_that_forbid(value: str) -> None:
    assert is_disallowed([value], DIRECTIVES, "MyBot/1.0")
    assert is_disallowed(["nofollow", "otherbot: noai", value], DIRECTIVES, "MyBot/1.0"), "each header counts"
    assert not is_disallowed([value], ())


@pytest.mark.parametrize("value", SAYS_NOTHING)
def test_forms_that_do_not(value: str) -> None:
    assert not is_disallowed([value], DIRECTIVES, "MyBot/1.0")


def test_only_the_directives_that_were_named() -> None:
    assert not is_disallowed(["noindex, none"], ["noai"])
    assert is_disallowed(["none"], ["nofollow"]) and is_disallowed(["none"], ["none"])
    assert not is_disallowed(["unavailable_after: 2010-06-25"], ["noai"])
    assert not is_disallowed(["mybot: noai"], DIRECTIVES)


@pytest.mark.parametrize(("values", "reserved"), [(["1"], True), ([" 1 "], True), (["0", "1"], True), (["1, 1"], True)])
def test_reserved(values: list[str], reserved: bool) -> None:
    assert is_reserved(values) is reserved
    assert not is_reserved(["0"]) and not is_reserved(["", "true", "11", "yes"])


WORDS = st.sampled_from(
    ["noai", "nofollow", "curate", "otherbot", "*", ":", ",", ";", " ", "unavailable_after:", "2010", "-"]
)


@settings(max_examples=500, deadline=None, derandomize=True)
@given(st.lists(WORDS | st.text(max_size=3), max_size=12).map("".join))
def test_no_header_is_an_error(value: str) -> None:
    assert is_disallowed([value], DIRECTIVES, value) in (True, False)
    assert is_disallowed([f"noai, {value}"], DIRECTIVES) or value.lstrip().startswith(":")
    assert is_reserved([value]) in (True, False)
