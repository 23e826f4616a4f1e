"""Symptoms that users of gateways report of HTTP/2, gRPC and SDK clients, each with the behaviour that is right."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from h2peer import Call, FrameClient, Upstream, lower, request
from one_data_plane import OneDataPlane, one_data_plane
from soon import until

from edge import clock
from edge.native import Outcome

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

CANCEL = 8
GRPC = (("content-type", "application/grpc"), ("te", "trailers"))
MESSAGE = b"\0\0\0\0\2hi"
DEADLINE_EXCEEDED = "4"
EARLY_S = 0.018
"""What a compiled server is quicker than one in Python, and than the tick of edge's alarms."""


def grpc_service(address: str, extra: str = "") -> str:
    """Return configuration text: one gRPC service at this address."""
    return f"services: {{g: {{match: {{grpc: a.B}}, targets: ['{address}']{extra}}}}}"


def call(timeout: str) -> list[tuple[str, str]]:
    """Return the fields of a gRPC call with this grpc-timeout."""
    return request("POST", "/a.B/C", "edge", *GRPC, ("grpc-timeout", timeout))


def grpc_status(client: FrameClient, stream: int) -> str:
    """Return the grpc-status of an answer, from its head or its trailers; empty = it has none."""
    return next(
        (fields["grpc-status"] for fields in map(lower, client.fields.get(stream, [])) if "grpc-status" in fields), ""
    )


# --- a passed deadline is nobody's fault


async def sleepy(call: Call) -> None:
    """Do what grpc-go and grpc-java do at a call's deadline: reset the stream with CANCEL, before edge's alarm."""
    timeout = call.field("grpc-timeout") or ""
    await clock.sleep(int(timeout[:-1]) * {"n": 1e-9, "u": 1e-6, "m": 1e-3}[timeout[-1]] - EARLY_S)
    await call.reset(CANCEL)


async def sleepy_in_its_answer(call: Call) -> None:
    """Send a message, and reset the stream at the call's deadline."""
    await call.head(200, ("content-type", "application/grpc"))
    await call.data(MESSAGE)
    await sleepy(call)


@pytest.mark.parametrize("answer", [sleepy, sleepy_in_its_answer])
@pytest.mark.parametrize("open_request", [False, True], ids=["request ended", "request open"])
async def test_a_passed_grpc_timeout_is_deadline_exceeded(
    answer: Callable[[Call], Awaitable[None]], *, open_request: bool
) -> None:
    """Whether edge or the server ends a call at its deadline: DEADLINE_EXCEEDED, and no circuit opens."""
    async with Upstream(answer) as upstream, one_data_plane(grpc_service(upstream.address)) as data_plane:
        async with FrameClient.connect(data_plane.port) as client:
            streams = range(1, 41, 2)
            for stream in streams:
                client.send(client.headers(stream, call("1000m")))
                client.data(stream, MESSAGE, *([] if open_request else ["END_STREAM"]))
            for stream in streams:
                await client.answer(stream)
            assert {grpc_status(client, stream) for stream in streams} == {DEADLINE_EXCEEDED}
        await blames_nobody(data_plane, upstream)


async def blames_nobody(data_plane: OneDataPlane, upstream: Upstream) -> None:
    """Assert that the target is in use, and that no outcome counts against it."""
    await until(lambda: data_plane.data_plane.active == 0)
    target = data_plane.target(f"g/{upstream.address}")
    assert (target["state"], target["opens"], target["window"][1:]) == ("closed", 0, (0, 0))
    outcomes = data_plane.outcomes(f"g/{upstream.address}")
    allowed = (Outcome.OK, Outcome.DEADLINE, Outcome.CANCELLED)
    assert sum(outcomes) == sum(outcomes[outcome] for outcome in allowed)


async def test_a_slow_method_beside_a_quick_one_opens_no_circuit() -> None:
    """A service whose other methods answer at once is not slow because callers of one method give up early."""

    async def answer(call: Call) -> None:
        if call.field(":path") == "/a.B/Wait":
            await call.until_reset()
            return
        await call.body()
        await call.head(200, ("content-type", "application/grpc"))
        await call.data(MESSAGE)
        await call.end(("grpc-status", "0"))

    async with Upstream(answer) as upstream, one_data_plane(grpc_service(upstream.address)) as data_plane:
        async with FrameClient.connect(data_plane.port) as client:
            for turn in range(20):
                client.send(client.headers(4 * turn + 1, call("5S")))
                client.data(4 * turn + 1, MESSAGE, "END_STREAM")
                waiting = request("POST", "/a.B/Wait", "edge", *GRPC, ("grpc-timeout", "60m"))
                client.send(client.headers(4 * turn + 3, waiting))
                client.data(4 * turn + 3, MESSAGE, "END_STREAM")
                await client.answer(4 * turn + 1)
                await client.answer(4 * turn + 3)
                assert (grpc_status(client, 4 * turn + 1), grpc_status(client, 4 * turn + 3)) == (
                    "0",
                    DEADLINE_EXCEEDED,
                )
        await blames_nobody(data_plane, upstream)
