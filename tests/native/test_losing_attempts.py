"""What becomes of attempts that another one has outrun: late ones that run on, and hedged ones."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest
from conversing import CHAT, Talk, text_of
from test_hedging import ASK, TARGETS, Hedging, field, seconds_of, target_of

from edge.native import TargetCounter, set_virtual

if TYPE_CHECKING:
    from collections.abc import Iterator

    from edge.native import Call, VirtualConnection

KEY = "sk-losing-attempts"
STREAM = {**ASK, "stream": True}


@pytest.fixture(autouse=True)
def real_time_again() -> Iterator[None]:
    """Give each later test the real clocks."""
    yield
    set_virtual(0)


class Streaming(Hedging):
    """``b`` streams; ``a`` refuses stream_options. Keys have a limit of tokens, so that edge asks for usage."""

    def __init__(self, **given: Any) -> None:
        digest = hashlib.sha256(KEY.encode()).hexdigest()
        keys = f"keys: [{{name: team, sha256: {digest}, tokens_per_minute: 1000000}}]\n"
        super().__init__("", more=keys, **given)
        self.asked_of: Counter[str] = Counter()

    def asked(self, connection: VirtualConnection) -> None:
        """Count requests by target."""
        self.asked_of[connection.target.partition("/")[0]] += 1
        super().asked(connection)

    def _answer(self, connection: VirtualConnection) -> None:
        if connection.target.startswith("a/"):
            body = b'{"error": {"message": "Unknown parameter: stream_options"}}'
            connection.answer(400, [(b"content-length", b"%d" % len(body)), (b"content-type", b"application/json")])
            connection.send(body)
        else:
            chunk = {"id": "1", "choices": [{"index": 0, "delta": {"content": "Hi"}, "finish_reason": None}]}
            body = b"data: " + json.dumps(chunk).encode() + b"\n\ndata: [DONE]\n\n"
            connection.answer(200, [(b"content-length", b"%d" % len(body)), (b"content-type", b"text/event-stream")])
            connection.send(body)
        connection.finish()

    def ask_with_key(self, body: dict[str, Any]) -> Call:
        """Let a caller with a key ask now."""
        content = json.dumps(body).encode()
        fields = [
            (b"host", b"localhost"),
            (b"authorization", b"Bearer " + KEY.encode()),
            (b"content-type", b"application/json"),
            (b"content-length", b"%d" % len(content)),
        ]
        self._number += 1
        return self.wires[0].call(CHAT.encode(), fields, content, self._number)


class Refusing(Hedging):
    """``a`` answers 503, and ``b`` 400."""

    def _refuse(self, connection: VirtualConnection) -> None:
        self.refusal = (503 if connection.target.startswith("a/") else 400, 0, 0.5)
        super()._refuse(connection)


def test_an_attempt_that_runs_on_is_not_asked_once_more() -> None:
    """A late loser that refuses stream_options has no request left to be asked with: its refusal is its end."""
    world = Streaming(seconds=seconds_of(a=14.0, b=0.2, c=0.2))
    call = world.ask_with_key(STREAM)
    world.run(12)
    assert (call.status, target_of(call)) == (200, "b")
    assert bytes(world.bodies[0][1]).count(b"stream_options") == 1
    world.run(10)
    assert world.asked_of == {"a": 1, "b": 1}
    assert world.ask_with_key(STREAM).status == 0  # the worker serves on
    world.run(12)


def test_a_dead_target_is_found_out_however_large_the_budget_is() -> None:
    """Where every request may be hedged, none is ever late: from time to time a loser runs on to its deadline."""
    silent = {"now": False}
    world = Hedging(
        "after: p95, budget: 100%",
        seconds=lambda name, _body: 500.0 if silent["now"] and name == "a" else 0.1,
    )
    for _ in range(120):
        world.say(ASK)
    silent["now"] = True
    for _ in range(90):
        world.ask(ASK)
        world.run(1)
        if world.circuit("a") == "open":
            break
    assert world.circuit("a") == "open"
    assert world.say(ASK) == "b"


def test_a_slow_target_that_answers_keeps_its_circuit() -> None:
    """Losers that run on get their answers: a target that is merely slower than usual is blamed for nothing."""
    slow = {"now": False}
    world = Hedging(
        "after: 300ms, budget: 100%",
        seconds=lambda name, _body: 1.5 if slow["now"] and name == "a" else 0.1,
    )
    for _ in range(120):
        world.say(ASK)
    slow["now"] = True
    for _ in range(60):
        call = world.ask(ASK)
        world.run(2)
        assert (call.status, target_of(call)) in {(200, "b"), (200, "a")}
    assert 45 <= len([name for name, _ in world.left_at if name == "a"]) <= 55  # one in six runs on
    assert world.circuit("a") == "closed"
    assert world.counts("a")[TargetCounter.T_SLOW] == 0
    assert world.state.read_target(0, world.now_ns)["inflight"] == 0


@pytest.mark.parametrize(
    "more",
    [
        {"tools": [{"type": "mcp", "server_url": "https://example.com/mcp", "require_approval": "never"}]},
        {"mcp_servers": [{"type": "url", "url": "https://example.com/mcp", "name": "x"}]},
    ],
)
def test_what_acts_elsewhere_is_asked_once(more: dict[str, Any]) -> None:
    """A provider calls tools of MCP servers itself, and what they do would be done twice."""
    world = Hedging(seconds=seconds_of(a=1.0, b=0.1, c=0.1))
    call = world.ask({**ASK, **more})
    world.run(3)
    assert (call.status, target_of(call), field(call, b"x-edge-attempts")) == (200, "a", "1")
    assert world.hedges() == {}


def test_places_of_both_are_free_again() -> None:
    """However an exchange with a hedge ends, no target has a request in flight afterwards."""
    times = {"a": 1.0, "b": 0.1, "c": 0.1}
    world = Hedging("after: 300ms, budget: 100%", seconds=lambda name, _body: times[name])
    for a, b, down, stay in [
        (1.0, 0.1, set(), 3.0),
        (0.4, 3.0, set(), 4.0),
        (0.4, 0.1, set(), 1.0),  # in one turn
        (2.0, 2.0, {"b"}, 4.0),
        (2.0, 2.0, {"a"}, 4.0),
        (2.0, 2.0, {"a", "b"}, 4.0),
        (200.0, 200.0, set(), 100.0),  # to the deadline
        (9.0, 9.0, set(), 0.5),  # the client leaves
    ]:
        times.update(a=a, b=b)
        world.down = set(down)
        call = world.ask(ASK)
        world.run(stay)
        if not call.ended_ns:
            call.leave()
        world.run(0.1)
    world.run(100)
    slots = [target.slot for target in world.snapshot.targets]
    assert [world.state.read_target(slot, world.now_ns)["inflight"] for slot in slots] == [0] * len(slots)
    assert world.hedges() == {"WON": 1, "LOST": 4, "UNANSWERED": 1, "NO_TARGET": 1}


def test_a_refusal_of_the_hedge_is_the_answer_once_the_first_has_failed() -> None:
    """A hedge that gets 400 after the first attempt has failed answers the client with it."""
    world = Refusing(seconds=seconds_of(a=2.0, b=2.0, c=0.1))
    world.down = {"a", "b"}
    world.refusal = (0, 0, 0.5)
    call = world.ask(ASK)
    world.run(3)
    assert (call.status, [name for name, _ in world.asked_at]) == (400, ["a", "b"])
    assert world.hedges() == {"WON": 1}


def test_a_conversation_stays_where_its_prompt_is() -> None:
    """A hedge answers one turn of a conversation; the next one goes to the target that had the earlier ones."""
    times = {"a": 0.1, "b": 0.1, "c": 0.1}
    world = Hedging(seconds=lambda name, _body: times[name])
    world.reload(text_of(TARGETS, affinity="auto", extra="    hedge: {after: 300ms, budget: 5%}\n"))
    talk = Talk(world, "one")
    said = [talk.turn()]
    said.append(talk.turn())
    times["a"] = 3.0
    said.append(talk.turn())
    times["a"] = 0.1
    said.append(talk.turn())
    assert said == ["a", "a", "b", "a"]
