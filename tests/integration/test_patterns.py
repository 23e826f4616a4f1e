"""An alias that is a pattern answers every name that fits, with the client's name where a target leaves it open."""

from __future__ import annotations

import asyncio
import contextlib
import json

import pytest
from callers import ask, field, keys, status
from loopback import LoopbackServer
from one_data_plane import one_data_plane, post, verified, whole

from edge.sim.wire import Again, ReadMessage, ScriptedServer, Send

pytestmark = pytest.mark.usefixtures("both_wires")


def config(first: str, second: str) -> str:
    """Return a configuration with an exact alias, a long pattern and a short one."""
    return f"""
providers:
  one: {{dialect: openai, base_url: '{first}/v1'{verified()}}}
  two: {{dialect: openai, base_url: '{second}/v1'{verified()}}}
models:
  "gpt-*": {{targets: ["one/*", {{target: "two/*", tier: 2}}]}}
  "gpt-4*": {{targets: [two/fixed]}}
  gpt-exact: {{targets: [two/exact]}}
"""


GOOD = (ReadMessage(), Send(whole()), Again())
BAD = (ReadMessage(), Send(whole(b"{}", b"500 No")), Again())


class Echo(LoopbackServer):
    """Answers each request with the model that it names."""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError), contextlib.closing(writer):
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                size = int(head.lower().split(b"content-length:")[1].split(b"\r\n")[0])
                model = json.loads(await reader.readexactly(size))["model"]
                writer.write(whole(b'{"choices":[{"message":{"content":"%s"}}]}' % model.encode()))


@pytest.mark.parametrize(
    ("model", "target"),
    [
        ("gpt-5", "one/*"),
        ("gpt-", None),
        ("gpt-4", "one/*"),
        ("gpt-41", "two/fixed"),
        ("gpt-exact", "two/exact"),
        ("GPT-5", None),
        ("xgpt-5", None),
    ],
)
async def test_the_most_exact_name_wins(model: str, target: str | None) -> None:
    """An alias wins over a pattern, and a longer pattern over a shorter one; the star stands for at least a letter."""
    async with ScriptedServer(GOOD) as one, ScriptedServer(GOOD) as two:
        async with one_data_plane(config(one.url, two.url)) as data_plane:
            answer = await data_plane.ask(post(json.dumps({"model": model}).encode()), b"}}")
            assert field(answer, "x-edge-target") == target
            assert status(answer) == (404 if target is None else 200)


async def test_failover_keeps_the_name() -> None:
    """Every target that leaves the model open is asked for the client's."""
    async with ScriptedServer(BAD) as one, Echo() as two:
        async with one_data_plane(config(one.url, two.url)) as data_plane:
            answer = await data_plane.ask(post(b'{"model":"gpt-5-mini"}'), b"}}")
            assert b'"content":"gpt-5-mini"' in answer
            assert field(answer, "x-edge-target") == "two/*"


async def test_a_key_may_use_a_pattern_but_not_the_alias_within_it() -> None:
    """What a key is allowed is the pattern, so that an alias of another name under it stays closed."""
    rows = keys(a='models: ["gpt-*"]', b="models: [gpt-exact]")
    async with ScriptedServer(GOOD) as one, ScriptedServer(GOOD) as two:
        async with one_data_plane(config(one.url, two.url) + rows) as data_plane:
            seen = {
                (name, model): status(await data_plane.ask(ask(name, json.dumps({"model": model}).encode()), b"}}"))
                for name in ("a", "b")
                for model in ("gpt-5", "gpt-exact")
            }
    assert seen == {("a", "gpt-5"): 200, ("a", "gpt-exact"): 403, ("b", "gpt-5"): 403, ("b", "gpt-exact"): 200}
