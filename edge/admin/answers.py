"""JSON responses of the admin listener; an error is an object with the key ``error``."""

from __future__ import annotations

from typing import Any

import msgspec
from aiohttp import web


def json_answer(value: Any, *, status: int = 200) -> web.Response:
    """Return a response with the JSON of a plain value."""
    return web.Response(body=msgspec.json.encode(value), status=status, content_type="application/json")


def problem(status: int, sentence: str, *, challenge: bool = False, problems: tuple[str, ...] = ()) -> web.Response:
    """Return an error response: one sentence, and the list of ``problems`` where there are several."""
    response = json_answer({"error": sentence, **({"problems": problems} if problems else {})}, status=status)
    if challenge:
        response.headers["WWW-Authenticate"] = "Bearer"
    return response
