"""A server on a free loopback port, for tests that write their own answers; over TLS where the test runs over TLS."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from typing import Self

from one_data_plane import server_tls


class LoopbackServer(ABC):
    """Serves each connection with :meth:`serve` while entered; ``url`` is its root, ``address`` its host and port."""

    @abstractmethod
    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection."""

    async def __aenter__(self) -> Self:
        tls = server_tls()
        self._server = await asyncio.start_server(self.serve, "127.0.0.1", 0, ssl=tls)
        self.address = f"127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        self.url = f"http{'' if tls is None else 's'}://{self.address}"
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
