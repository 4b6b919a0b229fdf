"""X-Robots-Tag: whether a server's answer forbids the use of the image."""

from collections.abc import Collection, Iterable

# Directives that carry a value; before any other colon stands the name of the robot that is addressed.
_VALUED = frozenset({"unavailable_after", "max-snippet", "max-image-preview", "max-video-preview"})


def is_disallowed(values: Iterable[str], directives: Collection[str], token: str | None = None) -> bool:
    """Whether one of the headers forbids the use, to every robot or to the one named `token`.

    The meaning is img2dataset's, with one difference: a directive before a robot's name ("noai, otherbot: noindex")
    counts for all, where img2dataset takes "noai, otherbot" for the name.

    >>> is_disallowed(["googlebot: noai"], {"noai"}), is_disallowed(["nofollow, NoAI"], {"noai"})
    (False, True)
    """
    token = (token or "").strip().lower()
    for value in values:
        robot = None
        for part in value.lower().split(","):
            name, colon, rest = part.partition(":")
            directive = part
            if colon and name.strip() not in _VALUED:
                robot, directive = name.strip(), rest
            if directive.strip() in directives and robot in (None, token):
                return True
    return False
