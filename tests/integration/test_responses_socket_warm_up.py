"""A turn that generates nothing asks no target, and is authenticated as each turn is."""

from __future__ import annotations

import json

from callers import clear, keys, status
from one_data_plane import models, one_data_plane
from test_responses_socket_wire import NOWHERE, told, upgrade
from turns import asked, opened


async def test_whose_it_is() -> None:
    """A key may warm up what it may use, as long as it is one."""
    text = models(NOWHERE, extra="  other: {targets: [p0/m]}")
    async with (
        one_data_plane(text + keys(alice="", bob="models: [other]")) as plane,
        opened(plane, "alice") as socket,
        opened(plane, "bob") as other,
    ):
        assert (await asked(socket, generate=False))[-1]["type"] == "response.completed"
        (refused,) = await asked(other, generate=False)
        assert (refused["status"], refused["error"]["code"]) == (403, "model_not_allowed")
        for model, code in (("nothing", "model_not_found"), ("x" * 100_000, "model_too_long")):
            (refused,) = await asked(socket, generate=False, model=model)
            assert refused["error"]["code"] == code
            assert len(json.dumps(refused)) < 2000
        await plane.swap(text + keys(carol=""))
        (refused,) = await asked(socket, generate=False)
        assert (refused["status"], refused["error"]["code"]) == (401, "invalid_api_key")
        assert clear("alice") not in json.dumps(refused)


async def test_a_key_among_the_subprotocols() -> None:
    """A key that a page writes there is not read, and nothing repeats it."""
    fields = b"sec-websocket-protocol: realtime, openai-insecure-api-key." + clear("alice").encode() + b"\r\n"
    async with one_data_plane(models(NOWHERE) + keys(alice="")) as plane:
        answer = await plane.ask(upgrade(fields), b"}}")
        assert (status(answer), told(answer)) == (401, "missing_api_key")
        assert clear("alice").encode() not in answer
