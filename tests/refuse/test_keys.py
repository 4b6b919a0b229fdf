"""Keys tell what is the same, and a set of them tells what is in it."""

from __future__ import annotations

import hashlib

import numpy as np
import polars as pl
import pytest

from curate.refuse.key_set import KeySet
from curate.refuse.keys import host_keys, host_of, hosts_of, keys_of
from curate.refuse.matching import Named


def key(kind: str, text: str) -> bytes:
    return keys_of(kind, pl.Series([text])).tobytes()


def test_spellings_of_one_thing_have_one_key():
    assert key("url", "HTTP://Example.com:80/a?utm_source=x") == key("url", "https://example.com/a")
    assert key("sha256", "AB" * 32 + " ") == key("sha256", "ab" * 32)
    assert key("host", "*.Example.com") == key("host", "example.com")
    assert key("uid", "0123456789ABCDEF0123456789abcdef") == key("uid", "01234567-89ab-cdef-0123-456789abcdef")
    assert key("url", "http://a/b") != key("url", "http://a/B")
    assert key("md5", "0" * 32) != key("uid", "0" * 32), "a kind's key is no other kind's"


def test_a_key_is_blake2b_of_kind_and_text():
    expected = hashlib.blake2b(b"uid\0" + b"0" * 32, digest_size=16).digest()
    assert key("uid", "0" * 32) == expected


def test_hosts_of_urls():
    urls = pl.Series(["http://u@A.b.test:8080/x", "https://[2001:db8::1]/", None, "no url"])
    assert hosts_of(urls).to_list() == ["a.b.test", "[2001:db8::1]", None, None]
    assert host_of("https://x@Müller.test/a") == "xn--mller-kva.test"


@pytest.mark.parametrize("text", ["b.test", "a.b.test"])
def test_a_host_is_named_by_those_above_it(text):
    named = Named(KeySet.of(keys_of("host", pl.Series([text]))), frozenset({"host"}))
    urls = pl.Series(["http://a.b.test/x", "http://ab.test/x", "http://test/x", None])
    assert named.by({"url": urls}).tolist() == ["host", None, None, None]
    assert len(host_keys("a.b.test")) == 3


def test_a_set_holds_what_is_in_it_and_nothing_else():
    keys = np.random.default_rng(0).integers(0, 50, (400, 2)).astype(np.uint64)
    inside = {tuple(one) for one in keys[:200].tolist()}
    held = KeySet.of(keys[:200])
    assert held.holds(keys).tolist() == [tuple(one) in inside for one in keys.tolist()]
    assert len(held) == len(inside)
    empty = KeySet.of(np.empty((0, 2), np.uint64))
    assert not empty.holds(keys).any()
