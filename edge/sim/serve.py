"""A process that runs only simulated providers.

``edge sim provider`` runs one. ``python -m edge.sim.serve '[{"name": "sim-a"}, …]'`` runs several for ``world``: it
prints one JSON line for each, and ends when its standard input ends, so that it cannot outlive the process that started
it.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import sys
from typing import TYPE_CHECKING

import msgspec
import uvloop

from edge.sim.provider import ProviderSpec, SimProvider

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable


@contextlib.asynccontextmanager
async def until_told(*, until_eof: bool) -> AsyncIterator[asyncio.Event]:
    """Yield an event that SIGINT, SIGTERM or, with ``until_eof``, the end of standard input sets."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    with contextlib.ExitStack() as held:
        if until_eof:
            reader = asyncio.StreamReader()
            pipe, _ = await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
            held.callback(pipe.close)
            ended = asyncio.create_task(reader.read())
            ended.add_done_callback(lambda _: stop.set())
            held.callback(ended.cancel)
        yield stop


async def serve(specs: tuple[ProviderSpec, ...], announce: Callable[[SimProvider], None], *, until_eof: bool) -> None:
    """Run providers until SIGINT, SIGTERM or, with ``until_eof``, the end of standard input.

    Raises:
        OSError: an address is in use.
    """
    async with contextlib.AsyncExitStack() as stack:
        stop = await stack.enter_async_context(until_told(until_eof=until_eof))
        for spec in specs:
            announce(await stack.enter_async_context(SimProvider(spec)))
        await stop.wait()


def run(specs: tuple[ProviderSpec, ...], announce: Callable[[SimProvider], None], *, until_eof: bool = False) -> None:
    """Run ``serve`` on a new uvloop event loop."""
    uvloop.run(serve(specs, announce, until_eof=until_eof))


def main() -> None:
    """Run the providers that the first argument describes."""
    specs = msgspec.json.decode(sys.argv[1], type=tuple[ProviderSpec, ...])

    def announce(provider: SimProvider) -> None:
        line = msgspec.json.encode({"name": provider.spec.name, "url": provider.url})
        sys.stdout.write(line.decode() + "\n")
        sys.stdout.flush()

    run(specs, announce, until_eof=True)


if __name__ == "__main__":
    main()
