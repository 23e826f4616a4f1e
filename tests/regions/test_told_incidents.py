"""Operators of one region see what happened in another: its incidents, with its own counts, and what was done there."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from msgspec import structs

from edge.control.hearsay import AGAIN_S, MOST, Hearsay
from edge.incidents.book import IncidentBook
from edge.incidents.database import Action, Database
from edge.incidents.elsewhere import SILENT_S, beside, joined, same, sound, to_tell
from edge.incidents.incident import Event, Impact, Incident, decode
from edge.incidents.told_minutes import ToldMinutes, encode
from edge.incidents.told_minutes import decode as decode_told

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from edge.incidents.history import Entry

NOW = 1_000_000.0


def incident(name: str = "i-1", subject: str = "provider:p", **given: object) -> Incident:
    """Return an incident that began a minute ago."""
    return structs.replace(Incident(name, subject, NOW - 60, NOW - 70), **given)


class Reader:
    """What one node has taken from others."""

    def __init__(self) -> None:
        self.entries: list[Entry] = []
        self.hearsay = Hearsay(self._keep)

    def _keep(self, entries: Sequence[Entry]) -> None:
        self.entries += entries

    def hear(self, node: str, *told: Incident, at: float = NOW, actions: Sequence[Action] = ()) -> None:
        """Take a document as it comes over the store."""
        document = decode_told(encode("x", (), [to_tell(each) for each in told], actions))
        assert document is not None
        self.hearsay.hear(node, document, at)

    def written(self) -> list[Incident]:
        """Return the incidents that were written."""
        return [decode(entry.incident[3]) for entry in self.entries if entry.incident is not None]


def test_an_incident_of_another_region_is_seen_here_until_it_is_over() -> None:
    """It keeps its counts under its own id, is written once a minute, and is no open incident of this node's own."""
    reader = Reader()
    reader.hear("us/n", incident(impact=Impact(requests=5, failed=1)))
    for second in range(10, 50, 10):
        reader.hear("us/n", incident(impact=Impact(requests=5 + second)), at=NOW + second)
    (one,) = reader.written()
    assert (one.id, one.where, one.impact.requests, one.impact.failed) == ("i-1@us", "us/n", 5, 1)
    assert reader.entries[0].incident is not None
    assert reader.entries[0].incident[2] == NOW  # not 0: a process that starts again does not take it for its own
    reader.hear("us/n", incident(impact=Impact(requests=90)), at=NOW + AGAIN_S)
    assert [each.impact.requests for each in reader.hearsay.open(NOW + AGAIN_S)] == [90]
    reader.hear("us/other", incident(impact=Impact(requests=7)), at=NOW + 2 * AGAIN_S)
    assert [each.where for each in reader.hearsay.open(NOW + AGAIN_S)] == ["us/n"]  # one node speaks for its region
    reader.hear("us/n", incident(closed=NOW + 100), at=NOW + 101)
    reader.hear("us/n", incident(closed=NOW + 100), at=NOW + 200)
    assert reader.hearsay.open(NOW + 200) == []
    assert len(reader.written()) == 3


def test_a_node_that_falls_silent_is_not_shown_for_ever() -> None:
    """An open incident whose node is gone leaves what is open now; and the number of them is bounded."""
    reader = Reader()
    reader.hear("us/n", incident())
    assert len(reader.hearsay.open(NOW + SILENT_S - 1)) == 1
    assert reader.hearsay.open(NOW + SILENT_S) == []
    for number in range(MOST + 5):
        reader.hear("us/n", incident(f"i-{number}"))
    assert len(reader.hearsay.known) == MOST


def test_one_outage_is_one_incident_over_regions() -> None:
    """What another region saw of the same subject at the same time stands beside; other outages are listed."""
    own = incident()
    there = incident("i-0@us", where="us/n", heard=NOW)
    later = incident("i-2@us", where="us/n", heard=NOW, opened=NOW + 500, first_symptom=NOW + 500)
    other = incident("i-3@us", "key:team", where="us/n", heard=NOW)
    over = structs.replace(own, closed=NOW + 100)
    assert [each.id for each in joined([there, other, own])] == ["i-1", "i-3@us"]
    assert [each.id for each in joined([there, later, over])] == ["i-1", "i-2@us"]
    assert [each.id for each in beside(over, [there, later, other, over])] == ["i-0@us"]
    assert same(own, there)
    assert joined([own, incident("i-9")]) == [own, incident("i-9")]  # what this node itself kept apart stays apart


def test_what_is_told_is_bounded_and_a_copy() -> None:
    """A long timeline loses its middle, receivers are not named, and later changes do not change what was told."""
    events = [Event(NOW + at, "spread", "x" * 600) for at in range(100)]
    own = incident(events=events, told=["hook:opened"], shared_id="s")
    told = to_tell(own)
    own.impact.requests = 99
    assert (len(told.events), told.left_out, told.told, told.shared_id) == (24, 76, [], "")
    assert (told.events[0].at, told.events[-1].at, len(told.events[0].text)) == (NOW, NOW + 99, 500)
    assert told.impact.requests == 0
    assert sound(told)


@pytest.mark.parametrize(
    "given",
    [
        {"id": "i@us"},
        {"id": ""},
        {"where": "eu/n"},
        {"subject": "a\x1b[31m"},
        {"acknowledged": "x" * 2000},
        {"targets": ["t"] * 2000},
        {"events": [Event(1.0, "note", "x")] * 100},
        {"impact": Impact(answered_by={"a\nb": 1})},
    ],
)
def test_what_is_not_sound_is_not_taken(given: dict[str, object]) -> None:
    """Another node's words may not take an own id, nor fill the file, nor write to a terminal."""
    reader = Reader()
    reader.hearsay.hear("us/n", ToldMinutes("x", (), incidents=(incident(**given),)), NOW)
    assert reader.entries == []


def test_actions_come_once_and_only_of_the_node_that_did_them(tmp_path: Path) -> None:
    """What was told again, also to a process that was started again, stands once in the history."""
    done = [Action(NOW - 5, "drain", "p/m", "why", "us/n", "Ana"), Action(NOW - 1, "reload", "", "", "us/n")]
    false = [Action(NOW - 1, "drain", "p/m", "", "eu/n"), Action(NOW - 99_999, "drain", "p/m", "", "us/n")]
    reader = Reader()
    reader.hear("us/n", actions=[*done, *false])
    reader.hear("us/n", actions=done)
    assert [entry.action for entry in reader.entries] == done
    db = Database(tmp_path / "h.db")
    for _ in range(2):
        db.write([], done)
    assert db.actions(0, 2 * NOW, 10) == done
    db.close()


def test_what_is_done_for_many_stands_once_in_each_history() -> None:
    """A node that follows notes it itself: it does not tell it, nor take it from the node where it was done."""
    reader = Reader()
    assert reader.hearsay.followed(Action(NOW - 4, "drain", "p/m", "why us/n", "eu/n"))
    reader.hear("us/n", actions=[Action(NOW - 5, "drain", "p/m", "why", "us/n", "Ana")])
    assert reader.entries == []
    assert reader.hearsay.to_tell(IncidentBook("eu"), NOW)[1] == ()
    later = Action(NOW - 5, "restore", "p/m", "", "us/n", "Ana")
    reader.hear("us/other", actions=[structs.replace(later, where="us/other")])
    assert [entry.action and entry.action.what for entry in reader.entries] == ["restore"]


def test_what_was_done_here_is_not_followed_here() -> None:
    """The store shows a node what it has done itself: that is no second act."""
    hearsay = Reader().hearsay
    hearsay.acted(Action(NOW - 2, "drain", "p/m", "why", "eu/n", "Ana"))
    assert not hearsay.followed(Action(NOW - 1, "drain", "p/m", "why eu/n", "eu/n"))
    assert hearsay.followed(Action(NOW + 100, "drain", "p/m", "why us/n", "eu/n")), "another one, later"


def test_a_node_tells_its_own_alone() -> None:
    """Open incidents and those that ended within the hour are told, older ones not; open ones are not left out."""
    hearsay = Reader().hearsay
    hearsay.acted(Action(NOW - 4000, "drain", "p/m", "", "eu/n"))
    hearsay.acted(Action(NOW - 10, "restore", "p/m", "", "eu/n"))
    book = IncidentBook("eu")
    book.closed += [incident(f"old-{at}", closed=NOW - 4000) for at in range(3)]
    book.closed += [incident(f"new-{at}", closed=NOW - 10) for at in range(20)]
    book.open["provider:q"] = incident("open", "provider:q")
    told, actions = hearsay.to_tell(book, NOW)
    assert "open" in [each.id for each in told]
    assert len(told) == 10
    assert not [each for each in told if each.id.startswith("old")]
    assert [action.what for action in actions] == ["restore"]


@pytest.mark.parametrize(
    "wrong",
    [
        {"kinds": ["unheard-of"]},
        {"first_symptom": 1e300},
        {"first_symptom": -1e300},
        {"closed": 1e300},
        {"recovered": 253402300800.0},
        {"page_said": -1.0},
        {"events": [Event(1e300, "symptom", "x")]},
        {"left_out": -1},
        {"impact": Impact(requests=-1)},
        {"impact": Impact(extra_usd=1e300)},
        {"impact": Impact(attempts_failed={"p/m": 2**70})},
        {"subject": ""},
    ],
)
def test_what_cannot_be_shown_is_not_taken(wrong: dict[str, object]) -> None:
    """A kind that edge does not know, a time that is no date, and a number that is no count: no page fails for them."""
    assert sound(incident(kinds=["slow"], impact=Impact(requests=3, extra_usd=0.5)))
    reader = Reader()
    reader.hear("us/n", structs.replace(incident(), **wrong))
    assert reader.entries == []
    assert reader.hearsay.open(NOW) == []
