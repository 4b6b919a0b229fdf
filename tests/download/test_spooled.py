"""Bodies of any size come back whole, and many large ones at once take little memory."""

from __future__ import annotations

import asyncio
import tracemalloc
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from web_server import LOOPBACK, MEGABYTE, Server

from curate.download.fetch import FetchOptions, fetch
from curate.download.spooled import IN_MEMORY, Spooled

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    server = Server()
    server.start()
    yield server
    server.stop()


@settings(derandomize=True, max_examples=40, deadline=None)
@given(st.lists(st.integers(0, IN_MEMORY // 2), max_size=6))
def test_bytes_come_back_as_they_went_in(sizes: list[int]) -> None:
    spooled = Spooled()
    for number, size in enumerate(sizes):
        spooled.add(bytes([number]) * size)
    assert spooled.size == sum(sizes)
    assert spooled.all() == spooled.all() == b"".join(bytes([n]) * size for n, size in enumerate(sizes))
    assert Spooled(b"abc").all() == b"abc"


def test_many_large_bodies_wait_on_disk(server: Server) -> None:
    """32 at once of 8 MB, for a consumer that is slower than all servers: 256 MB would be in memory without files."""
    urls = [f"{server.url}/megabytes/8/{number}" for number in range(32)]
    options = FetchOptions.model_validate(
        {"allow_private_addresses": LOOPBACK, "per_host": 32, "concurrency": 32, "timeout_seconds": 120}
    )
    wanted = b"".join(bytes([number]) * len(MEGABYTE) for number in range(8))

    async def consume() -> int:
        whole = 0
        async for _, answer in fetch(urls, options):
            assert answer.status == "success", answer
            whole += answer.body == wanted
            await asyncio.sleep(0.02)
        return whole

    tracemalloc.start()
    try:
        assert asyncio.run(consume()) == 32
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 100_000_000
