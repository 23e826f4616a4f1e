"""Echoes WebSocket messages with the library `websockets`; "close CODE" closes with that code: ws_server.py PORT."""

from __future__ import annotations

import asyncio
import re
import sys
from typing import TYPE_CHECKING

from websockets.asyncio.server import ServerConnection, serve

if TYPE_CHECKING:
    from collections.abc import Sequence

    from websockets.typing import Subprotocol


async def echo(socket: ServerConnection) -> None:
    """Send each message back, until the client closes."""
    async for message in socket:
        close = re.fullmatch(r"close (\d+)", message) if isinstance(message, str) else None
        if close is not None:
            await socket.close(int(close[1]), "as asked")
        else:
            await socket.send(message)


def chosen(_: ServerConnection, offered: Sequence[Subprotocol]) -> Subprotocol | None:
    """Choose edge.two if it is offered."""
    return next((one for one in offered if one == "edge.two"), None)


async def main() -> None:
    """Serve until the process ends."""
    async with serve(echo, "127.0.0.1", int(sys.argv[1]), select_subprotocol=chosen, max_size=1 << 24) as server:
        await server.serve_forever()


asyncio.run(main())
