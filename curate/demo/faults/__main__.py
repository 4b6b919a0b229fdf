"""`python -m curate.demo.faults`: serves a web of misbehaving hosts, and holds what was downloaded against it."""

from __future__ import annotations

import contextlib
import threading
from enum import Enum
from pathlib import Path
from typing import Annotated, Optional

import typer

from curate.demo.faults.check import check as check_store
from curate.demo.faults.check import print_checked
from curate.demo.faults.server import books_of, serving
from curate.demo.faults.web import USUAL_PORT, Web, build
from curate.messages.terminal import out

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, help=__doc__)

ToOption = Annotated[Path, typer.Option("--to", help="Folder of the web: urls.parquet, truth.parquet, web.yaml.")]
RowsOption = Annotated[int, typer.Option(min=1, help="Rows of the web.")]
HostsOption = Annotated[int, typer.Option(min=1, help="Hosts, each with an address below 127.64.0.0/10.")]
SeedOption = Annotated[int, typer.Option(help="Draws which row is at which host, and when a run is killed.")]
PortOption = Annotated[int, typer.Option(min=1, max=65535, help="Of all hosts, and of the name server at 127.0.0.1.")]
AddressesOption = Annotated[
    bool, typer.Option("--addresses", help="Hosts are addresses: for programs that cannot be told a name server.")
]


class Victim(str, Enum):
    driver = "driver"
    worker = "worker"
    node = "node"


def _web(to: Path, rows: int, hosts: int, seed: int, port: int, addresses: bool) -> Web:
    """The web that is there, or a new one."""
    if (to / "web.json").exists():
        return Web.load(to)
    return build(to, rows, hosts, seed=seed, port=port, named=not addresses)


@app.command()
def serve(
    to: ToOption = Path("fault_web"),
    rows: RowsOption = 2000,
    hosts: HostsOption = 200,
    seed: SeedOption = 0,
    port: PortOption = USUAL_PORT,
    addresses: AddressesOption = False,
) -> None:
    """Build a web in a folder, where there is none, and serve it until interrupted."""
    web = _web(to, rows, hosts, seed, port, addresses)
    with serving(to), contextlib.suppress(KeyboardInterrupt):
        places = sorted({site.address for site in web.sites})
        names = f", with names that the name server at 127.0.0.1:{web.port} knows" if web.named else ""
        out.say(f"{len(web.sites)} hosts at {len(places)} addresses, {places[0]} and on, port {web.port}{names}")
        out.say(f"download it: curate run {to / 'web.yaml'}")
        out.say(f"then:        python -m curate.demo.faults check {to / 'store'} --to {to}")
        threading.Event().wait()


@app.command()
def check(store: Annotated[str, typer.Argument(help="What was downloaded.")], to: ToOption = Path("fault_web")) -> None:
    """Hold a store against the web that it was downloaded of, and the server's books, where it still runs."""
    books = None
    with contextlib.suppress(OSError):
        books = books_of(Web.load(to).port)
    checked = check_store(to, store, books)
    print_checked(checked, out)
    raise typer.Exit(1 if checked.faults else 0)


@app.command()
def run(
    to: ToOption = Path("fault_web"),
    rows: RowsOption = 2000,
    hosts: HostsOption = 200,
    seed: SeedOption = 0,
    port: PortOption = USUAL_PORT,
    addresses: AddressesOption = False,
    workers: Annotated[Optional[int], typer.Option(min=0, help="Of the run; 0 works without Ray.")] = None,
    nodes: Annotated[int, typer.Option(min=1, help="Of a Ray cluster on this machine.")] = 1,
    kills: Annotated[int, typer.Option(min=0, help="How often a second run is killed.")] = 0,
    kill: Annotated[
        Victim, typer.Option(help="What is killed: the run with all it started, or a part.")
    ] = Victim.driver,
) -> None:
    """Serve, download, check; with --kills once more, killed on its way, and with the files of both compared."""
    from curate.cluster.local_nodes import local_nodes
    from curate.demo.faults.kills import Killer
    from curate.demo.faults.whole_run import killed, undisturbed

    _web(to, rows, hosts, seed, port, addresses)
    whole, broken = to / "store", to / "store-killed"
    for store in (whole, *([broken] if kills else [])):
        if store.exists():
            raise SystemExit(f"error: {store} is there from an earlier run: remove it, or name another folder")
    faults = 0
    several = max(nodes, 2) if kills and kill is Victim.node else nodes
    with local_nodes(several) if several > 1 else contextlib.nullcontext() as cluster:
        checked, seconds = undisturbed(to, whole, workers, cluster, out)
        faults += len(checked.faults)
        if kills:
            killer = Killer(kill.value, kills, seed, seconds, server=0, nodes=cluster)
            faults += len(killed(to, broken, whole, killer, workers, out).faults)
    raise typer.Exit(1 if faults else 0)


if __name__ == "__main__":
    app()
