"""The drill of many nodes: what they write, how soon they conclude, and what a lie does."""

from __future__ import annotations

import re

import pytest
from msgspec import structs

from edge.cli.main import main
from edge.drills.nodes import Shown, Times, play
from edge.drills.nodes_page import html
from edge.drills.nodes_report import report

TIMES = Times(quiet=(6.0, 11.0), dies=11.0, busy=(11.0, 16.0), heals=18.0, end=36.0)


@pytest.fixture(scope="module")
def shown() -> Shown:
    """A small world: sixteen nodes in four regions."""
    return play(16, 4, seed=7, times=TIMES)


def test_a_node_writes_the_same_however_many_there_are(shown: Shown) -> None:
    """Each node writes every five seconds, and at most once a second while circuits change; so it does among more."""
    more = play(32, 4, seed=7, times=structs.replace(TIMES, end=18.0))
    assert shown.quiet_rate == pytest.approx(0.2)
    assert 0.3 < shown.busy_rate <= shown.busiest_rate <= 1.0
    assert more.quiet_rate == pytest.approx(shown.quiet_rate)
    assert more.busy_rate == pytest.approx(shown.busy_rate, rel=0.1)


def test_every_region_concludes_once_and_takes_it_back(shown: Shown) -> None:
    """The verdict stands everywhere within 2.5 s, changes nothing twice, and ends after the provider is back."""
    assert shown.lag_s[1] <= 2.5
    assert shown.hearsay_s[1] <= 2.5
    assert (shown.begun, shown.ended) == (4, 4)


def test_one_lying_region_takes_no_traffic(shown: Shown) -> None:
    """A healthy provider that one region calls dead keeps its full weight; only the failure threshold is lower."""
    assert shown.slander == (1.0, 2)


def test_a_shared_limit_is_never_exceeded(shown: Shown) -> None:
    """What the nodes grant together is the limit, through all of it."""
    assert shown.granted == (6000, 6000)
    assert shown.moves >= 4


def test_the_floors_can_fail(shown: Shown) -> None:
    """A node that writes more, a verdict that comes and goes, or a slander that works is not met."""
    good = report(shown, shown)
    assert good.met
    for change in (
        {"busiest_rate": 1.2},
        {"begun": 5},
        {"slander": (0.5, 1)},
        {"quiet_rate": 0.3},
        {"granted": (0, 6001)},
    ):
        bad = report(structs.replace(shown, **change), shown)
        assert [score.met for score in bad.scores].count(False) == 1, change


def test_the_same_seed_gives_the_same_world(shown: Shown) -> None:
    """A second world with the same seed shows the same figures."""
    assert play(16, 4, seed=7, times=TIMES) == shown


def test_the_document_stands_alone(shown: Shown) -> None:
    """The HTML has a picture of writes and one of regions, whose lines follow from each second of the drill."""
    assert [moment.at_s for moment in shown.moments] == [float(second) for second in range(36)]
    assert max(moment.failing for moment in shown.moments) == max(moment.lighter for moment in shown.moments) == 4
    assert (shown.moments[-1].failing, shown.moments[-1].lighter) == (0, 0)
    assert 0 < max(moment.writes for moment in shown.moments[7:]) <= 1
    text = html(report(shown, shown))
    assert text.count("<svg") == text.count("</svg>") == 2
    assert "Writes a second and node" in text
    assert re.findall(r"https?://|<script|<link|src=", text) == []


def test_the_command_refuses_what_it_does_not_use(capsys: pytest.CaptureFixture[str]) -> None:
    """The drill plays nodes of its own, so that a configuration is a mistake, which is told."""
    assert main(["drill", "run", "thousand-nodes", "-c", "edge.yaml"]) == 1
    assert "leave out -c" in capsys.readouterr().err
