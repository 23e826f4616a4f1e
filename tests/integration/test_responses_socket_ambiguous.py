"""A turn that its provider may have carried out is not sent again; one that leaves no trace, or was refused, is."""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest
from one_data_plane import OneDataPlane, models, one_data_plane, patient, sse
from soon import until
from turns import CREATED, DELTA, answered, asked, bodies, completed, opened, turn

from edge.sim.wire import Again, Hold, ReadMessage, ReadToEnd, ScriptedServer, Send

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from websockets.asyncio.client import ClientConnection

GOOD = (ReadMessage(), Send(sse(CREATED, DELTA, completed("resp_1"))), Again())
MCP = {"type": "mcp", "server_label": "shop", "server_url": "https://mcp.example"}
CODE = {"type": "code_interpreter", "container": {"type": "auto"}}
LOST = (ReadMessage(),)
LOST_BEHIND_ITS_HEAD = (ReadMessage(), Send(sse(CREATED, end=False)))
SILENT = (ReadMessage(), ReadToEnd())
BUSY = (
    ReadMessage(),
    Send(b"HTTP/1.1 503 Service Unavailable\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}"),
)
SAYS_NO = (
    ReadMessage(),
    Send(sse(b'event: error\ndata: {"type":"error","code":"server_error","message":"no","param":null}\n\n')),
)


@asynccontextmanager
async def two(
    *first: tuple[Any, ...], replaced: tuple[str, str] = ("", ""), extra: str = ""
) -> AsyncIterator[tuple[ScriptedServer, ScriptedServer, OneDataPlane, ClientConnection]]:
    """Run a target with a script for each connection, one beside it that answers, and edge with an open WebSocket."""
    async with (
        ScriptedServer(*first) as one,
        ScriptedServer(GOOD) as other,
        one_data_plane(patient(models(one.url, other.url, extra=extra)).replace(*replaced)) as plane,
        opened(plane) as socket,
    ):
        yield one, other, plane, socket


@pytest.mark.parametrize("script", [LOST, LOST_BEHIND_ITS_HEAD])
@pytest.mark.parametrize(
    "more",
    [{"store": True}, {"store": None}, {"tools": [MCP]}, {"tools": [CODE]}],
    ids=["stored", "default", "mcp", "code"],
)
async def test_a_turn_that_leaves_a_trace(script: tuple[Any, ...], more: dict[str, Any]) -> None:
    """It ends with an error that says so, nothing else is asked, and the connection takes the next turn."""
    async with two(script, GOOD) as (one, other, plane, socket):
        (error,) = await asked(socket, **more)
        assert (error["type"], error["status"], error["error"]["code"]) == ("error", 503, "turn_ambiguous")
        assert "send the turn again" in error["error"]["message"]
        assert error["error"]["headers"]["x-edge-request-id"]
        assert (len(bodies(one)), len(bodies(other))) == (1, 0)
        assert (await asked(socket))[-1]["type"] == "response.completed"
        await until(lambda: plane.data_plane.active == 0)


@pytest.mark.parametrize("script", [LOST, LOST_BEHIND_ITS_HEAD])
async def test_a_turn_that_leaves_none(script: tuple[Any, ...]) -> None:
    """Another target is asked."""
    async with two(script) as (one, other, _, socket):
        assert (await asked(socket))[-1]["type"] == "response.completed"
        assert (len(bodies(one)), len(bodies(other))) == (1, 1)


@pytest.mark.parametrize("script", [BUSY, SAYS_NO], ids=["status", "event"])
async def test_a_turn_that_is_refused(script: tuple[Any, ...]) -> None:
    """Another target is asked, whatever trace the turn would leave."""
    async with two(script) as (one, other, _, socket):
        assert (await asked(socket, store=True, tools=[MCP]))[-1]["type"] == "response.completed"
        assert (len(bodies(one)), len(bodies(other))) == (1, 1)


async def test_a_target_that_is_not_reached() -> None:
    """Another target is asked: nothing was sent."""
    async with ScriptedServer(GOOD) as other:
        async with one_data_plane(patient(models("http://127.0.0.1:1", other.url))) as plane, opened(plane) as socket:
            assert (await asked(socket, store=True))[-1]["type"] == "response.completed"


@pytest.mark.parametrize("keepalive", ["200ms", "10s"])
@pytest.mark.parametrize(
    "replaced", [("first_token: 20s", "first_token: 500ms"), ("first_byte: 20s", "first_byte: 500ms"), ("30s", "1s")]
)
async def test_a_target_that_says_nothing_in_time(replaced: tuple[str, str], keepalive: str) -> None:
    """The turn ends so too when a time is over, with Pings before or not; the target's connection is closed."""
    extra = f"limits: {{keepalive_comment: {keepalive}}}"
    async with two(SILENT, replaced=replaced, extra=extra) as (one, other, _, socket):
        (error,) = await asked(socket, store=True)
        assert (error["status"], error["error"]["code"]) == (503, "turn_ambiguous")
        assert (len(bodies(one)), len(bodies(other))) == (1, 0)
        await one.peers[0].wait_end()


async def test_a_kept_connection_that_ends() -> None:
    """A connection that has served and then ends takes a turn along that may have been read: no other is asked."""
    hold = asyncio.Event()
    script = (*GOOD[:2], ReadMessage(), Hold(hold))
    async with two(script, GOOD) as (one, other, _, socket):
        assert (await asked(socket))[-1]["type"] == "response.completed"
        await socket.send(json.dumps(turn(store=True)))
        await until(lambda: len(bodies(one)) == 2)
        hold.set()
        assert (await answered(socket))[-1]["error"]["code"] == "turn_ambiguous"
        assert (len(bodies(one)), len(bodies(other))) == (2, 0)
