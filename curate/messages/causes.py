"""Faults of the machine, the storage and the installation in one sentence each: the cause and what to do next."""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Callable, Iterator

from curate.messages.packages import install_hint

_ON = "then run the same command again: it goes on where it stopped"


def explained(error: BaseException) -> str | None:
    """One sentence for an error, or for the one that it came from; None for what can only be a fault of the program.

    >>> explained(PermissionError(13, "Permission denied", "/data/store"))
    "no permission for '/data/store': use another folder, or let its owner allow it"
    >>> explained(ZeroDivisionError()) is None
    True
    """
    for cause in _chain(error):
        for names, sentence in _BY_NAME:
            if names & {kind.__name__ for kind in type(cause).__mro__}:
                return sentence(cause)
        if isinstance(cause, ImportError):
            return _missing_package(cause)
        if isinstance(cause, OSError) and (text := _of_system(cause)):
            return text
    return None


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    for _ in range(10):
        if error is None:
            return
        yield error
        error = error.__cause__ or error.__context__


def _missing_package(error: ImportError) -> str | None:
    if isinstance(error, ModuleNotFoundError) and error.name and not error.name.startswith("curate"):
        return f"the package '{error.name}' is not installed: {install_hint(error.name)}"
    # Libraries say themselves what to install, fsspec for one.
    text = _one_line(error)
    package = re.match(r"Install (\w+) to access", text)
    return f"{text}: {install_hint(package[1])}" if package else text if "install" in text.lower() else None


def _of_system(error: OSError) -> str | None:
    at = f"'{os.fsdecode(error.filename)}'" if isinstance(error.filename, (str, bytes)) else ""
    place = f"for {at}" if at else f"({_one_line(error)})"
    sentences = {
        errno.EACCES: f"no permission {place}: use another folder, or let its owner allow it",
        errno.EPERM: f"no permission {place}: use another folder, or let its owner allow it",
        errno.EROFS: f"the file system is read-only {place}: use another folder",
        errno.ENOSPC: f"the disk is full {place}: free space or use another disk, {_ON}",
        errno.EDQUOT: f"the disk quota is used up {place}: free space or use another disk, {_ON}",
        errno.EMFILE: f"too many open files {place}: raise the limit with `ulimit -n 65536`, {_ON}",
        errno.ENFILE: f"too many open files {place}: raise the limit with `ulimit -n 65536`, {_ON}",
        errno.ENAMETOOLONG: f"a name is too long {place}: use a shorter path",
        errno.ENOTDIR: f"a part of the path is a file, not a folder {place}: check the path",
        errno.EISDIR: f"a folder stands where a file is expected {place}: check the path",
        errno.ELOOP: f"the path is a circle of symbolic links {place}: check the path",
        errno.EIO: f"the disk or the storage failed {place}: check it, {_ON}",
        errno.ESTALE: f"the shared file system lost a file {place}: mount it again, {_ON}",
        errno.EBUSY: f"the storage is overloaded (503) {place}: wait a little, {_ON}",
        getattr(errno, "EREMOTEIO", errno.EIO): f"the storage failed (500) {place}: wait a little, {_ON}",
    }
    if isinstance(error, PermissionError) and error.errno is None:
        return f"the storage refuses access ({_one_line(error)}): check the credentials and their rights"
    if isinstance(error, FileNotFoundError):
        return f"nothing is there: {at or _one_line(error)}; check the path"
    if isinstance(error, ConnectionError):
        return f"no connection, or a broken one: {_one_line(error)}; check the address and the network, {_ON}"
    if isinstance(error, TimeoutError):
        return f"no answer in time: {_one_line(error) or 'the storage or the network is slow'}; wait a little, {_ON}"
    return sentences.get(error.errno or 0)


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())[:300]


def _credentials(error: BaseException) -> str:
    return (
        f"no credentials for the storage ({_one_line(error)}): set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, "
        "or AWS_PROFILE, or run `aws configure`"
    )


def _google_credentials(error: BaseException) -> str:
    return (
        f"no credentials for Google's storage ({_one_line(error)}): run `gcloud auth application-default login`, "
        "or set GOOGLE_APPLICATION_CREDENTIALS"
    )


def _busy(error: BaseException) -> str:
    return f"the storage answers with an error ({_one_line(error)}): wait a little, {_ON}"


def _unreachable(error: BaseException) -> str:
    return f"the storage cannot be reached ({_one_line(error)}): check the endpoint and the network, {_ON}"


#: Errors of libraries by the names of their classes, so that no library is imported for it; the first that fits counts.
_BY_NAME: list[tuple[set[str], Callable[[BaseException], str]]] = [
    (
        {"NoCredentialsError", "PartialCredentialsError", "CredentialRetrievalError", "ProfileNotFound", "SSOError"},
        _credentials,
    ),
    ({"DefaultCredentialsError", "RefreshError"}, _google_credentials),
    ({"EndpointConnectionError", "ConnectTimeoutError", "ReadTimeoutError", "HTTPClientError"}, _unreachable),
    ({"ClientConnectorError", "ClientConnectionError"}, _unreachable),
    ({"ClientError", "HttpError"}, _busy),
    (
        {"AuthenticationError"},
        lambda error: (
            "the Ray cluster asks for a token: set RAY_AUTH_MODE=token and RAY_AUTH_TOKEN "
            "(or RAY_AUTH_TOKEN_PATH) as on the cluster's nodes"
        ),
    ),
    ({"MemoryError"}, lambda error: f"out of memory: use a machine with more, or fewer --workers, {_ON}"),
    ({"ObjectStoreFullError"}, lambda error: f"Ray's object store is full: use fewer --workers, {_ON}"),
    ({"OutOfDiskError"}, lambda error: f"Ray has no disk left for its files: free space, {_ON}"),
]
