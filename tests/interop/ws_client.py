"""Sends frames to an echo server with the library `websockets` and compares what returns: ws_client.py URL."""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING, Any

from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

URL = sys.argv[1]


async def echoed(message: str | bytes, **options: Any) -> None:
    """Send a message and compare."""
    async with connect(URL, max_size=1 << 24, **options) as socket:
        await socket.send(message)
        got = await socket.recv()
        assert got == message, f"{len(got)} of {len(message)} came back"


async def fragments() -> None:
    """A message in three frames with a ping between."""
    async with connect(URL) as socket:
        await socket.send(["one ", "two ", "three"])
        await (await socket.ping())
        assert await socket.recv() == "one two three"


async def subprotocol() -> None:
    """The server's choice comes back."""
    async with connect(URL, subprotocols=["edge.one", "edge.two"]) as socket:
        assert socket.subprotocol == "edge.two", socket.subprotocol


async def closed(code: int) -> None:
    """The server's code and reason come through."""
    async with connect(URL) as socket:
        await socket.send(f"close {code}")
        try:
            await socket.recv()
        except ConnectionClosed as error:
            assert error.rcvd is not None
            assert (error.rcvd.code, error.rcvd.reason) == (code, "as asked"), error.rcvd


async def main() -> None:
    """Run each case for at most 20 s."""
    cases: dict[str, Callable[[], Awaitable[None]]] = {"fragments": fragments, "subprotocol": subprotocol}
    for size in (0, 1, 125, 126, 127, 65535, 65536, 1048576):
        cases[f"text {size}"] = lambda size=size: echoed("x" * size)
        cases[f"binary {size}"] = lambda size=size: echoed(bytes(size))
        cases[f"uncompressed {size}"] = lambda size=size: echoed(bytes(size), compression=None)
    for code in (1000, 1001, 1003, 1008, 1011, 3000, 4999):
        cases[f"closed with {code}"] = lambda code=code: closed(code)
    for name, case in cases.items():
        try:
            async with asyncio.timeout(20):
                await case()
            said = "ok"
        except Exception as error:  # noqa: BLE001 - what went wrong is what is asked
            said = " ".join(f"{type(error).__name__}: {error}".split())[:200]
        print(f"{name}: {said}", flush=True)


asyncio.run(main())
