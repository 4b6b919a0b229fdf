"""What errors of file systems mean: object stores have classes and texts of their own."""

from __future__ import annotations


class Refused(Exception):
    """The file may not be read."""

    def __init__(self, status: str, problem: str) -> None:
        super().__init__(problem)
        self.status = status


def status_of(problem: Exception) -> tuple[str, str]:
    """The status word and the message of a file that could not be read.

    s3fs has the errors of the system; gcsfs an HttpError with the code, for 403 an OSError that begins with
    `Forbidden`, and those of aiohttp and google.auth.

    >>> status_of(PermissionError("Access Denied")), status_of(OSError("Forbidden: b/bucket/o"))
    (('no_access', 'Access Denied'), ('no_access', 'Forbidden: b/bucket/o'))
    """
    if isinstance(problem, Refused):
        return problem.status, str(problem)
    if isinstance(problem, FileNotFoundError):
        return "no_file", "no such file or object"
    text = str(problem)[:300]
    if isinstance(problem, PermissionError) or (isinstance(problem, OSError) and text.startswith("Forbidden")):
        return "no_access", text
    return _by_class(problem), f"{type(problem).__name__}: {problem}"[:300]


def _by_class(problem: Exception) -> str:
    names = {kind.__name__ for kind in type(problem).__mro__}
    code = getattr(problem, "code", None)
    if "HttpError" in names and isinstance(code, int):
        return "no_access" if code in (401, 403) else f"http_{code}"
    if "GoogleAuthError" in names or any("redentials" in name for name in names):
        return "no_access"
    if "ClientPayloadError" in names:
        return "truncated"
    return "connect" if isinstance(problem, OSError) or "ClientConnectionError" in names else "error"
