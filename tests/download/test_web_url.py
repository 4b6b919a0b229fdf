"""URLs as browsers read them: the literal request for each spelling, and a reason for what is none."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curate.alike.web_url import BadURL, host_of, parse_url

SPELLINGS = [
    ("HTTP://Example.COM:80/a", "http://example.com/a"),
    ("https://example.com:443", "https://example.com/"),
    ("https://example.com:80/", "https://example.com:80/"),
    ("http://example.com:/a", "http://example.com/a"),
    ("http:\\\\a.com\\b.jpg", "http://a.com/b.jpg"),
    ("http:/a.com/b.jpg", "http://a.com/b.jpg"),
    ("http:///a.com/b.jpg", "http://a.com/b.jpg"),
    ("http://ex%41mple.com/", "http://example.com/"),
    ("http://0x7f.1/", "http://127.0.0.1/"),
    ("http://017700000001/", "http://127.0.0.1/"),
    ("http://127.0.0.1./", "http://127.0.0.1/"),
    ("http://0/", "http://0.0.0.0/"),
    ("http://[::FFFF:127.0.0.1]/", "http://[::ffff:7f00:1]/"),
    ("http://B\u00fccher.example/", "http://xn--bcher-kva.example/"),
    ("http://a\u3002b\uff0ec/", "http://a.b.c/"),
    ("http://\u2460.com/", "http://1.com/"),
    ("http://under_score.example/", "http://under_score.example/"),
    ("http://-bad-.example/", "http://-bad-.example/"),
    ("http://a.b/c d", "http://a.b/c%20d"),
    ("http://a.b/c\td\r\n", "http://a.b/cd"),
    ("\ufeff\u00a0 http://a.b/c \x00", "http://a.b/c"),
    ("http://a.b/%7e%2F,%2C?q=a+b&s=%3D", "http://a.b/%7e%2F,%2C?q=a+b&s=%3D"),
    ("http://a.b/100%", "http://a.b/100%"),
    ("http://a.b/\u00fc?\u00fc", "http://a.b/%C3%BC?%C3%BC"),
    ("http://a.b/c#fragment", "http://a.b/c"),
    ("http://a.b/./c/../d", "http://a.b/d"),
    ("http://a.b?q", "http://a.b/?q"),
    ("http://a.b/[1]|", "http://a.b/[1]|"),
]


@pytest.mark.parametrize(("text", "href"), SPELLINGS)
def test_spellings(text: str, href: str) -> None:
    assert parse_url(text).href == href
    assert parse_url(href).href == href


BAD: list[Any] = [
    *(None, "", " \t\ufeff", 7.5, b"http://a.b/", "not a url", "//a.b/c", "a.b/c", "ftp://a.b/c", "file:///etc/passwd"),
    *("data:image/png;base64,AAAA", "feed:http://a.b/", "javascript:alert(1)", '"http://a.b/"', "https%3A%2F%2Fa.b%2F"),
    *("http://", "http:", "https:///", "http://[]@", "http://[]", "http://[::1", "http://]/", "http://a:99999/"),
    *(
        "http://a:b/",
        "http://999.1.1.1/",
        "http://1.2.3.4.5/",
        "http://0x100000000/",
        "http://a b/",
        "http://a<b/",
        "http://./",
    ),
    *(
        "http://[fe80::1%25eth0]/",
        "http://%00/",
        "http://a%2Fb/",
        "http://@/",
        "http://a..b/",
        f"http://{'a' * 64}.b/",
        "\ud800",
        "http://a.b/\ud800",
    ),
]


@pytest.mark.parametrize("text", BAD)
def test_what_is_no_url(text: Any) -> None:
    with pytest.raises(BadURL) as problem:
        parse_url(text)
    str(problem.value).encode("utf-8")


def test_parts() -> None:
    url = parse_url("https://u%20r:p%3Aw@Host.example.:8443/a?b#c")
    assert (url.scheme, url.host, url.port, url.target) == ("https", "host.example.", 8443, "/a?b")
    assert (host_of(url), url.authority) == ("host.example", "host.example.:8443")
    assert url.authorization == "Basic dSByOnA6dw=="  # "u r:p:w"
    plain = parse_url("http://[2001:DB8::1]/")
    assert (plain.host, plain.port) == ("[2001:db8::1]", 80)
    assert (plain.authority, plain.authorization) == ("[2001:db8::1]", None)


@pytest.mark.parametrize(
    ("target", "href"),
    [
        ("b.jpg", "http://a.b/c/b.jpg"),
        ("/b c.jpg", "http://a.b/b%20c.jpg"),
        ("//d.e/f", "http://d.e/f"),
        ("\\\\d.e\\f", "http://d.e/f"),
        ("https://d.e", "https://d.e/"),
        ("?q", "http://a.b/c/d?q"),
        ("#f", "http://a.b/c/d?x"),
        ("../../..", "http://a.b/"),
    ],
)
def test_redirects(target: str, href: str) -> None:
    base = parse_url("http://a.b/c/d?x#y")
    assert parse_url(target, base).href == href


NO_TARGETS = ["ftp://a.b/", "file:///etc/passwd", "http://[]@", "data:,x", "//a:99999/", "http://a..b/", "", "\ud800"]


@pytest.mark.parametrize("target", NO_TARGETS)
def test_redirects_to_no_url(target: str) -> None:
    with pytest.raises(BadURL, match="redirect to"):
        parse_url(target, parse_url("http://a.b/"))


PIECES = ["http://", "https:", "//", *"[]@:/\\?#%. \t\n\0a|^", "%00", "%5B", "::1", "127.1", "xn--", "99999", "0x"]
PIECES += ["\u00df", "\u3002", "\u202e", "\ud800", "\ufffe", "\U0001f600"]
HOSTILE = st.lists(st.sampled_from(PIECES) | st.text(max_size=3), max_size=10).map("".join)


@settings(max_examples=1500, deadline=None, derandomize=True)
@given(HOSTILE | HOSTILE.map("http://".__add__) | st.text(max_size=20))
def test_any_text_is_a_url_or_bad(text: str) -> None:
    base = parse_url("http://a.b/")
    for told in (None, base):
        try:
            url = parse_url(text, told)
        except BadURL as problem:
            assert str(problem)
        else:
            assert url.href.isascii() and url.href.isprintable() and " " not in url.href, "fit for a request's line"
            assert host_of(url) and 0 <= url.port < 65536 and url.target.startswith("/")
            assert parse_url(url.href) == url
            str(url.authorization).encode("latin-1")
