"""A price charges each kind of token once, and a budget is never overspent by more than one worst case."""

from __future__ import annotations

from hypothesis import example, given
from hypothesis import strategies as st

from edge.terms import snapshot as plan_of
from native.balance.price import Price
from native.balance.target import Target
from native.state.allowance import Allowance, Bound
from native.state.shared_state import SharedState
from tests.reference import price as twin
from tests.reference.reservation import Held
from tests.snapshots import allowance as allowance_plan
from tests.snapshots import target as target_plan

PARTS = ("prompt", "output", "cached", "audio_prompt", "image_prompt", "reasoning", "audio_output")
DOLLARS = st.sampled_from([0.0, 0.15, 2.5, 10.0, 99_999.99])
PRICES = st.builds(plan_of.Price, st.just(True), *[DOLLARS] * 7, st.just(1000))
MONTH = 24_000


@given(PRICES, st.fixed_dictionaries({part: st.integers(0, 10**9) for part in PARTS}))
@example(plan_of.Price(True, 10, 40, 1, 20, 100, 100, 10, 9), dict.fromkeys(PARTS, 7))
def test_a_cost_is_the_sum_of_its_parts(plan: plan_of.Price, used: dict[str, int]) -> None:
    """Every token costs the price of its kind, and none costs two; a part larger than its whole is cut to it."""
    expected = float(twin.cost(plan, used))
    assert abs(Price(plan).cost_of(**used) - expected) <= 1 + expected * 1e-12


def test_sound_in_a_prompt_costs_what_the_catalogue_says() -> None:
    """Of 1,000 tokens 300 are cached and 350 sound; the sum is exact, and no reservation for sound is below it."""
    known = plan_of.Price(True, 0.3, 2.5, 0.03, 2.5, 1.0, 1.0, 0.3, 65_536)
    price = Price(known)
    assert price.cost_of(prompt=1000, cached=300, audio_prompt=350, output=50, reasoning=20) == (
        350 * 300 + 300 * 30 + 350 * 1000 + 50 * 2500
    )
    assert price.cost_of(prompt=1000, audio_prompt=1000) == 1_000_000
    assert price.most_of(prompt=1000, output=50, sounds=True) == 1_000_000 + 125_000
    assert price.most_of(prompt=1000, output=50, sounds=False) == 300_000 + 125_000


def test_an_unknown_price() -> None:
    """What has no price costs nothing and says so."""
    assert (Price().known, Price().cost_of(prompt=5, output=5)) == (False, 0)


def test_a_dated_name_finds_the_price_of_its_model() -> None:
    """A wildcard target knows each model by name, with a date or without; others have the price of ``*``."""
    star, model = (plan_of.Price(True, each, 0, 0, 0, 0, 0, 0, 1) for each in (1.0, 2.0))
    shared_state = SharedState.create(1, 0, 1)
    plan = target_plan("p/*", 0, price=star, model_prices={"m": model})
    found = Target(shared_state, 0, "p/*", 0, plan)
    for name in (b"m", b"m-20250414", b"m-2025-04-14"):
        assert found.find_price(name).input == 2000
    for other in (None, b"m-2025-4-14", b"m-2025041", b"n", b"-20250414", b""):
        assert found.find_price(other).input == 1000


@given(st.integers(1, 10**6), st.lists(st.tuples(st.integers(0, 5000), st.integers(0, 200_000), st.booleans())))
@example(10_000_000, [(5_000_000, 10_000_000, False)] * 15)
@example(1, [(1, 1, False), (0, 1, False)])
def test_a_budget_is_held_as_its_model_holds_it(budget: int, requests: list[tuple[int, int, bool]]) -> None:
    """Each request holds what the reference model gives it; spending passes the budget by one worst case at most."""
    shared_state = SharedState.create(0, 0, 2, allowance_capacity=1)
    each = Allowance(shared_state, allowance_plan(0))
    model = Held(budget)
    running: list[tuple[int, int]] = []
    most = 0
    for usual, worst, ends in requests:
        expected = model.hold(usual, worst)
        bound, held = each.hold(budget, MONTH, usual, worst, len(running) % 2)
        assert (bound == Bound.UNBOUND) is (expected is not None)
        if expected is not None:
            assert held == expected
            running.append((held, len(running) % 2))
            most = max(most, usual, worst)
        if ends and running:
            held, worker = running.pop(0)
            each.spend(MONTH, held, held, worker)
            model.settle(held, held)
    assert model.spent <= budget + most
    view = shared_state.read_allowance(0)
    assert (view["held_nano"], view["spent_nano"]) == (sum(model.held), model.spent)


@given(st.integers(1, 100_000), st.lists(st.tuples(st.integers(1, 5000), st.integers(0, 200_000)), max_size=40))
@example(10_000, [(51_200, 1_638_400)] * 40)
def test_a_bucket_is_overdrawn_by_one_request_at_most(burst: int, requests: list[tuple[int, int]]) -> None:
    """Together, requests take what the bucket has; one that needs more passes only while no other holds tokens."""
    shared_state = SharedState.create(0, 0, 1, allowance_capacity=1)
    each = Allowance(shared_state, allowance_plan(0, tokens_per_minute=1, tokens_burst=burst))
    now = 10**15
    holders = []
    for usual, worst in requests:
        bound, wait, taken = each.reserve(now, usual, worst)
        assert (bound == Bound.UNBOUND) is (wait == 0)
        if bound == Bound.UNBOUND:
            assert taken >= usual
            assert sum(holders) + taken <= burst or not holders
            holders.append(taken)
    assert shared_state.read_allowance(0)["held_tokens"] == sum(holders)
    for taken in holders:
        each.release(now, taken, 0)
    assert shared_state.read_allowance(0)["held_tokens"] == 0
    assert each.left(now)[1] == (burst, 0)


def test_a_killed_worker_holds_nothing() -> None:
    """What the requests of a killed worker held is free again."""
    shared_state = SharedState.create(0, 0, 2, allowance_capacity=1)
    each = Allowance(shared_state, allowance_plan(0, tokens_per_minute=1, tokens_burst=1000))
    assert each.hold(1000, MONTH, 900, 900, 1) == (Bound.UNBOUND, 900)
    assert each.reserve(10**15, 10, 10, 1)[2] == 10
    assert each.hold(1000, MONTH, 900, 900, 0) == (Bound.BOUND_BUDGET_HELD, 0)
    shared_state.clear_worker(1)
    assert each.hold(1000, MONTH, 900, 900, 0) == (Bound.UNBOUND, 900)
    assert shared_state.read_allowance(0)["held_tokens"] == 0
