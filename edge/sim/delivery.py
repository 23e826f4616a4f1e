"""Delivery of a simulated response at its pace, with its fault.

The bytes come from ``answers``; this module sleeps, writes and injects faults. A fault that ends a connection does so
here, by closing it (FIN) or by resetting it (RST, with SO_LINGER and a time of zero).
"""

from __future__ import annotations

import asyncio
import os
import socket
import struct
from typing import TYPE_CHECKING, Any

from aiohttp import web

from edge.sim.answers import Answer, dumps, error_body, vllm_error
from edge.sim.vendor_answers import error_in

if TYPE_CHECKING:
    from collections.abc import Iterator

    from edge.sim.asked import Pace
    from edge.sim.faults import Fault

GARBAGE = {
    "html": ("text/html", b"<html><body><h1>We'll be right back</h1></body></html>"),
    "json": ("application/json", b'{"id": "chatcmpl-1", "choices": [{"index": 0, "mess'),
}
CORRUPT = b'data: {"id": "chatcmpl-1", "choices": [{"index": 0, "del\n\n'
_FLUSH_S = 0.02  # lets written data leave before a reset discards what is queued
_PLACED = frozenset(("stall", "cut", "reset", "inband_error", "corrupt"))
_REASONS = {429: ("rate_limit_exceeded", "requests"), 401: ("invalid_api_key", "invalid_request_error")}


async def silence() -> None:
    """Wait until the client disconnects; the server then cancels this task."""
    await asyncio.Event().wait()


def reset(request: web.BaseRequest) -> web.StreamResponse:
    """Send RST, as a crashed process or an impatient middlebox does."""
    transport = request.transport
    if transport is not None:
        known = transport.get_extra_info("socket")
        with socket.socket(fileno=os.dup(known.fileno())) as same:  # they share its options
            same.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        transport.abort()
    return web.Response()


def close(request: web.BaseRequest) -> web.StreamResponse:
    """Send what is queued, then close the connection, even if the response is incomplete."""
    if request.transport is not None:
        request.transport.close()
    return web.Response()


def error(
    status: int, message: str, fields: dict[str, str], *, code: str | None = None, path: str = ""
) -> web.Response:
    """Return an error response in the format of the API that ``path`` belongs to; of OpenAI's by default."""
    known, kind = _REASONS.get(status, (None, "server_error" if status >= 500 else "invalid_request_error"))  # noqa: PLR2004
    body = dumps(error_in(path, status, error_body(message, kind, code=code or known)))
    return web.Response(status=status, body=body, content_type="application/json", headers=fields)


def error_of(fault: Fault, name: str, fields: dict[str, str], path: str) -> web.Response:
    """Return the error response that a fault specifies."""
    hints = {"retry-after": fault.retry_after, "x-ratelimit-reset-requests": fault.ratelimit_reset}
    fields = {**fields, **{key: value for key, value in hints.items() if value is not None}}
    message = f"{name} is simulating {fault.kind} with status {fault.error_status}"
    if fault.kind == "capability" and fault.error_status < 500:  # noqa: PLR2004  # in the words that providers use
        message = f"This model does not support {fault.asked} input."
    if fault.shape == "vllm":
        body = dumps(vllm_error(message, fault.error_status))
        return web.Response(status=fault.error_status, body=body, content_type="application/json", headers=fields)
    return error(fault.error_status, message, fields, code=fault.code, path=path)


def _inband(fault: Fault, name: str) -> dict[str, Any]:
    message = f"{name} is simulating an error inside a 200"
    if fault.shape == "vllm":
        return vllm_error(message, 500)
    return error_body(message, "server_error", code=fault.code)


async def before(
    request: web.Request, fault: Fault, name: str, fields: dict[str, str], *, excess: int, stream: bool
) -> web.StreamResponse | None:
    """Apply a fault that acts before the response; return the response it causes, or None to continue.

    Args:
        request: the request, whose connection may end here.
        fault: the fault; kinds that act during the response have no effect here.
        name: name of the provider for error messages.
        fields: header fields of an error response.
        excess: number of requests by which a capacity fault's limit is exceeded.
        stream: whether the response is streamed.
    """
    match fault.kind:
        case "blackhole":
            await silence()
        case "reset" if fault.place == "start":
            return reset(request)
        case "cut" if fault.place == "start":
            return close(request)
        case "error" | "flapping" | "capability":
            return error_of(fault, name, fields, request.path)
        case "capacity" if excess > fault.limit:
            return error_of(fault, name, fields, request.path)
        case "capacity":
            await asyncio.sleep(fault.delay * excess)
        case "latency" if fault.place == "start" or not stream:
            await asyncio.sleep(fault.delay)
        case "garbage":
            content_type, junk = GARBAGE["json" if fault.shape == "json" else "html"]
            return web.Response(body=junk, content_type=content_type, headers=fields)
        case _:
            pass  # acts while the response is sent
    return None


async def deliver(
    request: web.Request, answer: Answer, fault: Fault | None, fields: dict[str, str]
) -> web.StreamResponse:
    """Send a response at its pace; ``fault`` may act on the way."""
    await asyncio.sleep(answer.ask.pace.ttft_s)
    sending = _Sending(request, answer, fault, fields)
    return await (sending.stream() if answer.ask.stream else sending.whole())


class _Sending:
    """A response being sent: it keeps the pace and applies the fault."""

    def __init__(self, request: web.Request, answer: Answer, fault: Fault | None, fields: dict[str, str]) -> None:
        self.request = request
        self.answer = answer
        self.fault = fault
        self.kind = fault.kind if fault is not None else ""
        self.place = fault.place if fault is not None and self.kind in _PLACED else ""
        self.response = web.StreamResponse(headers=fields)
        slower = fault.delay if fault is not None and fault.kind == "slow_tokens" else 0.0
        self.per_token_s = self._pace.per_token_s + slower

    @property
    def _pace(self) -> Pace:
        return self.answer.ask.pace

    async def whole(self) -> web.StreamResponse:
        """Send a JSON body after the time that its tokens would take."""
        await asyncio.sleep(self.per_token_s * self.answer.output_tokens())
        body = self.answer.whole()
        if self.fault is not None and self.kind == "inband_error":
            body = dumps(error_in(self.request.path, 500, _inband(self.fault, self.answer.name)))
        response = self.response
        response.content_type = self.answer.content_type
        breaks = self.kind in {"stall", "cut", "reset", "truncated"}
        part = 0 if self.place == "head" else len(body) // 2
        clean = self.fault is not None and self.fault.clean
        response.content_length = part if self.kind == "cut" and clean else len(body)
        await response.prepare(self.request)
        await response.write(body[:part] if breaks else body)
        if breaks:
            return await self._strike()
        await response.write_eof()
        return response

    async def stream(self) -> web.StreamResponse:
        """Send server-sent events on an absolute schedule, so that many slow streams keep their pace."""
        response = self.response
        response.content_type = "text/event-stream"
        response.headers["cache-control"] = "no-cache"
        await response.prepare(self.request)
        if self.place == "head" and self.kind != "inband_error":
            return await self._strike()
        for piece in self.answer.opening():
            await response.write(piece)
        if self.fault is not None and self.kind == "latency" and self.fault.place == "head":
            await asyncio.sleep(self.fault.delay)
        if self.place == "head":
            return await self._strike()
        strike_at = self.fault.tokens if self.fault is not None and self._in_the_middle() else -1
        loop = asyncio.get_running_loop()
        due = loop.time()
        for number, piece in enumerate(self._content()):
            if number == strike_at:
                return await self._strike()
            await response.write(piece)
            due += self.per_token_s
            if (wait := due - loop.time()) > 0:
                await asyncio.sleep(wait)
        if strike_at >= 0:  # the response was shorter than the fault expected: act before the end
            return await self._strike()
        closing = self.answer.closing()
        for piece in closing[:-1] if self.kind == "no_done" else closing:
            await response.write(piece)
        await response.write_eof()
        return response

    def _in_the_middle(self) -> bool:
        return (self.place == "middle" and self.kind != "corrupt") or self.kind == "truncated"

    def _content(self) -> Iterator[bytes]:
        """Yield the events that carry content, perhaps with one among them that is none."""
        corrupt_at = self.fault.tokens if self.fault is not None and self.kind == "corrupt" else -1
        for number, piece in enumerate(self.answer.content()):
            if number == corrupt_at:
                yield CORRUPT
            yield piece

    async def _strike(self) -> web.StreamResponse:
        """Apply the fault to a response that has begun: end it, or never end it."""
        match self.kind:
            case "stall":
                await silence()
            case "reset":
                await asyncio.sleep(_FLUSH_S)
                reset(self.request)
            case "inband_error" if self.fault is not None:
                await self.response.write(self.answer.failure(_inband(self.fault, self.answer.name)))
                await self.response.write_eof()
            case "cut" if self.fault is not None and self.fault.clean:
                await self.response.write_eof()
            case _:
                close(self.request)
        return self.response
