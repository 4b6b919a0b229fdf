"""Addresses of names: as the system's getaddrinfo has them, each within its time; nothing outlives the work."""

from __future__ import annotations

import asyncio
import ipaddress
import os
import socket
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest
from conftest import slowness
from name_server import name_serving

from curate.download.address import AddressRefused
from curate.download.lookups import DNSError
from curate.download.options import FetchOptions
from curate.download.resolver import Resolver

LOOPBACK = [ipaddress.ip_network("127.0.0.0/8"), ipaddress.ip_network("::1/128")]


async def lookups_of(place: str, names: list[str], seconds: float) -> dict[str, list[str] | str]:
    resolver = Resolver(LOOPBACK, seconds, [place])

    async def one(name: str) -> tuple[str, list[str] | str]:
        try:
            return name, sorted(str(info[4][0]) for info in await resolver.lookup(name))
        except (DNSError, AddressRefused) as problem:
            return name, str(problem)

    try:
        return dict(await asyncio.gather(*map(one, names)))
    finally:
        await resolver.close()


def test_what_a_name_server_says() -> None:
    with name_serving() as server:
        server.names = {
            "four.test": ["127.0.0.1"],
            "six.test": ["::1"],
            "both.test": ["127.0.0.2", "::1", "10.0.0.1"],
            "inside.test": ["10.0.0.1"],
            "a_b.test": ["127.0.0.3"],
            "dead.test": [],
        }
        names = [*server.names, "no.test", "a..test", "a" * 64 + ".test", "127.0.0.9", "[::1]"]
        assert asyncio.run(lookups_of(server.place, names, 0.5)) == {
            "four.test": ["127.0.0.1"],
            "six.test": ["::1"],
            "both.test": ["127.0.0.2", "::1"],
            "inside.test": str(AddressRefused()),
            "a_b.test": ["127.0.0.3"],
            "dead.test": "dead.test: no name server answered within 0.5 s",
            "no.test": "no.test: Domain name not found",
            "a..test": "a..test: Misformatted domain name",
            "a" * 64 + ".test": "a" * 64 + ".test: Misformatted domain name",
            "127.0.0.9": ["127.0.0.9"],
            "[::1]": ["::1"],
        }


@pytest.mark.slow
def test_a_late_answer_counts_however_quick_others_were() -> None:
    """c-ares shortens its patience by the answers that it had; a name whose own server is slow must not suffer."""
    with name_serving(slow=2.5) as server:
        server.names = {f"n{n}.test": ["127.0.0.1"] for n in range(200)} | {"slow.test": ["127.0.0.2"]}

        async def lookups() -> list[str]:
            resolver = Resolver(LOOPBACK, 8.0, [server.place])
            for n in range(200):
                await resolver.lookup(f"n{n}.test")
            infos = await resolver.lookup("slow.test")
            await resolver.close()
            return [str(info[4][0]) for info in infos]

        assert asyncio.run(lookups()) == ["127.0.0.2"]


@pytest.mark.slow
def test_dead_names_cost_only_their_own_time() -> None:
    with name_serving() as server:
        dead, live = [f"dead{n}.test" for n in range(500)], [f"live{n}.test" for n in range(500)]
        server.names = {name: [] for name in dead} | {name: ["127.0.0.1"] for name in live}
        seconds = 3.0 * slowness()

        async def lookups() -> tuple[float, float]:
            resolver = Resolver(LOOPBACK, seconds, [server.place])
            began = time.monotonic()
            tasks = {
                name: asyncio.create_task(resolver.lookup(name))
                for pair in zip(dead, live, strict=True)
                for name in pair
            }
            await asyncio.gather(*(tasks[name] for name in live))
            of_live = time.monotonic() - began
            await asyncio.wait(tasks.values())
            assert all(isinstance(tasks[name].exception(), DNSError) for name in dead)
            everything = time.monotonic() - began
            await resolver.close()
            return of_live, everything

        of_live, everything = asyncio.run(lookups())
        assert of_live < seconds
        assert everything < seconds + 1.5 * slowness(), "all at the same time"


@pytest.mark.slow
def test_nothing_outlives_the_work() -> None:
    """Shard after shard, threads and file descriptors stay as many; and the process ends at once."""
    with name_serving() as server:
        server.names = {"dead.test": []}
        code = f"""
            import asyncio, os, time
            from curate.download.resolver import Resolver

            async def shard():
                resolver = Resolver([], 30.0, ["{server.place}"])
                task = asyncio.create_task(resolver.lookup("dead.test"))
                await asyncio.sleep(0.01)
                await resolver.close()

            def there():
                time.sleep(0.3)
                return len(os.listdir("/proc/self/task")), len(os.listdir("/proc/self/fd"))

            asyncio.run(shard())
            before = there()
            for _ in range(30):
                asyncio.run(shard())
            assert there() == before, (there(), before)
        """
        began = time.monotonic()
        subprocess.run([sys.executable, "-c", textwrap.dedent(code)], check=True, timeout=60 * slowness())
        assert time.monotonic() - began < 15 * slowness(), "it did not wait for a name server"


#: Names in /etc/hosts, of a search domain, absolute, without an address, and of both families.
REFERENCE = [
    "host.of.hosts",
    "six.of.hosts",
    "localhost",
    "four",
    "four.test",
    "FOUR.test",
    "four.test.",
    "six.test",
    "no.such",
]
SYSTEM = """
import asyncio, ipaddress, socket
from curate.download.lookups import Ares, DNSError

async def main():
    ares = Ares()
    for name in {names}:
        try:
            infos = socket.getaddrinfo(name, 0, type=socket.SOCK_STREAM)
            reference = sorted({{info[4][0] for info in infos}})
        except OSError:
            reference = []
        try:
            answer = sorted({{info[4][0] for info in await ares.ask(name, 5)}})
        except DNSError:
            answer = []
        if name == "localhost":  # glibc leaves out what it has no interface for
            answer, reference = answer and "known", reference and "known"
        assert answer == reference, (name, answer, reference)
        assert bool(answer) == (name != "no.such"), name
    await ares.close()

asyncio.run(main())
"""


@pytest.mark.slow
def test_the_system_s_settings_hold(tmp_path: Path) -> None:
    """/etc/hosts, search domains and name servers, as getaddrinfo has them: in a mount namespace with files of ours."""
    if sys.platform != "linux" or subprocess.run(["unshare", "-m", "true"], capture_output=True).returncode:
        pytest.skip("needs the right to a mount namespace")
    (tmp_path / "resolv.conf").write_text("nameserver 127.0.0.53\nsearch test\n")
    (tmp_path / "hosts").write_text("127.0.0.1 localhost\n192.0.2.7 host.of.hosts\n2001:db8::7 six.of.hosts\n")
    (tmp_path / "look.py").write_text(SYSTEM.format(names=REFERENCE))
    mounts = [f"mount --bind {tmp_path / name} /etc/{name}" for name in ("resolv.conf", "hosts")]
    try:
        with name_serving("127.0.0.53", 53) as server:
            server.names = {"four.test": ["192.0.2.4"], "six.test": ["2001:db8::6"]}
            words = " && ".join([*mounts, f"{sys.executable} {tmp_path / 'look.py'}"])
            path = {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
            subprocess.run(["unshare", "-m", "sh", "-c", words], check=True, env=os.environ | path, timeout=120)
    except PermissionError:
        pytest.skip("needs the right to port 53")


def test_threads_where_aiodns_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("curate.download.resolver.missing", list)

    def getaddrinfo(host: str, *rest: object, **more: object) -> list[object]:
        if host == "dead.test":
            time.sleep(1)
        if host == "no.test":
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", 0))]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    assert asyncio.run(lookups_of("", ["a.test", "dead.test", "no.test"], 0.3)) == {
        "a.test": ["127.0.0.1"],
        "dead.test": "dead.test: no name server answered within 0.3 s",
        "no.test": "no.test: [Errno -2] Name or service not known",
    }


@pytest.mark.parametrize("place", ["192.0.2.53", "127.0.0.1:5353", "[::1]:53", "::1", "[2001:db8::1]"])
def test_places_of_name_servers(place: str) -> None:
    assert FetchOptions(nameservers=(place,)).nameservers == (place,)


@pytest.mark.parametrize("place", ["dns.example", "127.0.0.1:", "1.2.3:53", "[::1", "", "127.0.0.1:53:1"])
def test_what_is_no_place_of_a_name_server(place: str) -> None:
    with pytest.raises(ValueError, match="a name server is an address"):
        FetchOptions(nameservers=(place,))
