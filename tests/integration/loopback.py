"""A server on a free loopback port, for tests that write their own answers."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from typing import Self


class LoopbackServer(ABC):
    """Serves each connection with :meth:`serve` while entered; ``url`` is its root."""

    @abstractmethod
    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection."""

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self.serve, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
