"""Following a job: its log as it comes, through lost connections, to its end."""

from __future__ import annotations

import asyncio
import contextlib
import sys
import time
from typing import Any

from curate.errors import CurateError
from curate.messages.terminal import console, without_colours

#: A job without a word for so long is asked whether it still runs.
QUIET_SECONDS = 5.0

#: So long the cluster may be out of reach.
LOST_SECONDS = 300.0


def follow_log(client: Any, job: str) -> int:
    """Print a job's log until it ends; returns the exit code.

    Raises:
        CurateError: when the cluster is out of reach for LOST_SECONDS.
    """
    asyncio.run(_Follower(client, job).follow())
    info = client.get_job_info(job)
    console.say(f"{job}: {info.status.value.lower()}")
    if info.driver_exit_code == 127:
        console.say("the cluster has no `curate` on its PATH: install it on every node, as ray_cluster.yaml does")
    return 0 if info.status.value == "SUCCEEDED" else 1


class _Follower:
    """Prints what of a log was not printed yet: a new connection gets the log from its beginning."""

    def __init__(self, client: Any, job: str):
        self.client, self.job = client, job
        self.printed = self.skipped = 0
        self.heard = time.monotonic()
        # The beginning of a line: a colour may be cut in two.
        self.line = ""

    async def follow(self) -> None:
        while not await self._ended():
            self.skipped = 0
            texts: asyncio.Queue[str | None] = asyncio.Queue()
            pump = asyncio.create_task(self._pump(texts))
            try:
                while (text := await self._next(texts)) is not None:
                    self._print(text)
            finally:
                pump.cancel()
                with contextlib.suppress(asyncio.CancelledError, Exception):
                    await pump
            await asyncio.sleep(1)
        self._print_rest()

    async def _pump(self, texts: asyncio.Queue[str | None]) -> None:
        """A connection's texts, and None at its end, however it ends: whether the job did is asked."""
        try:
            async for text in self.client.tail_job_logs(self.job):
                await texts.put(text)
        except Exception as error:  # noqa: BLE001 - a lost connection is taken up again
            await asyncio.sleep(1)
            if time.monotonic() - self.heard > LOST_SECONDS:
                console.say(f"no connection to the log of {self.job}: {type(error).__name__}: {error}")
        finally:
            await texts.put(None)

    async def _next(self, texts: asyncio.Queue[str | None]) -> str | None:
        while True:
            try:
                return await asyncio.wait_for(texts.get(), QUIET_SECONDS)
            except asyncio.TimeoutError:
                if await self._ended():
                    return None

    async def _ended(self) -> bool:
        try:
            status = await asyncio.to_thread(self.client.get_job_status, self.job)
        except Exception as error:
            if time.monotonic() - self.heard > LOST_SECONDS:
                raise CurateError(
                    f"the cluster is out of reach for {LOST_SECONDS:g} s ({type(error).__name__}); the job may go on: "
                    "the same command follows it again"
                ) from error
            return False
        self.heard = time.monotonic()
        return bool(status.is_terminal())

    def _print(self, text: str) -> None:
        """The part of a text that was not printed before; whole lines only."""
        new = text[max(0, self.printed - self.skipped) :]
        self.skipped += len(text)
        self.printed = max(self.printed, self.skipped)
        lines, end, self.line = (self.line + new).rpartition("\n")
        if end:
            self._out(lines + end)

    def _print_rest(self) -> None:
        """What came after the last line that was followed: the log is asked for once more, whole."""
        with contextlib.suppress(Exception):
            self.skipped = 0
            self._print(self.client.get_job_logs(self.job))
        if self.line:
            self._out(self.line + "\n")

    def _out(self, text: str) -> None:
        sys.stdout.write(without_colours(text))
        sys.stdout.flush()
