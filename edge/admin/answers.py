"""In what form does the admin listener answer?  JSON; what is refused is an object with the key ``error``."""

from __future__ import annotations

from typing import Any

import msgspec
from aiohttp import web


def json_answer(value: Any, *, status: int = 200) -> web.Response:
    """Return a value of plain data as the answer."""
    return web.Response(body=msgspec.json.encode(value), status=status, content_type="application/json")


def problem(status: int, sentence: str, *, challenge: bool = False, problems: tuple[str, ...] = ()) -> web.Response:
    """Return a refusal: one sentence, and where there are several things wrong, each of them."""
    response = json_answer({"error": sentence, **({"problems": problems} if problems else {})}, status=status)
    if challenge:
        response.headers["WWW-Authenticate"] = "Bearer"
    return response
