"""What kind of image a file is, by its name or by its first bytes."""

from __future__ import annotations

#: Endings of image files, in the order in which the first one present is a sample's image. The first eight are those
#: that loaders know.
EXTENSIONS = (
    *("jpg", "jpeg", "png", "webp", "gif", "bmp", "tif", "tiff"),
    *("avif", "jp2", "j2k", "jpx", "jpe", "jfif", "mpo", "ico", "ppm", "pgm", "pbm", "pnm", "heic", "heif", "img"),
)
_KEPT = frozenset(EXTENSIONS[:9])

#: First bytes of a file to the ending that says what it is.
_MAGIC = (
    (0, b"\xff\xd8\xff", "jpg"),
    (0, b"\x89PNG\r\n\x1a\n", "png"),
    (0, b"GIF87a", "gif"),
    (0, b"GIF89a", "gif"),
    (8, b"WEBP", "webp"),
    (4, b"ftypavif", "avif"),
    (4, b"ftypavis", "avif"),
    (4, b"ftypheic", "heic"),
    (4, b"ftypheix", "heic"),
    (4, b"ftypmif1", "heic"),
    (4, b"ftypmsf1", "heic"),
    (4, b"jP  \r\n\x87\n", "jp2"),
    (0, b"\xff\x4f\xff\x51", "j2k"),
    (0, b"II*\0", "tif"),
    (0, b"MM\0*", "tif"),
    (0, b"\0\0\1\0", "ico"),
    (0, b"BM", "bmp"),
    (0, b"P4", "pbm"),
    (0, b"P5", "pgm"),
    (0, b"P6", "ppm"),
)
#: Bytes of a file that tell its kind.
HEAD = 16


def kind(head: bytes) -> str:
    """The ending for a file that begins so; "" for what is no image.

    >>> kind(b"\\xff\\xd8\\xff\\xe0"), kind(b"<html>")
    ('jpg', '')
    """
    # Two letters are too few to tell a text from an image: PPM has white space behind them, BMP four zero bytes.
    for at, magic, ending in _MAGIC:
        if head[at : at + len(magic)] != magic:
            continue
        if magic[:1] == b"P" and not head[2:3].isspace():
            continue
        if magic == b"BM" and head[6:10] != b"\0\0\0\0":
            continue
        return ending
    return ""


def extension(name: str, head: bytes) -> str:
    """The ending under which an image is stored: its own where loaders know it, else what the bytes say.

    >>> extension("png", b""), extension("img", b"\\xff\\xd8\\xff\\xe0"), extension("jfif", b"\\xff\\xd8\\xff\\xe0")
    ('png', 'jpg', 'jpg')
    """
    last = name.lower().rpartition(".")[2]
    return last if last in _KEPT else kind(head) or last
