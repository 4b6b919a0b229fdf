"""The kinds of rows in a demo pool: how many there are, and what a good curation run does with them."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Kind:
    """`share` of the pool by default, `expected` fate (kept or dropped) and a plain sentence for reports."""

    share: float
    expected: str
    about: str


KINDS: dict[str, Kind] = {
    "good": Kind(0.58, "kept", "picture and caption agree"),
    "redirect_ok": Kind(0.02, "kept", "good pair behind a normal redirect"),
    "exact_duplicate": Kind(0.03, "dropped", "same file under another url"),
    "same_url": Kind(0.02, "dropped", "same url and caption listed twice"),
    "near_duplicate": Kind(0.05, "dropped", "re-encoded, rescaled or brighter copy"),
    "swapped_caption": Kind(0.05, "dropped", "caption of another picture"),
    "parrot": Kind(0.05, "dropped", "picture of its own caption, written out"),
    "tiny": Kind(0.025, "dropped", "picture of 8 to 60 px"),
    "extreme_aspect": Kind(0.015, "dropped", "banner, very wide or very tall"),
    "boilerplate": Kind(0.03, "dropped", "caption says nothing (IMG_2041.jpg)"),
    "not_english": Kind(0.035, "dropped", "true caption in another language"),
    "dead_link": Kind(0.015, "dropped", "url answers 404 not found"),
    "gone": Kind(0.005, "dropped", "url answers 410 gone"),
    "server_error": Kind(0.01, "dropped", "url answers 500 server error"),
    "slow_link": Kind(0.005, "dropped", "picture drips in over a minute"),
    "wrong_type": Kind(0.01, "dropped", "web page under a .jpg url"),
    "truncated": Kind(0.01, "dropped", "half of a picture file"),
    "cut_connection": Kind(0.005, "dropped", "server hangs up half way"),
    "too_large": Kind(0.0025, "dropped", "file of more than 20 MB"),
    "empty_body": Kind(0.005, "dropped", "answer without content"),
    "redirect_private": Kind(0.005, "dropped", "redirect into a private place"),
    "bad_url": Kind(0.01, "dropped", "not an http url, or no url"),
    "refused": Kind(0.005, "dropped", "nobody listens at the url"),
    "noai": Kind(0.0075, "dropped", "site forbids use for AI (X-Robots-Tag)"),
}
