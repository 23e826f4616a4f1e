"""hedge: a second target of the tier is asked when the first is slow, the first content wins, and the loser ends.

Time is virtual: ``a`` is asked first (its weight), ``b`` is in its tier, ``c`` in the next one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from conversing import Conversing, target_of, text_of

from edge.native import Outcome, RouteCounter, TargetCounter, set_virtual

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from edge.native import Call, VirtualConnection

S = 1_000_000_000
TARGETS = ["a, tier: 1, weight: 1000", "b, tier: 1, weight: 0.001", "c, tier: 2"]
ASK = {"model": "chat", "messages": [{"role": "user", "content": "hi"}]}
RESULTS = ("WON", "LOST", "UNANSWERED", "NO_BUDGET", "NO_TARGET")


@pytest.fixture(autouse=True)
def real_time_again() -> Iterator[None]:
    """Give each later test the real clocks."""
    yield
    set_virtual(0)


class Hedging(Conversing):
    """A world that notes which requests were abandoned, and when."""

    def __init__(
        self,
        hedge: str = "after: 300ms, budget: 5%",
        *,
        seconds: Callable[[str, bytes], float],
        more: str = "",
        targets: list[str] | None = None,
        provider: str = "",
    ) -> None:
        written = f"    hedge: {{{hedge}}}\n" if hedge else ""
        self.left_at: list[tuple[str, float]] = []
        self.asked_at: list[tuple[str, float]] = []
        text = text_of(targets or TARGETS, affinity="none", extra=written + more, provider=provider)
        super().__init__(text, seconds=seconds)
        self.begin_ns = self.now_ns

    def run(self, seconds: float) -> None:
        """Let time pass in small steps: a timer may ask a target at any of them."""
        for _ in range(max(round(seconds * 100), 1)):
            super().run(0.01)

    def asked(self, connection: VirtualConnection) -> None:
        """Note when a target was asked."""
        self.asked_at.append((connection.target.partition("/")[0], (self.now_ns - self.begin_ns) / S))
        super().asked(connection)

    def left(self, connection: VirtualConnection) -> None:
        """Note when a request was abandoned."""
        self.left_at.append((connection.target.partition("/")[0], (self.now_ns - self.begin_ns) / S))

    def hedges(self) -> dict[str, int]:
        """Return the counters of hedges that are not 0."""
        route = next(route for route in self.snapshot.routes if route.name == "chat")
        counts = self.state.read_route(route.slot)["counts"]
        found = {name: counts[RouteCounter[f"R_HEDGES_{name}"]] for name in RESULTS}
        return {name: count for name, count in found.items() if count}

    def counts(self, name: str) -> Any:
        """Return the counters of a target."""
        slot = next(target.slot for target in self.snapshot.targets if target.provider == name)
        return self.state.read_target(slot, self.now_ns)["counts"]

    def attempts(self) -> int:
        """Return the attempts at all targets."""
        return sum(self.counts(name)[TargetCounter.T_ATTEMPTS] for name in ("a", "b", "c"))

    def circuit(self, name: str) -> str:
        """Return the state of a target's circuit."""
        slot = next(target.slot for target in self.snapshot.targets if target.provider == name)
        return self.state.read_target(slot, self.now_ns)["state"]


def seconds_of(**times: float) -> Callable[[str, bytes], float]:
    """Return how long each target takes."""
    return lambda name, _body: times[name]


def field(call: Call, name: bytes) -> str | None:
    """Return a header field of an answer."""
    value = dict(call.fields).get(name)
    return None if value is None else value.decode()


def took_s(call: Call) -> float:
    """Return how long a client waited."""
    return (call.ended_ns - call.begun_ns) / S


def test_a_slow_first_target_is_hedged() -> None:
    """The second target is asked after the time that is written, and answers; the loser ends then, without blame."""
    world = Hedging(seconds=seconds_of(a=5.0, b=0.1, c=0.1))
    call = world.ask(ASK)
    world.run(8)
    assert (call.status, target_of(call), field(call, b"x-edge-attempts")) == (200, "b", "2")
    assert field(call, b"x-edge-reason") == "a/m: hedged"
    assert 0.4 <= took_s(call) <= 0.45
    assert [name for name, _ in world.left_at] == ["a"]
    assert 0.4 <= world.left_at[0][1] <= 0.45
    assert world.hedges() == {"WON": 1}
    assert world.counts("a")[Outcome.CANCELLED] == 1
    assert sum(world.counts("a")[:16]) == 1
    assert world.circuit("a") == "closed"
    assert world.counts("a")[TargetCounter.T_SLOW] == 0


def test_the_first_target_may_still_win() -> None:
    """If the first target answers after all, the hedge is cancelled at once, and the answer has no reason."""
    world = Hedging(seconds=seconds_of(a=0.5, b=3.0, c=0.1))
    call = world.ask(ASK)
    world.run(5)
    assert (target_of(call), field(call, b"x-edge-attempts"), field(call, b"x-edge-reason")) == ("a", "2", None)
    assert [name for name, _ in world.left_at] == ["b"]
    assert 0.5 <= world.left_at[0][1] <= 0.55
    assert world.hedges() == {"LOST": 1}


def test_a_quick_answer_is_not_hedged() -> None:
    """No second target is asked, and nothing is counted."""
    world = Hedging(seconds=seconds_of(a=0.2, b=0.1, c=0.1))
    for _ in range(20):
        assert world.say(ASK) == "a"
    assert (world.attempts(), world.hedges()) == (20, {})


def test_without_hedge_there_is_none() -> None:
    """A model without hedge waits for its first target."""
    world = Hedging("", seconds=seconds_of(a=5.0, b=0.1, c=0.1))
    call = world.ask(ASK)
    world.run(8)
    assert (target_of(call), world.attempts(), world.hedges()) == ("a", 1, {})


@pytest.mark.parametrize(("budget", "share"), [("5%", 0.05), ("1%", 0.01), ("20%", 0.2)])
def test_a_brown_out_is_not_doubled(budget: str, share: float) -> None:
    """When every target is slow, attempts stay within (1 + budget) x requests + the burst of 10."""
    world = Hedging(f"after: 100ms, budget: {budget}", seconds=seconds_of(a=2.0, b=2.0, c=2.0))
    calls = []
    for _ in range(400):
        calls.append(world.ask(ASK))
        world.run(0.02)
    world.run(5)
    assert all(call.status == 200 for call in calls)
    hedges = world.hedges()
    assert 400 < world.attempts() <= 400 * (1 + share) + 10
    made = hedges.get("WON", 0) + hedges.get("LOST", 0)
    assert world.attempts() == 400 + made
    assert hedges["NO_BUDGET"] == 400 - made


def test_both_fail_and_the_usual_failover_follows() -> None:
    """A hedge takes none of ``retry.attempts``: after both have failed the second attempt goes to the next tier."""
    world = Hedging(seconds=seconds_of(a=9.0, b=9.0, c=0.1), more="    retry: {attempts: 2}\n")
    world.down = {"a", "b"}
    world.refusal = (503, 0, 1.0)
    call = world.ask(ASK)
    world.run(5)
    assert (call.status, target_of(call), field(call, b"x-edge-attempts")) == (200, "c", "3")
    assert [name for name, _ in world.asked_at] == ["a", "b", "c"]
    assert world.hedges() == {"LOST": 1}
    assert took_s(call) <= 1.5


def test_the_other_goes_on_when_one_fails() -> None:
    """A hedge that fails changes nothing for the first target, and a first that fails nothing for the hedge."""
    world = Hedging(seconds=seconds_of(a=2.0, b=2.0, c=0.1))
    world.down = {"b"}
    call = world.ask(ASK)
    world.run(5)
    assert (target_of(call), field(call, b"x-edge-reason"), field(call, b"x-edge-attempts")) == ("a", None, "2")
    world.down = {"a"}
    world.refusal = (503, 0, 1.0)
    call = world.ask(ASK)
    world.run(5)
    assert (target_of(call), field(call, b"x-edge-reason")) == ("b", "a/m: fail_status")
    assert world.hedges() == {"LOST": 1, "WON": 1}


def test_a_refusal_of_the_hedge_is_not_the_answer() -> None:
    """A hedge that gets 400 has failed, and the first target answers."""
    world = Hedging(seconds=seconds_of(a=2.0, b=2.0, c=0.1))
    world.down = {"b"}
    world.refusal = (400, 0, 0.05)
    call = world.ask(ASK)
    world.run(5)
    assert (call.status, target_of(call), field(call, b"x-edge-reason")) == (200, "a", None)
    assert world.hedges() == {"LOST": 1}


def test_a_client_that_leaves_ends_both() -> None:
    """Both attempts are abandoned at once."""
    world = Hedging(seconds=seconds_of(a=5.0, b=5.0, c=0.1))
    call = world.ask(ASK)
    world.run(1)
    call.leave()
    world.run(0.05)
    assert sorted(name for name, _ in world.left_at) == ["a", "b"]
    assert world.hedges() == {"UNANSWERED": 1}
    assert [world.counts(name)[Outcome.CANCELLED] for name in "ab"] == [1, 1]


@pytest.mark.parametrize(
    ("body", "path"),
    [
        ({**ASK, "store": True}, "/v1/chat/completions"),
        ({"model": "chat", "input": "hi"}, "/v1/responses"),
        ({"model": "chat", "input": "hi", "previous_response_id": "resp_1", "store": False}, "/v1/responses"),
        (
            {"model": "chat", "messages": [{"role": "user", "content": [{"type": "file", "file": {"file_id": "f"}}]}]},
            "/v1/chat/completions",
        ),
    ],
)
def test_what_a_provider_keeps_is_asked_once(body: dict[str, Any], path: str) -> None:
    """A stored answer, and a request with a provider's ids, is never sent to two targets at once."""
    world = Hedging(seconds=seconds_of(a=2.0, b=0.1, c=0.1))
    world.answer = {"id": "resp_2", "object": "response", "output": [], "choices": []}
    world.ask(body, path)
    world.run(5)
    assert len({name for name, _ in world.asked_at}) == len(world.asked_at)
    assert all(at < 0.1 or at >= 2.0 for _, at in world.asked_at)
    assert world.hedges() == {}


def test_only_a_target_of_the_same_tier() -> None:
    """A later tier gets no hedge."""
    world = Hedging(seconds=seconds_of(a=1.0, b=0.1, c=0.1), targets=["a, tier: 1", "b, tier: 2", "c, tier: 2"])
    assert world.say(ASK) == "a"
    assert (world.attempts(), world.hedges()) == (1, {"NO_TARGET": 1})


@pytest.mark.parametrize("refusal", [(429, 30, 0.01), (503, 0, 0.01)])
def test_no_hedge_at_a_target_that_is_not_well(refusal: tuple[int, int, float]) -> None:
    """A target that is rate-limited, or whose circuit is open, gets no hedge."""
    world = Hedging(seconds=seconds_of(a=1.0, b=0.1, c=0.1))
    world.down = {"b"}
    world.refusal = refusal
    for _ in range(7):
        world.ask({**ASK, "model": "b/m"})
        world.run(0.05)
    world.asked_at.clear()
    assert world.say(ASK) == "a"
    assert ([name for name, _ in world.asked_at], world.hedges()) == (["a"], {"NO_TARGET": 1})


def test_a_full_target_gets_no_hedge() -> None:
    """Where the other target has as many requests as it may have, the first is waited for."""
    world = Hedging(
        seconds=lambda name, body: 9.0 if b"long" in body else {"a": 1.0, "b": 0.1, "c": 0.1}[name],
        provider=", max_inflight: 1",
    )
    world.ask({"model": "b/m", "messages": [{"role": "user", "content": "long"}]})
    world.run(0.01)
    call = world.ask(ASK)
    world.run(2)
    assert (target_of(call), world.hedges()) == ("a", {"NO_TARGET": 1})


def test_a_percentile_is_that_of_the_target() -> None:
    """Without samples nothing is hedged; with them a request is after about p95 of the target's own times."""
    slow = {"now": False}
    world = Hedging("after: p95", seconds=lambda name, _body: 4.0 if slow["now"] and name == "a" else 0.2)
    slow["now"] = True
    assert world.say(ASK) == "a"
    slow["now"] = False
    for _ in range(40):
        assert world.say(ASK) == "a"
    assert world.hedges() == {}
    slow["now"] = True
    call = world.ask(ASK)
    world.run(6)
    assert target_of(call) == "b"
    assert 0.4 <= took_s(call) <= 0.5  # p95 is in the bucket from 192 to 224 ms
    assert world.hedges() == {"WON": 1}


def test_what_is_cut_short_does_not_lower_the_percentile() -> None:
    """One request in ten is slow, and hedged: the percentile does not sink to where quick ones are hedged as well."""
    number = iter(range(10**6))
    world = Hedging(
        "after: p90, budget: 100%",
        seconds=lambda name, _body: 4.0 if name == "a" and next(number) % 12 == 0 else 0.2,
    )
    for _ in range(600):
        world.say(ASK)
    made = sum(world.hedges().values())
    assert 20 <= made <= 70, made


def test_a_target_that_fell_silent_is_found_out() -> None:
    """The budget ends, and what then waits is late: the circuit of a target that says nothing opens, hedges or not."""
    silent = {"now": False}
    world = Hedging("after: p95", seconds=lambda name, _body: 80.0 if silent["now"] and name == "a" else 0.1)
    for _ in range(120):
        world.say(ASK)
    silent["now"] = True
    for _ in range(60):
        world.ask(ASK)
        world.run(0.1)
    world.run(5)
    assert world.circuit("a") == "open"
    assert world.say(ASK) == "b"
