"""Incidents open by evidence, join what belongs together, count what callers saw, and close when it lasts."""

from __future__ import annotations

from typing import Any

import pytest

from edge.incidents import incident as incidents
from edge.incidents import signs
from edge.incidents.book import IncidentBook
from edge.incidents.incident import MOST_EVENTS, Incident, new_id
from edge.incidents.postmortem import markdown
from edge.incidents.signs import Look, Sign, Usual
from edge.incidents.tally import RouteTally, Tally, TargetTally
from edge.native import Outcome, RouteCounter, TargetCounter
from edge.terms.target_state import QUARANTINE

START = 1_778_232_000.0


class World:
    """Targets a/m, a/n, b/m, c/m behind the alias ``chat``, with counters and states that a test sets."""

    def __init__(self, region: str = "eu") -> None:
        self.book = IncidentBook(region)
        self.region = region
        self.wall = START
        self.states = dict.fromkeys(("a/m", "a/n", "b/m", "c/m"), "usable")
        self.why = "too many consecutive failures"
        self.first_ms: dict[str, float] = dict.fromkeys(self.states, 200.0)
        self.failed: dict[str, int] = dict.fromkeys(self.states, 0)
        self.counts = {name: [0] * 40 for name in self.states}
        self.route = [0] * 40
        self.others: list[Sign] = []
        self.lacks: dict[str, tuple[tuple[str, str], ...]] = {}
        self.usual = Usual()
        self.steps: list[tuple[str, str]] = []

    def pass_(self, seconds: int = 1) -> None:
        """Let seconds pass."""
        for _ in range(seconds):
            self.wall += 1
            looks = [
                Look(
                    name,
                    name[0],
                    False,
                    state,
                    "" if state == "usable" else self.why,
                    self.failed[name],
                    10,
                    0,
                    ms,
                    self.lacks.get(name, ()),
                )
                for (name, state), ms in zip(self.states.items(), self.first_ms.values(), strict=True)
            ]
            found = [sign for look in looks for sign in signs.of_target(look, self.region, self.usual)]
            tally = Tally(
                {name: TargetTally(tuple(counts), 1.0, 2.0) for name, counts in self.counts.items()},
                {"chat": RouteTally(tuple(self.route), tuple(self.states))},
            )
            for change in self.book.tick(self.wall, looks, [*found, *self.others], tally):
                self.steps.append((change.step, change.incident.subject))

    def one(self) -> Incident:
        """Return the only open incident."""
        (only,) = self.book.open.values()
        return only

    def ask(self, name: str, count: int, *, failing: str = "", cost_nano: int = 0) -> None:
        """Count requests that ``name`` answered, each after a failed attempt at ``failing``."""
        self.counts[name][Outcome.OK] += count
        self.counts[name][TargetCounter.T_OUTPUT_TOKENS] += count * 10
        self.counts[name][TargetCounter.T_COST_NANO] += cost_nano
        self.route[RouteCounter.R_2XX] += count
        if failing:
            self.counts[failing][Outcome.FAIL_STATUS] += count
            self.counts[failing][TargetCounter.T_RETRIED] += count


def test_targets_and_regions_of_a_provider_are_one_incident() -> None:
    """The first open circuit opens it; a second target and another region join; nothing else is opened."""
    world = World()
    world.pass_(5)
    world.states["a/m"] = "open"
    world.pass_()
    incident = world.one()
    assert (incident.subject, incident.opened, incident.targets, incident.regions) == (
        "provider:a", START + 6, ["a/m"], ["eu"],
    )  # fmt: skip
    world.states["a/n"] = "half_open"
    world.others = signs.elsewhere(
        "eu", {"us": {"a/m": "open", "z/z": "open"}, "eu": {"b/m": "open"}}, {"a/m": "provider:a"}
    )
    world.pass_(3)
    assert world.one() is incident
    assert (incident.targets, incident.regions) == (["a/m", "a/n"], ["eu", "us"])
    assert [event.what for event in incident.events] == ["detected", "spread", "spread"]
    assert world.steps[0] == ("opened", "provider:a")
    assert [step for step, _ in world.steps].count("opened") == 1
    assert incident.title == "a is down in eu, us"


EYELESS = (("vision", "requests that need vision: the target declines them"),)


def test_a_capability_that_stays_broken_keeps_the_incident_open_and_is_named() -> None:
    """As in May: the target comes back without eyes. The post-mortem names what is missing until it works again."""
    world = World()
    world.states["a/m"] = "open"
    world.pass_(5)
    incident = world.one()
    world.states["a/m"] = "usable"
    world.lacks["a/m"] = EYELESS
    world.pass_(200)
    assert world.one() is incident
    assert (incident.title, incident.missing) == ("a is down in eu", ["eu: vision at a/m"])
    told = markdown(incident, world.wall)
    assert "## What is still missing\n\n- eu: vision at a/m\n" in told
    assert "- Capabilities that failed alone: vision" in told
    assert "Spread | eu: vision at a/m: requests that need vision: the target declines them" in told
    assert "Recovered | eu: a/m works again" in told
    world.lacks.clear()
    world.pass_(62)
    assert world.book.open == {}
    assert incident.missing == []
    assert "Recovered | eu: vision at a/m works again" in markdown(incident, world.wall)


def test_a_capability_alone_is_an_incident_of_its_own_kind() -> None:
    """It opens at once, says what is not answered, has its playbook, and joins another region's word."""
    world = World()
    world.lacks["a/m"] = EYELESS
    world.others = signs.elsewhere("eu", {"us": {"a/m#tools": "open"}}, {"a/m": "provider:a"})
    world.pass_(2)
    incident = world.one()
    assert (incident.kind, incident.playbook) == ("capability", "vision-missing")
    assert incident.title == "a answers no requests that need vision, tools in eu, us"
    assert incident.missing == ["eu: vision at a/m", "us: tools at a/m"]
    assert incidents.decode(incidents.encode(incident)).capabilities == ["vision", "tools"]


def test_an_incident_closes_when_recovery_lasts() -> None:
    """A target that comes back and fails again within a minute stays one incident; a minute of calm closes it."""
    world = World()
    world.states["a/m"] = "open"
    world.pass_()
    incident = world.one()
    world.states["a/m"] = "slow_start"
    world.pass_(50)
    assert incident.recovered == START + 2
    world.states["a/m"] = "open"
    world.pass_(10)
    assert incident.recovered == 0
    world.states["a/m"] = "usable"
    world.pass_(60)
    assert world.one() is incident
    world.pass_()
    assert world.book.open == {}
    assert (incident.recovered, incident.closed) == (START + 62, START + 122)
    assert world.steps[-1] == ("closed", "provider:a")
    assert [event.what for event in incident.events][-3:] == ["recovered", "recovered", "closed"]
    assert world.book.find(incident.id) is incident


def test_what_is_counted_begins_with_the_last_calm_second() -> None:
    """Requests and failures that led to the detection are counted too, and those of calm times are not."""
    world = World()
    world.ask("a/m", 100)
    world.pass_(10)
    world.failed["a/m"] = 3
    world.ask("b/m", 3, failing="a/m")
    world.pass_(4)
    world.states["a/m"] = "open"
    world.ask("b/m", 2, failing="a/m")
    world.pass_()
    incident = world.one()
    assert incident.first_symptom == START + 11
    assert incident.events[0].what == "symptom"
    world.ask("b/m", 7, cost_nano=1_000_000_000)
    world.route[RouteCounter.R_5XX] += 1
    world.route[RouteCounter.R_SHED_LOW] += 1
    world.pass_(5)
    impact = incident.impact
    assert (impact.requests, impact.failed, impact.delayed, impact.shed) == (13, 1, 5, 1)
    assert (impact.attempts_failed, impact.answered_by) == ({"fail_status": 5}, {"b/m": 12})
    assert impact.extra_usd == pytest.approx(1.0 - 120 * 2.0 / 1e6)
    assert {"takeover", "shed"} <= {event.what for event in incident.events}


def test_counting_ends_with_the_recovery() -> None:
    """Requests after the last sign are not the outage's, unless trouble comes back before it is closed."""
    world = World()
    world.pass_(2)
    world.states["a/m"] = "open"
    world.ask("b/m", 5)
    world.pass_(2)
    incident = world.one()
    world.states["a/m"] = "usable"
    world.pass_()
    world.ask("b/m", 100)
    world.pass_(20)
    assert incident.impact.requests == 5
    world.states["a/m"] = "open"
    world.pass_()
    assert incident.impact.requests == 105
    world.states["a/m"] = "usable"
    world.ask("b/m", 1)
    world.pass_()
    world.ask("b/m", 50)
    world.pass_(61)
    assert (incident.impact.requests, world.book.open) == (106, {})


def test_slowness_is_the_first_symptom() -> None:
    """A target far slower than usual for 20 s opens an incident, which the black-out then joins."""
    world = World()
    world.pass_(60)
    world.first_ms["a/m"] = 250.0
    world.pass_(5)
    assert world.book.open == {}
    world.first_ms["a/m"] = 4000.0
    world.pass_(20)
    assert world.book.open == {}
    world.pass_()
    incident = world.one()
    assert (incident.kind, incident.first_symptom, incident.playbook) == ("slow", START + 66, "brown-out")
    world.states["a/m"] = "open"
    world.pass_()
    assert world.one() is incident
    assert (incident.kinds, incident.title) == (["slow", "target_down"], "a is down in eu")


@pytest.mark.parametrize(
    ("state", "why", "kind", "after_s", "playbook"),
    [
        ("quarantined", QUARANTINE[11].sentence + ": check", "credential", 1, "credential-refused"),
        ("quarantined", QUARANTINE[12].sentence, "misconfigured", 1, "credential-refused"),
        ("quarantined", QUARANTINE[6].sentence, "target_down", 1, "provider-dark"),
        ("rate_limited", "", "quota", 31, "quota-spent"),
        ("manual", "an operator", None, 100, ""),
        ("slow_start", "", None, 100, ""),
    ],
)
def test_what_a_state_means(state: str, why: str, kind: str | None, after_s: int, playbook: str) -> None:
    """A refused credential is told at once, a pause only when it lasts, and what an operator did not at all."""
    world = World()
    world.why, world.states["a/m"] = why, state
    world.pass_(after_s - 1)
    assert world.book.open == {}
    world.pass_()
    assert [(each.kind, each.playbook) for each in world.book.open.values()] == (
        [] if kind is None else [(kind, playbook)]
    )


def test_the_store_and_a_budget_are_incidents_of_their_own() -> None:
    """A silent store counts after 15 s, a spent budget at once, each with its own title and playbook."""
    world = World()
    world.others = [
        signs.of_store(20.0, "no answer", "eu"),
        *signs.of_budgets({"team": (50.0, 50.0), "rich": (1.0, 50.0)}, "eu"),
    ]
    world.pass_()
    assert [each.title for each in world.book.open.values()] == ["team has spent its budget in eu"]
    world.pass_(15)
    assert {each.playbook for each in world.book.open.values()} == {"budget-spent", "etcd-gone"}


def test_a_region_without_egress_is_one_incident() -> None:
    """Providers that fail together from here are folded into the incident of the region, with their symptoms."""
    world = World()
    world.pass_(3)
    for name in ("a/m", "b/m"):
        world.states[name] = "open"
    world.ask("c/m", 4, failing="a/m")
    world.pass_(2)
    assert set(world.book.open) == {"provider:a", "provider:b"}
    world.others = signs.of_regions(["eu"])
    world.pass_(10)
    incident = world.one()
    assert (incident.subject, incident.title) == ("region:eu", "eu cannot reach most providers")
    assert (incident.playbook, incident.first_symptom) == ("region-without-egress", START + 4)
    assert {each.joined_into for each in world.book.closed} == {incident.id}
    assert set(incident.targets) == {"a/m", "b/m"}
    world.states["c/m"] = "open"
    world.pass_(2)
    assert world.one() is incident
    assert "c/m" in incident.targets


def test_a_restarted_control_goes_on_with_the_same_incident() -> None:
    """An incident that was stored while it was open is taken over, and closed by the same rule."""
    world = World()
    world.states["a/m"] = "open"
    world.pass_()
    stored = incidents.encode(world.one())
    again = World()
    again.book.restore([incidents.decode(stored)])
    again.states["a/m"] = "open"
    again.pass_(5)
    assert again.one().id == world.one().id
    assert "opened" not in [step for step, _ in again.steps]
    again.states["a/m"] = "usable"
    again.pass_(61)
    assert again.book.open == {}


def test_what_is_still_missing_is_told() -> None:
    """An incident that is closed while a target was taken out by hand says so."""
    world = World()
    world.states["a/m"] = "open"
    world.pass_()
    incident = world.one()
    assert incident.missing == ["eu: a/m"]
    world.states["a/m"] = "manual"
    world.pass_(62)
    assert incident.missing == ["eu: a/m is manual: too many consecutive failures"]
    assert "a/m is manual" in markdown(incident, world.wall)


def test_a_timeline_is_bounded() -> None:
    """A target that flaps for hours fills no disk; the end and operators' words are still told."""
    incident = Incident("i", "provider:a", 1.0, 1.0, ["target_down"])
    for at in range(MOST_EVENTS + 50):
        incident.tell(float(at), "spread", "again")
    incident.tell(1e6, "closed", "the end")
    assert (len(incident.events), incident.left_out, incident.events[-1].text) == (MOST_EVENTS + 1, 50, "the end")
    assert "50 further events" in markdown(incident, 0.0)


def test_ids_can_stand_in_a_url() -> None:
    """An id holds the minute and the subject, in plain characters, and two within a minute differ."""
    assert new_id("provider:Deep Seek/../x", START) == "20260508-0920-provider-deep-seek-x"
    world = World()
    world.book = IncidentBook("eu", recovered_s=0.0)
    names = []
    for state in ("open", "usable", "open"):
        world.states["a/m"] = state
        world.pass_(2)
        names += [each.id for each in world.book.open.values()]
    assert names == [names[0], f"{names[0]}-2"]


def test_a_post_mortem_can_be_published() -> None:
    """It names symptom, detection, counts and the page; hostile text has no effect on its markup."""
    world = World()
    world.why = "x | y <script>\n# [z](http://e)"
    world.failed["a/m"] = 5
    world.pass_(30)
    world.states["a/m"] = "open"
    world.pass_()
    text = markdown(world.one(), world.wall)
    assert "First symptom: 2026-05-08 09:20:01" in text
    assert "Detected: 2026-05-08 09:20:31, 30 s after the first symptom" in text
    assert "The provider's status page has not spoken of it" in text
    assert "<script>" not in text.replace("\\<", "")
    assert "x \\| y \\<script\\> \\# \\[z\\](http://e)" in text
    assert sum(line.startswith("#") for line in text.splitlines()) == 4
    assert "- eu: a/m" in text


def test_every_kind_has_a_title_and_a_playbook() -> None:
    """No kind of sign lacks words."""
    found: list[Any] = [
        Incident("i", "provider:a", 0.0, 0.0, [kind]).title + incidents.PLAYBOOKS[kind] for kind in signs.HOLD_S
    ]
    assert len(set(found)) == len(signs.HOLD_S)


def test_counts_that_other_routes_share_say_so() -> None:
    """A target that answers more than the routes of the incident asked is not told as if all of it were theirs."""
    incident = Incident("i", "provider:p", 10.0, 9.0)
    incident.impact.requests, incident.impact.answered_by = 5, {"b/m": 5}
    assert "- Answered meanwhile by b/m (5)\n" in markdown(incident, 20.0)
    incident.impact.answered_by = {"b/m": 6}
    assert "- Answered meanwhile by b/m (6) (these counts have other routes, too)\n" in markdown(incident, 20.0)
