import polars as pl
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from curate.url_key import url_key, url_keys


@pytest.mark.parametrize(
    ("url", "key"),
    [
        ("HTTP://Example.COM:80/a/../b%7Ec?utm_source=x&b=2&a=1#f", "//example.com/b~c?a=1&b=2"),
        ("https://example.com", "//example.com/"),
        ("https://example.com:443/", "//example.com/"),
        ("https://example.com:80/", "//example.com:80/"),
        ("http://example.com:/x", "//example.com/x"),
        ("http://example.com:08080/x", "//example.com:8080/x"),
        ("//example.com/x", "//example.com/x"),
        (" \thttp://a.b/c\n", "//a.b/c"),
        ("http://a.b/c d", "//a.b/c%20d"),
        ("http://a.b/%c3%A9", "//a.b/%C3%A9"),
        ("http://a.b/é", "//a.b/%C3%A9"),
        ("http://a.b/100%", "//a.b/100%25"),
        ("http://a.b/%2Fx", "//a.b/%2Fx"),
        ("http://a.b/./c/.", "//a.b/c/"),
        ("http://a.b/../../c/..", "//a.b/"),
        ("http://a.b/%2e%2E/c", "//a.b/c"),
        ("http://a.b//c//", "//a.b//c//"),
        ("http://bücher.example/x", "//xn--bcher-kva.example/x"),
        ("http://BÜCHER.example/x", "//xn--bcher-kva.example/x"),
        ("http://user:PW@Host/x", "//user:PW@host/x"),
        ("http://[2001:DB8::1]:80/x", "//[2001:db8::1]/x"),
        ("http://a.b/x?", "//a.b/x"),
        ("http://a.b/x?&&", "//a.b/x"),
        ("http://a.b/x?b&a=2&a=1", "//a.b/x?a=2&a=1&b"),
        ("http://a.b/x?fbclid=1&gclid=2&UTM_Medium=3", "//a.b/x"),
        ("http://a.b/x?w=100&h=50&resize=1", "//a.b/x?h=50&resize=1&w=100"),
        ("http://a.b/x?v=1612", "//a.b/x?v=1612"),
        ("ftp://A.b/X", "ftp://a.b/X"),
        ("data:image/png;base64,AAAA", "data:image/png;base64,AAAA"),
        ("not a url", "not a url"),
        ("", ""),
    ],
)
def test_key(url, key):
    assert url_key(url) == key
    assert url_keys(pl.Series([url])).to_list() == [key]


PIECES = st.sampled_from(
    [*"aBé%./?&=#:@[]+-|\\℀ßİ\u3002", "%7e", "%41", "%2f", "%%34%31", "%C3", "..", "//", "80", "443", "utm_x", "gclid"]
)
URLS = st.builds(
    "".join,
    st.tuples(
        st.sampled_from(["http://", "https://", "HTTP://", "//", "ftp://", "", "http:/", "data:"]),
        st.lists(PIECES | st.sampled_from(" \t\x00"), max_size=14).map("".join),
    ),
)


@settings(max_examples=1500, deadline=None)
@given(st.one_of(URLS, st.text(max_size=30), st.text(max_size=20).map("http://a.b/".__add__)))
@example("http://a::80/")
@example("http://h/%%34%31")
def test_a_key_is_its_own_key(url):
    assert url_key(url_key(url)) == url_key(url)


@settings(max_examples=500, deadline=None)
@given(st.lists(st.one_of(st.none(), URLS.filter(lambda u: "\ud800" not in u)), max_size=8))
def test_column_agrees_with_single(urls):
    expected = [None if u is None else url_key(u) for u in urls]
    assert url_keys(pl.Series(urls, dtype=pl.String)).to_list() == expected


@given(st.text("abcXYZ019-_~/", min_size=1, max_size=20))
def test_path_keeps_its_case(path):
    assert url_key(f"http://HOST/{path}") == f"//host/{path}"


PARAMETERS = st.dictionaries(st.text("abw", min_size=1), st.text("xY1"), max_size=4)


@settings(max_examples=300)
@given(st.text("abcXYZ/~", max_size=10), PARAMETERS, st.data())
def test_spellings_of_one_address(path, parameters, data):
    pairs = [f"{k}={v}" for k, v in parameters.items()]
    shuffled = data.draw(st.permutations([*pairs, "utm_source=news"]))
    plain = f"http://example.com/{path}" + ("?" + "&".join(pairs) if pairs else "")
    other = f"HTTPS://EXAMPLE.com:443/./{path.replace('~', '%7e')}?{'&'.join(shuffled)}#top"
    assert url_key(plain) == url_key(other)
