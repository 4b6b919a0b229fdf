"""How URLs are fetched: limits, manners, and what may be connected to."""

from __future__ import annotations

import ipaddress
import re
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, IPvAnyNetwork, field_validator, model_validator

from curate.cluster.suspects import DEADLY
from curate.download.robots_tag import TDM
from curate.download.statuses import STATUS as FETCHED
from curate.errors import CurateError, named, unknown
from curate.messages.packages import lacking
from curate.pictures.resize_options import STATUS as STORED
from curate.pictures.resize_options import ResizeOptions

#: What downloading takes beside the base install.
PACKAGES = ("ada_url", "aiohappyeyeballs", "brotli", "cv2", "protego", "zstandard")

#: File systems of which a row may name a file, where `allow_filesystems` has them, with the package of each.
FILE = "file"
FILE_SYSTEMS = {
    FILE: "",
    **dict.fromkeys(("s3", "s3a"), "s3fs"),
    **dict.fromkeys(("gs", "gcs"), "gcsfs"),
    **dict.fromkeys(("az", "abfs", "abfss"), "adlfs"),
    "hdfs": "",
}

#: Hosts beyond which whoever crawls has to say how to be reached.
CONTACT_HOSTS = 1000


class FetchOptions(BaseModel):
    """How a shard is fetched. Names and defaults are img2dataset's where it has the option.

    timeout_seconds: one attempt as a whole: connect, redirects, body. Looking up the host before may take as long.
    retries: further attempts after timeout, connect, http_429 and http_5xx; nothing else is asked for twice.
    backoff_seconds: before the first retry; doubles each time.
    max_backoff_seconds: a longer Retry-After is not waited for: the row keeps its status.
    per_host: requests at once to one host, and to one address, of all workers of the run together: names that lead to
        one machine share its turns. A host that answers 429 or 503 with Retry-After is left alone by all workers for
        that time; its URLs wait while the shard has others, and at most max_backoff_seconds longer: then they get that
        status without being asked, as they do after the fourth such answer.
    per_second: requests in a second to one host, and to one address, of all workers together; None sets no limit.
    respect_robots_txt: read each site's robots.txt first (RFC 9309) and ask for nothing that it forbids to
        `user_agent_token`, to `curate` or to all robots; its Crawl-delay is kept, up to max_backoff_seconds. A site
        without one (4xx) allows all; one that cannot be read (5xx, 429, no answer) is asked for nothing, and its rows
        get the status of that. Read once for the whole run.
    disallowed_usages: what a host must not say no to in Content-Usage (IETF aipref) or Content-Signal, in a header or
        in robots.txt: `train-ai=n` and `ai-train=no` by default.
    user_agent: the User-Agent header.
    user_agent_token: who runs the crawl: sent with the user agent, matched in X-Robots-Tag.
    user_agent_contact: where its people are reached (a page or an address): sent with the user agent. Asked for where
        more than CONTACT_HOSTS hosts are to be asked.
    disallowed_header_directives: what forbids the use in X-Robots-Tag, to all robots, to `user_agent_token` or to
        `curate` by name; `tdm-reservation` is the header TDM-Reservation: 1.
    allow_private_addresses: networks that may be connected to although they are loopback, private or reserved.
    nameservers: asked for the addresses of hosts instead of the system's: `192.0.2.53`, `127.0.0.1:5353`, `[::1]:53`.
    allow_filesystems: file systems of which rows may name files: s3, gs, az and others of FILE_SYSTEMS; none by
        default, since a list from the web must not read what only you may. `file` are files of this machine, by
        `file:///...` or a path from the root, and takes `file_roots`.
    file_roots: folders under which such files lie, links followed; all others are refused.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    timeout_seconds: float = Field(default=10, gt=0)
    retries: int = Field(default=0, ge=0)
    backoff_seconds: float = Field(default=1, ge=0)
    max_backoff_seconds: float = Field(default=30, ge=0)
    max_bytes: int = Field(default=50_000_000, gt=0)
    concurrency: int = Field(default=64, gt=0)
    per_host: int = Field(default=16, gt=0)
    per_second: float | None = Field(default=None, gt=0)
    respect_robots_txt: bool = True
    disallowed_usages: tuple[str, ...] = ("train-ai", "ai-train")
    user_agent: Annotated[str, Field(min_length=1)] = "Mozilla/5.0 (compatible; curate; image-text dataset builder)"
    user_agent_token: str | None = None
    user_agent_contact: str | None = None
    disallowed_header_directives: tuple[str, ...] = ("noai", "noimageai", "noindex", "noimageindex", TDM)
    allow_private_addresses: tuple[IPvAnyNetwork, ...] = ()
    nameservers: tuple[str, ...] = ()
    allow_filesystems: tuple[str, ...] = ()
    file_roots: tuple[str, ...] = ()
    max_redirects: int = Field(default=5, ge=0)
    verify_tls: bool = True

    @field_validator("user_agent", "user_agent_token", "user_agent_contact")
    @classmethod
    def _fits_a_header(cls, value: str | None) -> str | None:
        if value is not None and not (value.isascii() and value.isprintable()):
            raise ValueError(f"only printable ASCII can be sent in a header, got {value!r}")
        return value

    @field_validator("disallowed_header_directives", "disallowed_usages")
    @classmethod
    def _lower_case(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(directive.strip().lower() for directive in value)

    @field_validator("nameservers")
    @classmethod
    def _are_addresses(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for text in value:
            place = re.fullmatch(r"\[(.+)\](?::(\d{1,5}))?|([^:]+)(?::(\d{1,5}))?", text)
            try:
                ipaddress.ip_address(text if place is None else place[1] or place[3])
            except ValueError:
                form = "192.0.2.53, 127.0.0.1:5353 or [::1]:5353"
                raise ValueError(f"a name server is an address, with a port or not ({form}), got {text!r}") from None
        return value

    @field_validator("allow_filesystems")
    @classmethod
    def _are_known(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for name in value:
            if name not in FILE_SYSTEMS:
                raise ValueError(f"no file system '{name}'{named(name, FILE_SYSTEMS)}")
        return value

    @model_validator(mode="after")
    def _has_roots(self) -> FetchOptions:
        if (FILE in self.allow_filesystems) != bool(self.file_roots):
            raise ValueError(
                "`file` in allow_filesystems and file_roots, the folders under which its files lie, go together, "
                "e.g. {allow_filesystems: [file], file_roots: [/data/images]}"
            )
        if relative := [root for root in self.file_roots if not root.startswith("/")]:
            raise ValueError(f"file_roots are paths from the root, and '{relative[0]}' is none")
        return self

    @property
    def of_hosts(self) -> dict[str, Any]:
        """What a RunHosts has to know."""
        return self.model_dump(include={"per_host", "per_second", "retries", "backoff_seconds"})

    @property
    def sent_user_agent(self) -> str:
        """The User-Agent header: who asks, for whom, and where they are reached."""
        token = f" ({self.user_agent_token})" if self.user_agent_token else ""
        contact = f" (+{self.user_agent_contact})" if self.user_agent_contact else ""
        return self.user_agent + token + contact


class DownloadOptions(FetchOptions, ResizeOptions):
    """img2dataset's options by their names, and ours: those of FetchOptions, of ResizeOptions, and these.

    retry: statuses of an earlier run to fetch again, e.g. [timeout, http_503]; http_5xx is all codes from 500 on.
    opt_out: files of urls, domains, md5 or sha256 whose owners opted out (.txt, one a line; .csv or .parquet with
        columns url, domain, md5, sha256), a domain with all below it. Their rows get the status `opted_out`, and no
        request; a file that is known only once it came is thrown away. See docs/removal.md.
    processes: shards downloaded at the same time; None takes one per CPU, or what `--workers` says. `--workers 0`
        downloads one after the other, in this process.
    """

    retry: tuple[str, ...] = ()
    opt_out: tuple[str, ...] = ()
    processes: int | None = None


def lacking_packages(options: FetchOptions | None = None) -> list[str]:
    """At most one line, that names what is not installed."""
    systems = [package for name in (options.allow_filesystems if options else ()) if (package := FILE_SYSTEMS[name])]
    # Without nameservers of the user's, threads ask the system's where aiodns is not there.
    resolvers = ["aiodns"] if options and options.nameservers else []
    line = lacking("download", [*PACKAGES, *resolvers, *dict.fromkeys(systems)], ["download"])
    return [line] if line else []


def unknown_statuses(options: DownloadOptions) -> list[str]:
    """Statuses to fetch again that no download gives: nothing would be, without a word."""
    known = sorted({*FETCHED, *STORED, DEADLY} - {"success"})
    return [
        str(unknown("status", status, known, "retry"))
        for status in options.retry
        if status not in known and not re.fullmatch(r"http_[1-5](\d\d|xx)", status)
    ]


def check_packages(options: FetchOptions | None = None) -> None:
    """
    Raises:
        CurateError: for packages that are not installed.
    """
    for fault in lacking_packages(options):
        raise CurateError(fault)
