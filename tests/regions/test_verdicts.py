"""What reports of other regions change here, and what they never change."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.regions import budgets, shares
from edge.regions import digest as told
from edge.regions.digest import Digest, TargetDigest, opinion
from edge.regions.sampler import headroom, quantile_ms
from edge.regions.verdicts import Verdict, judge, rate_limits
from edge.regions.view import Heard, survey

S = 1_000_000_000
A, B, C = "a/m", "b/m", "c/m"


def seen(name: str, state: Any = "usable", total: int = 0, failed: int = 0, **more: Any) -> TargetDigest:
    """A target in a node's digest."""
    facts: dict[str, Any] = {"slow": 0, "p95_ms": 0, "inflight": 0, "headroom": -1, "kind": "model", **more}
    return TargetDigest(id=name, state=state, total=total, failed=failed, **facts)


def heard(region: str, *targets: TargetDigest, node: str = "n", age_s: float = 1.0, proven: bool = True) -> Heard:
    """A node's digest of this age."""
    return Heard(Digest(region, node, "i", "1", (), 0, targets), int(age_s * S), proven)


def verdicts(*nodes: Heard, own: str = "eu") -> dict[str, Verdict]:
    """Return the result for the first node of region ``own``."""
    mine = next((each for each in nodes if each.digest.region == own), heard(own))
    every = nodes if mine in nodes else (mine, *nodes)
    here = {target.id: target for target in mine.digest.targets}
    beside = [each for each in every if each.digest.region == own and each is not mine]
    return judge(own, here, survey(every), beside)


BAD = seen(A, "open", 5, 5)
GOOD = seen(A, "usable", 50, 1)


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        (seen(A, "open"), True),
        (seen(A, "half_open"), True),
        (seen(A, "usable", 10, 5), True),
        (seen(A, "usable", 4, 4), None),
        (seen(A, "usable", 4, 3), False),
        (seen(A, "usable", 10, 4), False),
        (seen(A, "usable"), None),
        (seen(A, "quarantined", 10, 10), None),
        (seen(A, "manual", 10, 1), None),
        (seen(A, "rate_limited", 10, 1), False),
    ],
)
def test_what_a_node_makes_of_a_target(target: TargetDigest, *, expected: bool | None) -> None:
    """Open, or half of five failed, is bad; a success with little traffic is good; credentials do not count."""
    assert opinion(target) is expected


def test_one_region_is_hearsay() -> None:
    """One region's report lowers the failure threshold to two, and does not change the weight."""
    assert verdicts(heard("us", BAD))[A] == Verdict(1.0, 2, "found failing by us")
    assert verdicts(heard("eu", GOOD), heard("us", BAD))[A].failure_threshold == 2


def test_a_majority_of_two_or_more_is_a_verdict() -> None:
    """The threshold is one, and the weight the share of regions that disagree, at least a tenth."""
    assert verdicts(heard("us", BAD), heard("ap", BAD))[A] == Verdict(0.1, 1, "found failing by ap, us")
    assert verdicts(heard("us", BAD), heard("ap", BAD), heard("sa", GOOD))[A].weight == pytest.approx(0.333)
    split = verdicts(heard("us", BAD), heard("ap", GOOD), heard("sa", GOOD))[A]
    assert (split.weight, split.failure_threshold) == (1.0, 2)


def test_ones_own_successes_outrank_a_verdict() -> None:
    """A target that works here is used; after the first failure here the reports count."""
    others = (heard("us", BAD), heard("ap", BAD))
    assert verdicts(heard("eu", GOOD), *others)[A] == Verdict(1.0, 2, "found failing by ap, us")
    failing = seen(A, "usable", 50, 1, consecutive=1)
    assert verdicts(heard("eu", failing), *others)[A].failure_threshold == 1


def test_the_stale_the_unproven_and_the_suspect_are_not_heard() -> None:
    """Ignored: 16 s without a change, a key that only lingers, a region with most targets bad."""
    assert verdicts(heard("us", BAD, age_s=16)) == {}
    assert verdicts(heard("us", BAD, proven=False)) == {}
    everything = (BAD, seen(B, "open"), seen(C, "usable", 20, 0))
    assert survey([heard("us", *everything)])["us"].suspect is True
    assert verdicts(heard("us", *everything)) == {}
    assert survey([heard("us", BAD, seen(C, "usable", 20, 0))])["us"].suspect is False
    assert survey([heard("us", BAD)])["us"].suspect is False, "of one provider it cannot be told"


def test_another_node_of_our_region_is_heard_even_when_the_region_is_suspect() -> None:
    """Nodes of one region share their network, so they hear each other."""
    neighbour = heard("eu", BAD, seen(B, "open"), node="other")
    assert {name: verdict.failure_threshold for name, verdict in verdicts(heard("eu"), neighbour).items()} == {
        A: 2,
        B: 2,
    }


def test_services_do_not_make_a_region_suspect() -> None:
    """Two failed services of a region do not make its network suspect."""
    down = [seen(f"s{number}/10.0.0.1:1", "open", kind="service") for number in (1, 2)]
    assert survey([heard("us", *down)])["us"].suspect is False


@given(
    st.lists(
        st.builds(
            heard,
            st.sampled_from(["eu", "us", "ap", "sa"]),
            st.builds(
                seen,
                st.sampled_from([A, B, C]),
                st.sampled_from(["usable", "open", "half_open", "quarantined", "rate_limited"]),
                st.integers(0, 50),
                st.just(0),
            ),
            node=st.text("xyz", min_size=1),
            age_s=st.floats(0, 30),
            proven=st.booleans(),
        ),
        max_size=12,
    )
)
def test_nothing_is_ever_removed(nodes: list[Heard]) -> None:
    """Any reports give a weight of at least a tenth and a threshold of one or two, and name bad regions only."""
    for verdict in verdicts(*nodes).values():
        assert 0.1 <= verdict.weight <= 1.0
        assert verdict.failure_threshold in (1, 2)
        assert verdict.why.startswith("found failing by")


def test_rests_are_merged_where_the_credential_is_shared() -> None:
    """The longest rate limit counts, less the digest's age, for shared credentials only.

    Another node of our own region has the same credential too: its rate limit is ours.
    """
    others = [
        heard(
            "us",
            seen(A, "rate_limited", rate_limited_ms=30_000),
            seen(B, "rate_limited", rate_limited_ms=9_000),
            age_s=2,
        ),
        heard("ap", seen(A, "rate_limited", rate_limited_ms=5_000)),
        heard("eu", seen(C, "rate_limited", rate_limited_ms=5_000)),
    ]
    assert rate_limits(others, {A, C}) == {A: 28_000, C: 4_000}
    assert rate_limits([heard("us", seen(A, "rate_limited", rate_limited_ms=10**9))], {A}) == {A: 300_000}
    unheard = [
        heard("us", seen(A, rate_limited_ms=99_000), age_s=20),
        heard("ap", seen(A, rate_limited_ms=99_000), proven=False),
    ]
    assert rate_limits(unheard, {A}) == {}


def test_a_region_is_the_sum_of_its_fresh_nodes() -> None:
    """Nodes count by volume: one node's failures are not the region's."""
    picture = survey(
        [
            heard("us", seen(A, "open", 5, 5, p95_ms=900, headroom=0), node="1"),
            heard("us", seen(A, "usable", 95, 1, p95_ms=100, headroom=7), node="2"),
            heard("us", seen(A, "open", 500, 500), node="3", age_s=60),
        ]
    )["us"]
    assert (picture.nodes, picture.fresh_nodes, picture.fresh, picture.age_s) == (3, 2, True, 1.0)
    target = picture.targets[A]
    assert (target.bad, target.state, target.total, target.error_ratio) == (False, "usable", 100, 0.06)
    assert (target.p95_ms, target.headroom) == (900, 7)


def test_documents_survive_the_journey_and_strangers_are_left_out() -> None:
    """Documents decode to what was encoded; other versions, shapes and noise give None."""
    digest = heard("us", BAD).digest
    data = told.encode(digest)
    assert told.decode(data, "us/n") == digest
    assert told.decode(data, "eu/n") is None, "of one node, under the name of another"
    later = data.replace(b'"v":1', b'"v":2')
    assert [told.decode(data, "us/n") for data in (later, b"", b"[]", b'{"v":1}', b"\xff")] == [None] * 5
    newer = data.replace(b'"v":1', b'"v":1,"weather":{"in":["us"]}').replace(b"5,5,", b"5,5,", 1)
    newer = newer.replace(b",0]]", b',0,"a column of tomorrow"]]')
    assert newer.count(b"tomorrow") == 1
    assert told.decode(newer, "us/n") == digest, "of a version that says more"
    hand = told.ManualOverride(2, "why", 1.0, "us/n")
    assert told.decode_override(told.encode(hand)) == hand
    assert told.decode_override(told.encode(hand).replace(b'"code":2', b'"code":7')) is None


ROW = [A, "model", "open", 5, 5, 0, 0, 0, -1, 0, 0]
WIDE = 10**400


@pytest.mark.parametrize(
    "more",
    [
        {"x": "DEEP"},
        {"region": "us\r\nx-edge-target: mine"},
        {"node": "\x1b[2J"},
        {"version": "\ud800"},
        {"instance": "i" * 300},
        {"load": WIDE},
        {"load": -1},
        {"addresses": [f"10.0.0.{number}:1" for number in range(17)]},
        {"targets": [[*ROW[:3], 1, WIDE, *ROW[5:]]]},
        {"targets": [[*ROW[:3], -5, *ROW[4:]]]},
        {"targets": [["\x9b31m", *ROW[1:]]]},
        {"targets": [ROW] * 2_001},
        {"targets": "many"},
    ],
    ids=lambda more: next(iter(more)),
)
def test_no_document_costs_more_than_it_may(more: dict[str, Any]) -> None:
    """Any content of a node's key is a valid digest or None, without an exception."""
    good = {"region": "us", "node": "n", "instance": "i", "version": "1", "addresses": [], "load": 0, "v": 1}
    assert told.decode(json.dumps({**good, "targets": [ROW]}).encode(), "us/n") is not None
    data = json.dumps(good | more).replace('"DEEP"', "[" * 100_000 + "]" * 100_000)
    digest = {**good, **more}
    assert told.decode(data.encode(), f"{digest['region']}/{digest['node']}") is None
    assert told.decode(data.encode().replace(b'"us"', b'"\xff"'), "us/n") is None


@pytest.mark.parametrize("reason", ["a\nb", "\x1b[31m", "long " * 200, "\xff", "DEEP"])
def test_no_hand_says_what_breaks_a_line(reason: str) -> None:
    """An override's text is one line of limited length, or the override is refused."""
    good = {"code": 2, "reason": "why", "since": 1.0, "by": "us/n"}
    assert told.decode_override(json.dumps(good).encode()) is not None
    data = json.dumps({**good, "reason": reason}, ensure_ascii=False).encode("latin-1")
    if reason == "DEEP":
        data = json.dumps({**good, "x": "DEEP"}).replace('"DEEP"', "[" * 100_000).encode()
    assert told.decode_override(data) is None


@pytest.mark.parametrize("noise", [b'{"x":' + b"[" * 100_000, b'{"nodes":{"\xff":1},"keys":{"\xff":1}}', b"\0", b""])
def test_no_ledger_breaks_its_reader(noise: bytes) -> None:
    """Invalid shares and budgets give None."""
    assert shares.decode(noise) == shares.Shares()
    assert budgets.decode(noise) is None


def test_numbers_that_swing_are_no_news() -> None:
    """Volume, latency and load wait for the heartbeat; a circuit, a rate limit and an address do not."""
    quiet = heard("us", GOOD).digest
    assert told.news(quiet) == told.news(heard("us", seen(A, "usable", 70, 3, p95_ms=3)).digest)
    for other in (BAD, seen(A, "rate_limited", 50, 1, rate_limited_ms=5), seen(A, "usable", 10, 9)):
        assert told.news(quiet) != told.news(heard("us", other).digest)
    limited = heard("us", seen(A, "rate_limited", 50, 1, rate_limited_ms=5)).digest
    assert told.news(limited) == told.news(heard("us", seen(A, "rate_limited", 40, 0, rate_limited_ms=4)).digest)


def test_headroom_and_quantiles() -> None:
    """The smaller limit counts; without a limit headroom is unknown; the 95th of 100 is its bucket's bound."""
    assert [headroom(0.0, 0, 3), headroom(10.7, 0, 3), headroom(10.7, 5, 3), headroom(2.0, 0, 3)] == [-1, 7, 2, 0]
    assert quantile_ms([0] * 24) == 0
    assert quantile_ms([95, 5] + [0] * 22) == 1
    assert quantile_ms([94, 6] + [0] * 22) == 2
    assert quantile_ms([0] * 23 + [1]) == 240_000
