"""The virtual wire: real exchanges between a modelled client and modelled upstreams, at virtual times."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from edge.config.load import read_text
from edge.control.compose import checked, compile_config
from edge.listen import reply
from edge.listen.local import Local
from edge.native import Call, DataPlane, Hooks, Router, SharedState, VirtualConnection, VirtualWire, set_virtual
from edge.providers.retry_after import retry_after_seconds
from edge.routing.planner import allowance_capacity, capacities
from edge.routing.table import model_document, models_document
from native.io import clock

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from native.http.connection_pool import ConnectionPool

S = 1_000_000_000
BEGIN = 5_000_000 * S
WALL = 1_774_791_614 * S  # 2026-03-29 13:40:14 UTC
TEXT = """
providers:
  one: {base_url: "http://127.0.0.1:9/v1"}
  two: {base_url: "http://127.0.0.1:9/v1"}
models:
  chat:
    targets: [one/small, {target: two/big, tier: 2}]
    timeouts: {first_token: 4s, first_byte: 4s, total: 20s}
"""
BODY = b'{"model":"chat","messages":[{"role":"user","content":"Hello"}]}'
ANSWER = (
    b'{"id":"1","object":"chat.completion","created":1,"model":"small","choices":[{"index":0,"message":'
    b'{"role":"assistant","content":"Hi"},"finish_reason":"stop"}],"usage":{"prompt_tokens":1,"completion_tokens":1}}'
)


class Outside:
    """Clients and upstreams: connections open at once, and ``answers`` says what a target does with a request."""

    def __init__(self, answers: Callable[[VirtualConnection], None]) -> None:
        self.answers = answers
        self.due: list[tuple[int, Callable[[], None]]] = []
        self.seen: list[tuple[str, float]] = []  # (what, seconds since BEGIN)
        self.ends: list[Call] = []
        snapshot = compile_config(checked(read_text(TEXT, "test.yaml", environ={})), now=WALL / S)
        set_virtual(BEGIN, WALL - BEGIN)
        targets, routes = capacities(snapshot)
        state = SharedState.create(targets, routes, 1, BEGIN, allowance_capacity(snapshot))
        local = Local(models_document, model_document, lambda: None).answer
        hooks = Hooks(replies=reply, local=local, retry_hint=retry_after_seconds)
        plane = DataPlane(state, 0, Router(snapshot, state, 1), opener=self, hooks=hooks)
        self.wire = VirtualWire(plane, self, snapshot.listeners[0], BEGIN, WALL, 1)

    def after(self, seconds: float, act: Callable[[], None]) -> None:
        self.due.append((self.wire.now_ns + int(seconds * S), act))

    def open(self, pool: ConnectionPool) -> None:
        self.after(0, lambda: self.wire.connected(pool))

    def asked(self, connection: VirtualConnection) -> None:
        self.seen.append((connection.target, self.at_s))
        self.answers(connection)

    def left(self, connection: VirtualConnection) -> None:
        self.seen.append((f"left {connection.target}", self.at_s))

    def ended(self, call: Call) -> None:
        self.ends.append(call)

    @property
    def at_s(self) -> float:
        return round((self.wire.now_ns - BEGIN) / S, 2)

    def good(self, connection: VirtualConnection) -> None:
        """Answer well."""
        connection.answer(200, [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(ANSWER))])
        connection.send(ANSWER)
        connection.finish()

    def ask(self) -> Call:
        length = b"%d" % len(BODY)
        fields = [(b"host", b"localhost"), (b"content-type", b"application/json"), (b"content-length", length)]
        return self.wire.call(b"/v1/chat/completions", fields, BODY, 7)

    def run(self, seconds: float) -> None:
        """Let so much time pass."""
        until = self.wire.now_ns + int(seconds * S)
        while True:
            due = min((at for at, _ in self.due), default=until)
            if not self.wire.advance(min(due, until)):
                continue
            if due > until or not self.due:
                return
            place = [at for at, _ in self.due].index(due)
            self.due.pop(place)[1]()


@pytest.fixture(autouse=True)
def real_time_again() -> Iterator[None]:
    """Give each later test the real clocks."""
    yield
    set_virtual(0)


def test_the_clocks_are_virtual_until_they_are_real_again() -> None:
    """A set clock stands still at the given times; zero gives the real clocks back."""
    before, _ = clock.now()
    set_virtual(BEGIN, WALL - BEGIN)
    assert clock.now() == (BEGIN, WALL)
    set_virtual(0)
    after, wall = clock.now()
    assert before <= after < before + 60 * S
    assert wall > WALL


def test_an_answer_comes_at_the_time_of_the_model() -> None:
    """The client gets the upstream's answer when the model gives it, and its head names the target."""
    outside = Outside(lambda connection: outside.after(3.25, lambda: outside.good(connection)))
    call = outside.ask()
    outside.run(3.2)
    assert (call.status, outside.ends) == (0, [])
    outside.run(0.1)
    assert (call.status, call.complete, call.last, call.ended_ns - call.begun_ns) == (200, True, ANSWER, 3.25 * S)
    assert dict(call.fields)[b"x-edge-target"] == b"one/small"
    assert dict(call.fields)[b"date"] == b"Sun, 29 Mar 2026 13:40:17 GMT"
    assert (outside.ends, call.number) == ([call], 7)


def test_deadlines_fire_in_virtual_time() -> None:
    """A silent target is left at its first-byte deadline, and the next one answers, without any waiting."""

    def answers(connection: VirtualConnection) -> None:
        if connection.target == "two/big":
            outside.after(0.5, lambda: outside.good(connection))

    outside = Outside(answers)
    call = outside.ask()
    outside.run(10)
    assert outside.seen == [("one/small", 0.0), ("left one/small", 4.0), ("two/big", 4.0)]
    assert dict(call.fields)[b"x-edge-attempts"] == b"2"
    assert call.ended_ns - call.begun_ns == 4.5 * S


def test_a_connection_is_used_again_and_a_broken_one_is_not() -> None:
    """The pool keeps a connection whose answer was complete. One that dies after use costs the request no attempt."""
    opened: list[Any] = []

    def answers(connection: VirtualConnection) -> None:
        opened.append(connection)
        broken = len(opened) == 2
        outside.after(0.1, lambda: connection.reset("gone") if broken else outside.good(connection))

    outside = Outside(answers)
    for _ in range(3):
        outside.ask()
        outside.run(1)
    assert [end.status for end in outside.ends] == [200, 200, 200]
    assert [dict(end.fields)[b"x-edge-attempts"] for end in outside.ends] == [b"1", b"1", b"1"]
    first, second = opened[0], opened[2]
    assert opened == [first, first, second, second]
    assert first is not second


def test_a_client_that_leaves_frees_the_target() -> None:
    """The upstream's request is abandoned in the moment in which its client leaves."""
    outside = Outside(lambda connection: None)
    call = outside.ask()
    outside.run(1)
    call.leave()
    assert outside.seen == [("one/small", 0.0), ("left one/small", 1.0)]
    assert (call.complete, outside.ends) == (False, [call])


def test_a_head_that_no_peer_may_send_is_refused() -> None:
    """A model that writes an impossible head is told so, and the exchange goes on."""
    outside = Outside(lambda connection: None)
    with pytest.raises(ValueError, match="cannot write this head"):
        outside.wire.call(b"/v1/chat/completions", [(b"content-length", b"1"), (b"content-length", b"2")], b"x", 1)
