"""Clients of a WebSocket of Responses: turns, and what comes back."""

from __future__ import annotations

import asyncio
import contextlib
import json
from typing import TYPE_CHECKING, Any

from callers import clear
from websockets.asyncio.client import ClientConnection, connect

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from one_data_plane import OneDataPlane

    from edge.sim.wire import ScriptedServer

ENDS = {"response.completed", "response.failed", "response.incomplete", "error"}


def turn(text: str = "hello", **more: Any) -> dict[str, Any]:
    """Return a turn."""
    return {"type": "response.create", "model": "chat", "input": text, "store": False, **more}


@contextlib.asynccontextmanager
async def opened(plane: OneDataPlane, key: str | None = None, **more: Any) -> AsyncIterator[ClientConnection]:
    """Open a WebSocket."""
    headers = {} if key is None else {"authorization": f"Bearer {clear(key)}"}
    url = f"ws://127.0.0.1:{plane.port}/v1/responses"
    async with connect(url, additional_headers=headers, proxy=None, open_timeout=20, close_timeout=5, **more) as socket:
        yield socket


async def said(socket: ClientConnection) -> dict[str, Any]:
    """Return the next message."""
    message = json.loads(await asyncio.wait_for(socket.recv(), 20))
    assert isinstance(message, dict)
    return message


async def answered(socket: ClientConnection) -> list[dict[str, Any]]:
    """Return the messages of one turn."""
    messages = [await said(socket)]
    while messages[-1]["type"] not in ENDS:
        messages.append(await said(socket))
    return messages


async def asked(socket: ClientConnection, **more: Any) -> list[dict[str, Any]]:
    """Take a turn; return the messages that answer it."""
    await socket.send(json.dumps(turn(**more)))
    return await answered(socket)


def text_of(messages: list[dict[str, Any]]) -> str:
    """Return the text of the deltas."""
    return "".join(message["delta"] for message in messages if message["type"] == "response.output_text.delta")


CREATED = (
    b'event: response.created\ndata: {"type":"response.created","sequence_number":0,"response":{"id":"resp_1"}}\n\n'
)
DELTA = (
    b'event: response.output_text.delta\ndata: {"type":"response.output_text.delta","sequence_number":1,"item_id":"m",'
    b'"output_index":0,"content_index":0,"delta":"hi"}\n\n'
)


def completed(name: str, store: str = "false") -> bytes:
    """Return the last event of a response."""
    return (
        'event: response.completed\ndata: {"type":"response.completed","sequence_number":2,'
        f'"response":{{"id":"{name}",'
        f'"object":"response","status":"completed","store":{store},"usage":{{"input_tokens":5,"output_tokens":2,'
        '"total_tokens":7},"output":[{"type":"reasoning","id":"rs_1","summary":[]},{"type":"message","id":"msg_1",'
        '"role":"assistant","status":"completed","content":[{"type":"output_text","text":"hi","annotations":[]}]}]}}\n\n'
    ).encode()


def bodies(upstream: ScriptedServer) -> list[dict[str, Any]]:
    """Return the bodies of the requests that a scripted target has got, in order."""
    parts = [part for peer in upstream.peers for part in peer.received.split(b"POST ")[1:]]
    return [json.loads(part.partition(b"\r\n\r\n")[2]) for part in parts]
