"""Builds a fault web: which hosts there are, which rows are asked for, and what has to come of each."""

from __future__ import annotations

import hashlib
import json
import math
import random
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import polars as pl
import yaml

from curate.demo.faults.kinds import KINDS
from curate.demo.faults.pictures import FILES, picture
from curate.demo.faults.sites import DOMAIN, NETWORK, Site, sites_of

USUAL_PORT = 8766

_NO_URLS = (None, "", "not a url", "ftp://127.64.0.1/a.jpg", "http://", "http://[]@", "file:///etc/passwd", "//a.jpg")
_PRIVATE = ("10.0.0.1", "192.168.1.1", "169.254.169.254", "192.0.0.192", "100.100.100.200", "[fe80::1]", "0.0.0.0")
_LOOPBACK = ("127.0.0.1", "127.1", "0x7f000001", "[::ffff:127.0.0.1]")

#: How the web is downloaded; what it holds is meant for these numbers.
DOWNLOAD: dict[str, Any] = {
    "image_size": 64,
    "timeout_seconds": 8,
    "retries": 1,
    "backoff_seconds": 0.2,
    "max_backoff_seconds": 10,
    "max_bytes": 20_000_000,
    "max_working_bytes": 200_000_000,
    "per_host": 4,
    "min_image_size": 8,
    "max_aspect_ratio": 20,
    "max_image_area": 1_000_000,
    "allow_private_addresses": [NETWORK],
    "user_agent_contact": "https://faults.test/robot",
}


@dataclass(frozen=True)
class Web:
    """port: of all sites. download: options of the step. named: whether hosts are names or addresses."""

    port: int
    sites: tuple[Site, ...]
    download: Mapping[str, Any] = field(default_factory=lambda: dict(DOWNLOAD))
    named: bool = True

    def of_sort(self, sort: str) -> list[Site]:
        return [site for site in self.sites if site.sort == sort]

    def save(self, folder: Path) -> None:
        (folder / "web.json").write_text(json.dumps(asdict(self), indent=1))

    @classmethod
    def load(cls, folder: Path) -> Web:
        """
        Raises:
            SystemExit: where no web was built.
        """
        try:
            tree = json.loads((folder / "web.json").read_text())
        except FileNotFoundError:
            raise SystemExit(
                f"error: no fault web in {folder}: python -m curate.demo.faults serve --to {folder}"
            ) from None
        return cls(**{**tree, "sites": tuple(Site(**site) for site in tree["sites"])})


def build(
    folder: Path,
    rows: int,
    hosts: int,
    *,
    seed: int = 0,
    port: int = USUAL_PORT,
    named: bool = True,
    rows_per_shard: int = 500,
    **download: Any,
) -> Web:
    """Writes `urls.parquet` (url, text), `truth.parquet`, `web.json` and the pipeline `web.yaml`; returns the web.

    `truth.parquet` has the same rows with their kind, the status that each has to end with, the requests that its URL
    may get (0 where it must never be asked for), its host and path, and the sha256 of a picture that has to arrive.
    named: whether hosts have names, which the name server of the web knows; else they are addresses, and the kinds that
    need names are left out. download: other options of the step than DOWNLOAD. The same arguments write the same bytes.
    """
    folder.mkdir(parents=True, exist_ok=True)
    names = {"nameservers": [f"127.0.0.1:{port}"]} if named else {}
    web = Web(port, tuple(sites_of(hosts, named)), {**DOWNLOAD, **names, **download}, named)
    truth = pl.DataFrame(_rows(web, row_counts(rows, named), random.Random(seed)), schema=_SCHEMA)
    # Beforehand: a server that draws pictures would not answer in time.
    truth.select("kind", "number", "body").write_parquet(folder / "bodies.parquet")
    truth = truth.drop("number", "body")
    truth.write_parquet(folder / "truth.parquet")
    truth.select("url", "text").write_parquet(folder / "urls.parquet")
    (folder / "web.yaml").write_text(_pipeline(folder, web, rows_per_shard))
    web.save(folder)
    return web


def row_counts(rows: int, named: bool = True) -> dict[str, int]:
    """Rows of each kind, one at least, adding up to `rows`: the shares of the kinds, rounded down; the rest are `ok`.

    >>> counts = row_counts(2000)
    >>> sum(counts.values()), min(counts.values())
    (2000, 4)
    """
    shares = {name: kind.share for name, kind in KINDS.items() if named or not kind.named}
    total = sum(shares.values())
    counts = {name: max(1, math.floor(rows * share / total)) for name, share in shares.items()}
    counts["ok"] += rows - sum(counts.values())
    if counts["ok"] < 1:
        raise SystemExit(f"error: a fault web needs {rows - counts['ok'] + 1} rows at least, got {rows}")
    return counts


_SCHEMA: dict[str, Any] = {
    **dict.fromkeys(("url", "text", "kind", "status"), pl.String),
    "most_asked": pl.Int64,
    **dict.fromkeys(("host", "path", "sha256"), pl.String),
    "number": pl.Int64,
    "body": pl.Binary,
}


def _rows(web: Web, counts: Mapping[str, int], draw: random.Random) -> list[dict[str, Any]]:
    rows = []
    sites = defaultdict[str, list[Site]](list)
    for site in web.sites:
        sites[site.sort].append(site)
    for kind, count in counts.items():
        about = KINDS[kind]
        for number in range(count):
            site = draw.choice(sites[about.site])
            path, data = f"/{kind}/{number}.jpg", body(kind, number)
            rows.append(
                {
                    "url": _url(web, site, kind, number, path),
                    "text": f"{about.about}, number {number} of {kind}",
                    "kind": kind,
                    "status": about.status,
                    "most_asked": about.most_asked(web.download["retries"]),
                    "host": site.host,
                    "path": path,
                    "sha256": hashlib.sha256(data).hexdigest() if about.status == "success" else None,
                    "number": number,
                    "body": data,
                }
            )
    draw.shuffle(rows)
    return rows


def _url(web: Web, site: Site, kind: str, number: int, path: str) -> str | None:
    if kind == "bad_url":
        return _NO_URLS[number % len(_NO_URLS)]
    if kind == "private":
        return f"http://{_PRIVATE[number % len(_PRIVATE)]}{path}"
    if kind == "loopback":
        return f"http://{_LOOPBACK[number % len(_LOOPBACK)]}:{web.port}{path}"
    host = site.host
    if kind.startswith(("dns_", "name_of_")):
        host = f"{kind.removeprefix('dns_').replace('_', '-')}{f'-{number}' if kind[0] == 'd' else ''}.{DOMAIN}"
    port = 9 if kind == "port_refused" else web.port
    return f"{'https' if kind == 'not_tls' else 'http'}://{host}:{port}{path}"


def body(kind: str, number: int) -> bytes:
    """The file behind a URL."""
    return FILES[kind][2](number) if kind in FILES else picture(number)


def bodies(folder: Path) -> dict[tuple[str, int], bytes]:
    """All files of a web, by kind and number."""
    rows = pl.read_parquet(folder / "bodies.parquet").iter_rows()
    return {(kind, number): data for kind, number, data in rows}


def _pipeline(folder: Path, web: Web, rows_per_shard: int) -> str:
    steps = [
        {"read": {"input": str((folder / "urls.parquet").resolve()), "rows_per_shard": rows_per_shard}},
        {"download": dict(web.download)},
        {"write": {"samples_per_shard": 100}},
    ]
    tree = {"name": "fault_web", "set": {"root": str((folder / "store").resolve())}, "steps": steps}
    return yaml.safe_dump(tree, sort_keys=False)
