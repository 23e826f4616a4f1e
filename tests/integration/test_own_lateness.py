"""What a worker itself was late to read does not make a target look slow."""

from __future__ import annotations

import asyncio
import threading
import time
from typing import TYPE_CHECKING

from loopback import LoopbackServer
from one_data_plane import DONE, HELLO, STOP, STREAM, models, one_data_plane, patient, post, sse

if TYPE_CHECKING:
    from one_data_plane import LoopThread

LATE_S = 0.1


class Quick(LoopbackServer):
    """Answers at once, with one stream per connection; ``keeps`` is the loop that it keeps meanwhile, None = none."""

    keeps: LoopThread | None = None

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer one request, while the worker cannot read."""
        await reader.readuntil(b"\r\n\r\n")
        if self.keeps is not None:
            begun = threading.Event()
            self.keeps.loop.call_soon_threadsafe(keep, begun)
            await asyncio.to_thread(begun.wait, 20)
        writer.write(sse(HELLO, STOP, DONE))
        await writer.drain()
        writer.close()


def keep(begun: threading.Event) -> None:
    """Keep the loop that runs this."""
    begun.set()
    time.sleep(LATE_S)


async def test_answers_that_waited_for_the_worker_are_not_compared() -> None:
    """A window of first tokens ends with such answers that were read in time, and with no others."""
    async with Quick() as upstream, one_data_plane(patient(models(upstream.url))) as data_plane:
        upstream.keeps = data_plane.thread
        for _ in range(15):  # 1.5 s, and more than a window needs
            assert HELLO in await data_plane.ask(post(STREAM), b"[DONE]")
        assert data_plane.target("p0/m")["limit_seen_ms"] == 0
        upstream.keeps = None
        async with asyncio.timeout(20):
            while data_plane.target("p0/m")["limit_seen_ms"] == 0:
                assert HELLO in await data_plane.ask(post(STREAM), b"[DONE]")
