"""prefer: the cheapest or the quickest target of a tier, while it is well and has room, and what that saves."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest
from conversing import ANSWER, Conversing, Talk, target_of, text_of

from edge.balance.choices import choices
from edge.native import set_virtual

if TYPE_CHECKING:
    from collections.abc import Iterator

    from edge.balance.choices import Choices


@pytest.fixture(autouse=True)
def real_time_again() -> Iterator[None]:
    """Give each later test the real clocks."""
    yield
    set_virtual(0)


def priced(prefer: str, prices: dict[str, str], **given: Any) -> Conversing:
    """Return a world whose providers have these prices; the model prefers as said and keeps nothing."""
    text = text_of(list(prices), affinity="none", extra=f"    prefer: {prefer}")
    for name, price in prices.items():
        written = f"prices: {{m: {{{price}}}}}, " if price else ""
        text = text.replace(f"  {name}: {{base_url", f"  {name}: {{{written}base_url")
    world = Conversing(text, **given)
    world.answer = ANSWER | {
        "usage": {"prompt_tokens": 1000, "completion_tokens": 100, "prompt_tokens_details": {"cached_tokens": 0}}
    }
    return world


def ask(world: Conversing, times: int) -> Counter[str]:
    """Ask one after the other; return who answered."""
    return Counter(Talk(world, f"{world.now_ns}").turn() for _ in range(times))


def made(world: Conversing) -> Choices:
    """Return the choices of the model."""
    (found,) = [model for model in choices(world.state, world.snapshot) if model.model == "chat"]
    return found


def test_the_cheapest_is_asked_and_the_saving_is_counted() -> None:
    """All requests go to the cheapest; what is saved is the difference from the mean of the tier."""
    world = priced("cost", {"a": "input: 4, output: 8", "b": "input: 1, output: 2", "c": "input: 2, output: 4"})
    assert ask(world, 20) == {"b": 20}
    mean = (4 + 1 + 2) / 3 * (1000 + 2 * 100) / 1e6
    assert made(world).saved_usd == pytest.approx(20 * (mean - 1 * (1000 + 2 * 100) / 1e6), rel=1e-6)


def test_order_asks_all_and_saves_nothing() -> None:
    """Without a preference the targets share the requests, whatever they cost."""
    world = priced("order", {"a": "input: 4, output: 8", "b": "input: 1, output: 2"})
    calls = [world.ask(Talk(world, str(number)).body) for number in range(20)]
    world.run(5)
    assert min(Counter(target_of(call) for call in calls).values()) >= 8
    assert made(world).saved_usd == 0.0


def test_the_share_that_was_cached_counts() -> None:
    """A target that answers prompts from its cache is cheaper than its list price says."""
    world = priced("cost", {"a": "input: 2, output: 2, cached_input: 0.2", "b": "input: 1.5, output: 2"})
    assert ask(world, 5) == {"b": 5}
    world.answer["usage"]["prompt_tokens_details"]["cached_tokens"] = 900
    for _ in range(5):
        world.say({"model": "a/m", "messages": [{"role": "user", "content": "Hi"}]})
    assert ask(world, 5) == {"a": 5}
    assert made(world).cached_share == pytest.approx(0.45)


def test_an_unknown_price_comes_last_and_free_comes_first() -> None:
    """A target without a price is asked when no other is usable; a price of 0 is free."""
    world = priced("cost", {"a": "", "b": "input: 9, output: 9", "c": "input: 0, output: 0"})
    assert ask(world, 5) == {"c": 5}
    world.down.add("c")
    ask(world, 8)
    assert ask(world, 5) == {"b": 5}
    world.down.add("b")
    ask(world, 8)
    assert ask(world, 5) == {"a": 5}


def test_equal_prices_share_the_requests() -> None:
    """Prices that differ by less than a hundredth leave the choice to the load."""
    world = priced("cost", {"a": "input: 1, output: 1", "b": "input: 1.005, output: 1", "c": "input: 1.5, output: 1"})
    calls = [world.ask(Talk(world, str(number)).body) for number in range(20)]
    world.run(5)
    asked = Counter(target_of(call) for call in calls)
    assert asked["c"] == 0
    assert min(asked["a"], asked["b"]) >= 8


def test_a_cheap_target_keeps_headroom() -> None:
    """Above four fifths of its limit the cheapest leaves requests to the next."""
    world = priced("cost", {"a": "input: 1, output: 1, ", "b": "input: 2, output: 2"})
    world.reload(
        text_of(["a", "b"], affinity="none", extra="    prefer: cost", provider=", max_inflight: 10")
        .replace("  a: {", "  a: {prices: {m: {input: 1, output: 1}}, ")
        .replace("  b: {", "  b: {prices: {m: {input: 2, output: 2}}, ")
    )
    calls = [world.ask(Talk(world, str(number)).body) for number in range(12)]
    world.run(5)
    assert Counter(target_of(call) for call in calls) == {"a": 8, "b": 4}


def test_a_failing_target_is_not_cheap() -> None:
    """A target that fails half of its requests costs twice as much."""
    world = priced("cost", {"a": "input: 1, output: 1", "b": "input: 1.5, output: 1.5"})
    assert ask(world, 4) == {"a": 4}
    for _ in range(3):
        world.down.add("a")
        ask(world, 1)
        world.down.clear()
    assert ask(world, 3)["b"] >= 2


def test_the_quickest_is_asked_and_the_time_is_counted() -> None:
    """After each target was tried, the quickest gets all requests, and the time that is saved is counted."""
    speed = {"a": 2.0, "b": 0.5, "c": 1.0}
    world = priced("latency", dict.fromkeys(speed, ""), seconds=lambda name, _body: speed[name])
    ask(world, 6)
    assert ask(world, 10) == {"b": 10}
    assert made(world).saved_s == pytest.approx(10 * (3.5 / 3 - 0.5), rel=0.5)
    speed["b"] = 3.0
    ask(world, 2)
    assert ask(world, 6) == {"c": 6}


def test_a_conversation_stays_whatever_the_price() -> None:
    """A kept conversation is not moved to a target that has become cheaper."""
    text = text_of(["a", "b"], extra="    prefer: latency")
    speed = {"a": 0.5, "b": 1.0}
    world = Conversing(text, seconds=lambda name, _body: speed[name])
    for number in range(4):
        Talk(world, f"first {number}").turn()
    talk = Talk(world, "one")
    owner = talk.turn()
    speed[owner] = 4.0
    for number in range(4):
        Talk(world, f"next {number}").turn()
    assert talk.turn() == owner
