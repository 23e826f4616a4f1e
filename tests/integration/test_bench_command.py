"""``edge bench`` counts what it sent, asks nobody who charges without the word, and stops where it must."""

from __future__ import annotations

import asyncio
import json
import re
from typing import TYPE_CHECKING, Any

import pytest
from aiohttp import web
from nodes import KEY, RunningNode, chat_config, edge

from edge.cli import bench_client
from edge.cli.bench import rows
from edge.cli.bench_client import DIRECT, OWN, THROUGH, Plan, measure
from edge.cli.bench_page import html
from edge.cli.main import main
from edge.sim.asked import Pace
from edge.sim.faults import Fault
from edge.sim.provider import ProviderSpec, SimProvider

if TYPE_CHECKING:
    from pathlib import Path

    from edge.cli.bench_client import Bench, Way

PACED = Pace(ttft_s=0.06, tps=200, tokens=8)


def plan(url: str, **given: Any) -> Plan:
    """Return a small plan."""
    facts = {"direct": "", "direct_key": KEY, "direct_model": "sim-small", "requests": 6, "seconds": 30.0, "tokens": 8}
    return Plan(**{"url": url, "key": "", "model": "chat", "paid": True, **facts, **given})


def named(found: Bench) -> dict[str, Way]:
    """Return the ways by name."""
    return {way.name: way for way in found.ways}


def asked(provider: SimProvider) -> int:
    """Return how many requests a provider has received."""
    return int(provider.stats()["requests"])


async def test_both_ways_are_timed_and_counted(tmp_path: Path) -> None:
    """Every request is counted once on each side; the first token is the provider's, and chunks come singly."""
    async with SimProvider(ProviderSpec(name="p0", pace=PACED, key=KEY)) as provider:
        async with RunningNode(tmp_path, chat_config(provider.url)) as node:
            found = await measure(plan(node.url, direct=f"{provider.url}/v1"))
            ways = named(found)
            assert list(ways) == [OWN, THROUGH, DIRECT]
            for way in found.ways:
                assert (way.asked, way.answered, way.failures) == (6, 6, {})
            assert asked(provider) == 12
            for name in (THROUGH, DIRECT):
                way = ways[name]
                assert min(way.first_s) >= PACED.ttft_s
                assert way.chunks == 6 * PACED.tokens
                assert len(way.gap_s) == way.chunks - 6
                assert way.output == 6 * PACED.tokens
            assert ways[THROUGH].targets == {"p0/sim-small": 6}
            assert max(ways[OWN].whole_s) < min(ways[DIRECT].whole_s)
            assert found.added_s is not None
            assert any("Edge adds to the first token" in note for note in found.notes)
            text = html(found)
            assert text.count("<svg") == 3
            assert re.findall(r"https?://|<script|<link|src=", text) == []
            assert dict(rows(found.ways))["answered"] == ["6 of 6"] * 3
            printed = await asyncio.to_thread(edge, "bench", "--url", node.url, "--requests", "3", "--json")
            only = json.loads(printed.stdout)["ways"]
            assert [(way["name"], way["answered"]) for way in only] == [(OWN, 3)]
            assert asked(provider) == 12  # without --paid no model is asked
            printed = await asyncio.to_thread(edge, "bench", "--url", node.url, "--requests", "3")
            assert "No model was asked" in printed.stdout


def test_a_provider_is_not_asked_without_the_word(capsys: pytest.CaptureFixture[str]) -> None:
    """``--direct`` alone is refused with what it would cost, and nothing is sent; bounds are bounds."""
    assert main(["bench", "--direct", "http://127.0.0.1:1/v1"]) == 1
    said = capsys.readouterr().err
    assert "up to 20 requests" in said
    assert "--paid" in said
    for option, value in (("--requests", "201"), ("--seconds", "601"), ("--tokens", "0"), ("--requests", "x")):
        with pytest.raises(SystemExit):
            main(["bench", option, value])
        assert "is not a whole number from 1 to" in capsys.readouterr().err
    for url in ("ftp://a", "http://u:p@a", "http://a?key=x", "http://", "http://a:x"):
        assert main(["bench", "--url", url]) == 1
        said = capsys.readouterr().err
        assert "is not an http or https address" in said
        assert "u:p" not in said
    assert main(["bench", "--key", "a\nb"]) == 1


async def test_failures_are_named_and_end_it(tmp_path: Path) -> None:
    """A way that fails three times in a row is asked no more, and its words are shown; the other way goes on."""
    async with SimProvider(ProviderSpec(name="p0", pace=PACED, key=KEY)) as provider:
        async with RunningNode(tmp_path, chat_config(provider.url)) as node:
            found = await measure(plan(node.url, direct=f"{provider.url}/v1", direct_key="wrong"))
            ways = named(found)
            assert (ways[THROUGH].answered, ways[DIRECT].asked, ways[DIRECT].answered) == (6, 3, 0)
            assert [why.startswith("status 401") for why in ways[DIRECT].failures] == [True]
            assert f"{DIRECT}: given up after 3 failures in a row." in found.notes
            assert "too few" in " ".join(found.notes)
            await provider.switch(Fault(kind="blackhole"))
            found = await measure(plan(node.url, seconds=1.0))
            assert named(found)[THROUGH].asked == 1
            assert found.seconds < 10
            assert "It ended after the 1 s that --seconds allows." in found.notes
    gone = named(await measure(plan(node.url)))
    assert (gone[OWN].asked, gone[OWN].answered) == (3, 0)
    assert list(gone[OWN].failures) == ["ClientConnectorError"]


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (b'data: {"choices": [{"delta": {"content": "a"}}]}\n\n', "the stream ended before its end"),
        (b"data: [DONE]\n\n", "the stream ended before its end"),
        (b"data: [1]\n\n", "an event that is none of a chat completion"),
        (b'data: {"choices": 7}\n\n', "an event that is none of a chat completion"),
        (b"data: {\n\n", "an event that is none of a chat completion"),
        (b'data: {"error": {"message": "x"}}\n\n', "an error within the stream"),
    ],
)
async def test_a_stream_that_is_none_is_no_good_answer(body: bytes, why: str) -> None:
    """Broken, empty and foreign streams are failures by name, never figures."""

    async def answer(_request: web.Request) -> web.StreamResponse:
        return web.Response(body=body, content_type="text/event-stream")

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        found = named(await measure(plan(f"http://127.0.0.1:{runner.addresses[0][1]}", requests=1)))[THROUGH]
        assert (found.answered, found.first_s, found.failures) == (0, [], {why: 1})
    finally:
        await runner.cleanup()
    assert bench_client.MOST_IN_A_ROW == 3
