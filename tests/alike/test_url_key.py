import polars as pl
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from curate.alike.url_key import url_key, url_keys
from curate.alike.web_url import BadURL, parse_url


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
        ("http:\\\\a.com\\b.jpg", "//a.com/b.jpg"),
        ("http:/a.com/b", "//a.com/b"),
        ("http://ex%41mple.com/", "//example.com/"),
        ("http://0x7f.1/x", "//127.0.0.1/x"),
        ("http://2130706433/x", "//127.0.0.1/x"),
        ("http://127.1/x", "//127.0.0.1/x"),
        ("http://[::ffff:1.2.3.4]/", "//[::ffff:102:304]/"),
        ("http://example.com./x", "//example.com/x"),
        ("http://example.com.:8080/x", "//example.com:8080/x"),
        ("http://a\u3002b/x", "//a.b/x"),
        ("http://faß.de/x", "//xn--fa-hia.de/x"),
        ("http://a.b/c\td\n", "//a.b/cd"),
        ("\ufeffhttp://a.b/c\u3000", "//a.b/c"),
        ("http://@a.b/c", "//a.b/c"),
        ("http://a.b/c?q='x'", "//a.b/c?q=%27x%27"),
        ("http://[]@", "http://[]@"),
        ("http://a b/c", "http://a b/c"),
        ("http://1.2.3.4.5/", "http://1.2.3.4.5/"),
        ("http://a:99999/", "http://a:99999/"),
        ("ftp://A.b/X", "ftp://a.b/X"),
        ("ftp://a.b:21/X", "ftp://a.b/X"),
        ("s3://Bucket/Key", "s3://Bucket/Key"),
        ("data:image/png;base64,AAAA", "data:image/png;base64,AAAA"),
        ("not a url", "not a url"),
        ("", ""),
    ],
)
def test_key(url, key):
    assert url_key(url) == key
    assert url_keys(pl.Series([url])).to_list() == [key]


PIECES = st.sampled_from(
    [
        *"aBé%./?&=#:@[]+-|\\℀ßİ\u3002'\"",
        "%7e",
        "%41",
        "%2f",
        "%%34%31",
        "%C3",
        "..",
        "//",
        "80",
        "443",
        "utm_x",
        "gclid",
    ]
)
PIECES |= st.sampled_from(["xn--", "xn--bcher-kva", "0x7f", "127", "1.2", "a.b", "\u00ad", "::1", "%25", "%2e"])
URLS = st.builds(
    "".join,
    st.tuples(
        st.sampled_from(
            ["http://", "https://", "HTTP://", "//", "ftp://", "wss:", "", "http:/", "data:", "http:\\\\", "file://"]
        ),
        st.lists(PIECES | st.sampled_from(" \t\x00\ufeff\u3000"), max_size=14).map("".join),
    ),
)


@settings(max_examples=1500, deadline=None, derandomize=True)
@given(st.one_of(URLS, st.text(max_size=30), st.text(max_size=20).map("http://a.b/".__add__)))
@example("http://a::80/")
@example("http://h/%%34%31")
def test_a_key_is_its_own_key(url):
    assert url_key(url_key(url)) == url_key(url)


@settings(max_examples=500, deadline=None, derandomize=True)
@given(st.lists(st.one_of(st.none(), URLS.filter(lambda u: "\ud800" not in u)), max_size=8))
def test_column_agrees_with_single(urls):
    expected = [None if u is None else url_key(u) for u in urls]
    assert url_keys(pl.Series(urls, dtype=pl.String)).to_list() == expected


@settings(derandomize=True)
@given(st.text("abcXYZ019-_~/", min_size=1, max_size=20))
def test_path_keeps_its_case(path):
    assert url_key(f"http://HOST/{path}") == f"//host/{path}"


HOSTS = ["a.b", "127.0.0.1", "xn--bcher-kva.de", "[2001:db8::1]"]


@settings(max_examples=300, deadline=None, derandomize=True)
@given(st.sampled_from(HOSTS), URLS)
def test_fetch_and_keys_see_one_host(host, rest):
    """The key of what fetch asks for is the key of what the list says: one parser."""
    for url in (rest, f"http://{host}/{rest}"):
        try:
            asked = parse_url(url).href
        except BadURL:
            url_key(url)
        else:
            assert url_key(asked) == url_key(url)


PARAMETERS = st.dictionaries(st.text("abw", min_size=1), st.text("xY1"), max_size=4)


@settings(max_examples=300, derandomize=True)
@given(st.text("abcXYZ/~", max_size=10), PARAMETERS, st.data())
def test_spellings_of_one_address(path, parameters, data):
    pairs = [f"{k}={v}" for k, v in parameters.items()]
    shuffled = data.draw(st.permutations([*pairs, "utm_source=news"]))
    plain = f"http://example.com/{path}" + ("?" + "&".join(pairs) if pairs else "")
    other = f"HTTPS://EXAMPLE.com:443/./{path.replace('~', '%7e')}?{'&'.join(shuffled)}#top"
    assert url_key(plain) == url_key(other)
