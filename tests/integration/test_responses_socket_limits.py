"""What a WebSocket of Responses says is bounded, also where each message of the client is answered by an error."""

from __future__ import annotations

import asyncio
import json

import pytest
from one_data_plane import models, one_data_plane, patient, sse
from soon import until
from test_responses_socket_readers import LONG, MIB, deaf, held
from test_responses_socket_wire import NOWHERE
from turns import CREATED, answered, completed, opened, turn

from edge import clock
from edge.sim.wire import Again, ReadMessage, ScriptedServer, Send
from tests.reference.websocket import masked


@pytest.mark.parametrize("message", [b"{}", b'{"type":"response.create","model":"nothing"}'], ids=["none", "refused"])
async def test_a_flood_of_messages_that_get_errors(message: bytes) -> None:
    """Errors that are not read make edge read no further, so that they do not pile up."""
    frame = masked(1, message)
    async with one_data_plane(models(NOWHERE, extra="limits: {client_idle: 2s}")) as plane:
        with deaf(plane) as client:
            frames = frame * 4000
            most = sent = 0
            async with asyncio.timeout(60):
                await until(lambda: plane.data_plane.connections == 1)
                while plane.data_plane.connections and sent < 32 * MIB:
                    try:
                        sent += client.send(frames[sent % len(frame) :])
                    except BlockingIOError:
                        await clock.sleep(0.002)
                    except OSError:
                        break
                    most = max(most, held(plane))
            assert most < 2 * MIB
        await until(lambda: plane.data_plane.connections == 0 and held(plane) == 0)


async def test_messages_behind_an_answer_that_is_not_read() -> None:
    """They are taken once the client reads, in their order, and a fault behind them ends the connection then."""
    answer = (ReadMessage(), Send(sse(CREATED, *[LONG] * 200, completed("resp_1"))), Again())
    async with (
        ScriptedServer(answer) as upstream,
        one_data_plane(patient(models(upstream.url))) as plane,
        opened(plane, max_queue=1) as socket,
    ):
        await socket.send(json.dumps(turn()))
        await until(lambda: held(plane) > 100_000)  # nothing is read here
        for model in ("one", "two"):
            await socket.send(json.dumps(turn(stream_id="other", model=model)))
        await socket.send(b"binary")
        codes: list[tuple[str, str]] = []
        while len(codes) < 2:
            message = (await answered(socket))[-1]
            if message["type"] == "error":
                codes.append((message["stream_id"], message["error"]["message"].split("'")[1]))
        assert codes == [("other", "one"), ("other", "two")]
        await asyncio.wait_for(socket.wait_closed(), 20)
        assert socket.close_code == 1003
