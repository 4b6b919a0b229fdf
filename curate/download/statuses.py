"""The words that fetching one URL may end with, each with what it means."""

STATUS = {
    "success": "the whole body arrived",
    "bad_url": "null, empty, no host, or not http(s), in the row or in a redirect",
    "address_refused": "the host is a loopback, private, link-local, reserved or multicast address; or a file lies "
    "outside of file_roots",
    "no_file": "no such file or object, in a file system of allow_filesystems",
    "no_access": "a file system of allow_filesystems refuses: permissions or credentials",
    "dns": "the host name does not resolve",
    "connect": "no connection: refused, reset, unreachable, or ended without an answer",
    "tls": "the certificate or the TLS handshake failed",
    "timeout": "no whole answer within timeout_seconds",
    "truncated": "the connection ended before the declared length",
    "too_large": "more than max_bytes, declared, received or unpacked",
    "empty": "the body has no bytes",
    "disallowed": "X-Robots-Tag, TDM-Reservation or Content-Usage forbids the use",
    "robots_disallowed": "the host's robots.txt forbids the URL: it was not asked for",
    "too_many_redirects": "more than max_redirects redirects",
    "http_<code>": "the server answered with that code: http_404, http_503, ...",
    "error": "anything else; the message says what",
}
