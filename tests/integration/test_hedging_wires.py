"""hedge on the wire: a slow target costs little, the loser's connection ends at once, and nobody pays twice."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

import one_data_plane as one_data_plane_module
import pytest
from callers import ask, field, keys, status
from h2peer import Call, Upstream
from nodes import until
from one_data_plane import DONE, HELLO, ROLE, STOP, STREAM, OneDataPlane, one_data_plane, post, sse, verified, whole

from edge.native import AllowanceCounter, Cell, Outcome, RouteCounter
from edge.sim.wire import Again, Pause, ReadMessage, ReadToEnd, Reset, ScriptedServer, Send

if TYPE_CHECKING:
    from collections.abc import Sequence

    from secure import Secure

    from edge.sim.wire import Step

pytestmark = pytest.mark.usefixtures("both_wires")

USED = b'{"id":"a","choices":[{"message":{"content":"hello"}}],"usage":{"prompt_tokens":7,"completion_tokens":5}}'
WHOLE: Sequence[Step] = (ReadMessage(), Send(whole(USED)), Again())
EVENTS: Sequence[Step] = (ReadMessage(), Send(sse(ROLE, HELLO, STOP, DONE)), Again())
SILENT: Sequence[Step] = (ReadMessage(), ReadToEnd())
CANCEL = 8
ONLY_A_HEAD: Sequence[Step] = (ReadMessage(), Send(sse(ROLE, end=False)), ReadToEnd())


def text(*urls: str, hedge: str = "after: 200ms", more: str = "", tail: str = "") -> str:
    """Return a model over a provider per URL, all in one tier, the first one by far the heaviest."""
    providers = "\n".join(
        f"  p{n}: {{dialect: openai, base_url: '{url}/v1'{verified()}}}" for n, url in enumerate(urls)
    )
    targets = ", ".join(f"{{target: p{n}/m, weight: {0.001 if n else 1000}}}" for n in range(len(urls)))
    return f"""
providers:
{providers}
models:
  chat:
    targets: [{targets}]
    affinity: none
    hedge: {{{hedge}}}
{more}
telemetry: {{sample: 100%}}
{tail}"""


def hedges(data_plane: OneDataPlane) -> dict[str, int]:
    """Return the counters of hedges that are not 0."""
    slot = next(route.slot for route in data_plane.snapshot.routes if route.name == "chat")
    counts = data_plane.shared_state.read_route(slot)["counts"]
    found = {counter.name[9:]: counts[counter] for counter in RouteCounter if counter.name.startswith("R_HEDGES_")}
    return {name: count for name, count in found.items() if count}


@pytest.mark.parametrize(
    ("first", "second", "request_", "last"),
    [
        (SILENT, WHOLE, post(), b"}}"),
        (SILENT, EVENTS, post(STREAM), b"[DONE]\n\n"),
        (ONLY_A_HEAD, EVENTS, post(STREAM), b"[DONE]\n\n"),
    ],
    ids=["whole", "stream", "stream_with_a_head"],
)
async def test_the_loser_is_cancelled_at_once(
    first: Sequence[Step], second: Sequence[Step], request_: bytes, last: bytes
) -> None:
    """The second target answers after the delay; the first one's connection ends then, and its circuit is closed."""
    async with ScriptedServer(first) as slow, ScriptedServer(second) as quick:
        async with one_data_plane(text(slow.url, quick.url)) as data_plane:
            began = time.monotonic()
            answer = await data_plane.ask(request_, last)
            took = time.monotonic() - began
            await until(lambda: slow.peers[0].ended != "running", 5.0)
            assert (status(answer), field(answer, "x-edge-target"), field(answer, "x-edge-attempts")) == (
                200,
                "p1/m",
                "2",
            )
            assert answer.count(b"hello") == 1
            assert 0.2 <= took < 1.5
            ended_s = slow.peers[0].ended_s
            assert ended_s is not None
            assert ended_s - began <= took + 0.25
            record = (await data_plane.recorded(1))[0]
            assert sorted((each.target, each.outcome, each.hedge) for each in record.attempts) == [
                ("p0/m", "cancelled", False),
                ("p1/m", "ok", True),
            ]
            view = data_plane.target("p0/m")
            assert (view["state"], view["inflight"]) == ("closed", 0)
            assert sum(data_plane.outcomes("p0/m")) == data_plane.outcomes("p0/m")[Outcome.CANCELLED] == 1
            assert hedges(data_plane) == {"WON": 1}


async def test_the_first_wins_and_the_hedge_is_cancelled() -> None:
    """One answer reaches the client, of the first target, and the hedge's connection ends."""
    late: Sequence[Step] = (ReadMessage(), Pause(0.6), Send(sse(ROLE, HELLO, STOP, DONE)), Again())
    async with ScriptedServer(late) as slow, ScriptedServer(ONLY_A_HEAD) as other:
        async with one_data_plane(text(slow.url, other.url)) as data_plane:
            answer = await data_plane.ask(post(STREAM), b"[DONE]\n\n")
            await until(lambda: bool(other.peers) and other.peers[0].ended != "running", 5.0)
            assert (field(answer, "x-edge-target"), field(answer, "x-edge-attempts")) == ("p0/m", "2")
            assert field(answer, "x-edge-reason") is None
            assert answer.count(b"hello") == 1
            assert hedges(data_plane) == {"LOST": 1}


async def test_a_key_pays_for_one_answer() -> None:
    """The key is charged what the answer says; target and model are charged for what the loser has begun, too."""
    async with ScriptedServer(SILENT) as slow, ScriptedServer(WHOLE) as quick:
        configured = text(slow.url, quick.url, tail=keys(team="tokens_per_minute: 100000"))
        async with one_data_plane(configured) as data_plane:
            body = b'{"model":"chat","messages":[{"role":"user","content":"%s"}]}' % (b"word " * 200)
            answer = await data_plane.ask(ask("team", body), b"}}")
            assert field(answer, "x-edge-target") == "p1/m"
            allowance = data_plane.snapshot.keys[0].allowance
            assert allowance is not None

            def charged() -> Any:
                return data_plane.shared_state.read_allowance(allowance.slot)["counts"]

            await until(lambda: bool(charged()[AllowanceCounter.A_OUTPUT_TOKENS]), 5.0)
            counts = charged()
            assert counts[AllowanceCounter.A_PROMPT_TOKENS] == 7
            assert counts[AllowanceCounter.A_OUTPUT_TOKENS] == 5
            slot = next(route.slot for route in data_plane.snapshot.routes if route.name == "chat")
            of_model = data_plane.shared_state.read_route(slot)["counts"]
            assert of_model[RouteCounter.R_PROMPT_TOKENS] > 200
            record = (await data_plane.recorded(1))[0]
            assert (record.prompt_tokens, record.output_tokens) == (7, 5)


async def test_a_client_that_leaves_ends_both() -> None:
    """Both connections to targets end soon after the client's."""
    async with ScriptedServer(SILENT) as slow, ScriptedServer(SILENT) as other:
        async with one_data_plane(text(slow.url, other.url)) as data_plane:
            _, writer = await asyncio.open_connection("127.0.0.1", data_plane.port)
            writer.write(post())
            await until(lambda: bool(slow.peers and other.peers), 5.0)
            writer.close()
            await until(lambda: all(peer.ended != "running" for peer in (*slow.peers, *other.peers)), 5.0)
            assert (len(slow.peers), len(other.peers)) == (1, 1)
            assert hedges(data_plane) == {"UNANSWERED": 1}


async def test_the_measured_percentile_is_used() -> None:
    """After 100 quick answers a request is hedged after about their p95, and before it would be late."""
    async with ScriptedServer(SILENT) as slow, ScriptedServer(WHOLE) as quick:
        async with one_data_plane(text(slow.url, quick.url, hedge="")) as data_plane:
            data_plane.observe("p0/m", Cell.CELL_WHOLE, 100, 100)
            began = time.monotonic()
            answer = await data_plane.ask(post(), b"}}")
            assert field(answer, "x-edge-target") == "p1/m"
            assert 0.1 <= time.monotonic() - began < 1.5


async def test_a_burst_on_slow_targets_stays_within_the_budget() -> None:
    """A hundred requests to two slow targets make at most 100 x 1.05 + 10 attempts, and all are answered."""
    late: Sequence[Step] = (ReadMessage(), Pause(0.5), Send(whole(USED)), Again())
    async with ScriptedServer(late) as one, ScriptedServer(late) as other:
        async with one_data_plane(text(one.url, other.url, hedge="after: 50ms")) as data_plane:
            answers = await asyncio.gather(*(data_plane.ask(post(), b"}}", limit_s=60.0) for _ in range(100)))
            assert all(status(answer) == 200 for answer in answers)
            await until(lambda: data_plane.target("p0/m")["inflight"] + data_plane.target("p1/m")["inflight"] == 0, 5.0)
            attempts = sum(sum(data_plane.outcomes(name)) for name in ("p0/m", "p1/m"))
            found = hedges(data_plane)
            assert 100 < attempts <= 115
            assert found.get("WON", 0) + found.get("LOST", 0) == attempts - 100
            assert found["NO_BUDGET"] > 0


async def test_a_loser_over_http2_is_reset(secure: Secure, monkeypatch: pytest.MonkeyPatch) -> None:
    """Over HTTP/2 to the targets the loser gets RST_STREAM with CANCEL at once, and its connection stays open."""
    monkeypatch.setattr(one_data_plane_module, "SECURE", secure)

    async def silent(call: Call) -> None:
        await call.body()
        await call.until_reset()

    async def quick(call: Call) -> None:
        await call.body()
        await call.head(200, ("content-type", "application/json"))
        await call.data(USED, end=True)

    async with (
        Upstream(silent, tls=secure.upstream("h2")) as slow,
        Upstream(quick, tls=secure.upstream("h2")) as other,
    ):
        configured = text(f"https://localhost:{slow.port}", f"https://localhost:{other.port}")
        async with one_data_plane(configured) as data_plane:
            answer = await data_plane.ask(post(), b"}}")
            assert (field(answer, "x-edge-target"), field(answer, "x-edge-attempts")) == ("p1/m", "2")
            assert await slow.calls[0].until_reset(2.0) == CANCEL
            assert not slow.wires[0].closed


ANSWERED_ONCE: Sequence[Step] = (ReadMessage(), Send(whole(USED)), ReadMessage(), Reset())


async def test_a_hedge_that_meets_a_dead_connection_gets_a_new_one() -> None:
    """The idle connection of the second target dies under the hedge: it is made again there, and answers."""
    async with ScriptedServer(SILENT) as slow, ScriptedServer(ANSWERED_ONCE, WHOLE) as quick:
        async with one_data_plane(text(slow.url, quick.url, hedge="after: 200ms, budget: 1%")) as data_plane:
            warm = await data_plane.ask(post(b'{"model":"p1/m","messages":[]}'), b"}}")
            assert field(warm, "x-edge-target") == "p1/m"
            answer = await data_plane.ask(post(), b"}}")
            assert (status(answer), field(answer, "x-edge-target")) == (200, "p1/m")
            assert field(answer, "x-edge-attempts") == "2"
            assert [len(peer.messages) for peer in quick.peers] == [2, 1]
            assert hedges(data_plane) == {"WON": 1}
            record = (await data_plane.recorded(2))[1]
            assert max((each.target, each.outcome, each.hedge) for each in record.attempts) == (
                "p1/m",
                "ok",
                True,
            )
            assert data_plane.target("p1/m")["state"] == "closed"
            assert data_plane.outcomes("p1/m")[Outcome.FAIL_RESET] == 0


async def test_a_key_pays_for_one_of_two_that_the_deadline_ends() -> None:
    """Two targets have counted the prompt and say no more: the caller pays for one, as without a hedge."""
    counted = (
        b'data: {"choices":[{"index":0,"delta":{"role":"assistant"}}],'
        b'"usage":{"prompt_tokens":7,"completion_tokens":1}}\n\n'
    )
    silent = (ReadMessage(), Send(sse(counted, end=False)), ReadToEnd())
    for hedge in ("after: 200ms", "after: 60s"):
        async with ScriptedServer(silent) as slow, ScriptedServer(silent) as other:
            configured = text(
                slow.url,
                other.url,
                hedge=hedge,
                more="    timeouts: {first_byte: 30s, first_token: 30s, total: 900ms}\n    retry: {attempts: 1}",
                tail=keys(team="tokens_per_minute: 100000"),
            )
            async with one_data_plane(configured) as data_plane:
                answer = await data_plane.ask(ask("team", STREAM), b"}")
                assert status(answer) in {502, 503, 504}, answer
                assert len(other.peers) == (hedge == "after: 200ms")
                record = (await data_plane.recorded(1))[0]
                allowance = data_plane.snapshot.keys[0].allowance
                assert allowance is not None
                counts = data_plane.shared_state.read_allowance(allowance.slot)["counts"]
                assert (record.prompt_tokens, counts[AllowanceCounter.A_PROMPT_TOKENS]) == (7, 7), hedge
