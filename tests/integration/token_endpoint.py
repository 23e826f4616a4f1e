"""A token endpoint on loopback for tests: its tokens expire, it fails as told, and it remembers what it was asked."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Self

from aiohttp import web

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable


class TokenEndpoint:
    """``async with`` serves; ``url`` is its root. Any path answers alike, unless ``answers`` has one for it.

    ``lasts_s`` is the life of a token; ``status``, ``body`` and ``slow_s`` replace or delay the answer. ``given`` are
    the tokens given out, ``asked`` the requests: method, path, header fields, and what the form or the query said.
    """

    def __init__(self, lasts_s: float = 3600) -> None:
        self.lasts_s = lasts_s
        self.status = 200
        self.body: bytes | None = None
        self.slow_s = 0.0
        self.given: list[str] = []
        self.asked: list[tuple[str, str, dict[str, str], dict[str, str]]] = []
        self.answers: dict[str, Callable[[web.Request], Awaitable[web.Response]]] = {}
        self.url = ""
        self._runner: web.AppRunner | None = None

    async def __aenter__(self) -> Self:
        app = web.Application()
        app.router.add_route("*", "/{any:.*}", self._answer)
        self._runner = web.AppRunner(app, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}"
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._runner is not None:
            await self._runner.cleanup()

    def token(self) -> str:
        """Return a new token."""
        self.given.append(f"secret-token-{len(self.given):04d}")
        return self.given[-1]

    async def _answer(self, request: web.Request) -> web.Response:
        form: Any = await request.post() if request.method == "POST" else {}
        said = {**request.query, **{name: str(value) for name, value in form.items()}}
        self.asked.append(
            (request.method, request.path, {name.lower(): value for name, value in request.headers.items()}, said)
        )
        if self.slow_s:
            await asyncio.sleep(self.slow_s)
        if request.path in self.answers:
            return await self.answers[request.path](request)
        if self.body is not None or self.status != 200:
            return web.Response(status=self.status, body=self.body or b"")
        return web.json_response({"access_token": self.token(), "token_type": "Bearer", "expires_in": self.lasts_s})
