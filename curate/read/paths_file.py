"""Lists of files as Common Crawl publishes them: `wat.paths.gz`, a path on each line."""

from __future__ import annotations

from curate.errors import CurateError
from curate.read.inputs import opened

ENDINGS = (".paths.gz", ".paths")


def listed_in(place: str) -> list[str]:
    """The files that a list names; any other place by itself.

    Raises:
        CurateError: when the list cannot be read, or is empty.
    """
    if not place.lower().endswith(ENDINGS):
        return [place]
    try:
        with opened(place) as handle:
            lines = [line.strip().decode() for line in handle]
    except Exception as error:
        # Object stores have error classes of their own.
        raise CurateError(f"cannot open input '{place}': {type(error).__name__}: {error}") from error
    files = [file_at(place, line) for line in lines if line]
    if not files:
        raise CurateError(f"'{place}' lists no files")
    return files


def file_at(place: str, line: str) -> str:
    """Where a listed file is: paths begin at the folder, above the list, that has their first part in it.

    >>> file_at("s3://commoncrawl/crawl-data/CC-MAIN-2024-10/wat.paths.gz", "crawl-data/CC-MAIN-2024-10/x.wat.gz")
    's3://commoncrawl/crawl-data/CC-MAIN-2024-10/x.wat.gz'
    >>> file_at("/data/wat.paths", "x.wat.gz"), file_at("/data/wat.paths", "s3://bucket/x.wat.gz")
    ('/data/x.wat.gz', 's3://bucket/x.wat.gz')
    """
    if "://" in line or line.startswith("/"):
        return line
    folder = place.rpartition("/")[0]
    above, held, _ = f"{folder}/".partition(f"/{line.partition('/')[0]}/")
    base = above if held and "/" in line else folder
    return f"{base}/{line}" if base or place.startswith("/") else line
