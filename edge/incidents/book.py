"""The incidents of a node: signs open them, join into them, and keep them open; sustained recovery closes them.

One subject has one open incident. While a region's own network is the likely cause, signs of providers in that region
join into the incident of the region, and incidents of providers that had just been opened there are folded into it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal

from msgspec import Struct

from edge.incidents.incident import Incident, new_id
from edge.incidents.pages.view import TROUBLE
from edge.incidents.signs import HOLD_S, subject_of, troubled
from edge.incidents.tally import add_impact

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from edge.incidents.pages.view import PageView
    from edge.incidents.signs import Kind, Look, Sign
    from edge.incidents.tally import Tally

RECOVERED_S: Final = 60.0
"""How long every sign must be gone before an incident is closed; a provider that comes back often goes again."""
FOLDS_S: Final = 120.0
"""An incident of a provider that is not older is folded into that of its region."""
EARLIEST_S: Final = 900.0
"""The first symptom is at most so long before the detection."""
MOST_CLOSED: Final = 100
"""Closed incidents in memory; older ones are in the history."""

Step = Literal["opened", "changed", "closed"]
_Mark = tuple[str, str, str, str]  # kind, subject, target or capability of one, region


class Change(Struct, frozen=True):
    """What happened to an incident."""

    step: Step
    incident: Incident


class IncidentBook:
    """All open incidents, and the last closed ones, newest last.

    Args:
        region: the region of this node.
        recovered_s: how long every sign must be gone before an incident is closed.
    """

    def __init__(self, region: str, recovered_s: float = RECOVERED_S) -> None:
        self._region = region
        self._recovered_s = recovered_s
        self.open: dict[str, Incident] = {}
        self.closed: list[Incident] = []
        self._seen: dict[_Mark, float] = {}  # signs that last, since when
        self._trouble: dict[str, float] = {}  # targets that fail, since when
        self._calm: dict[str, Tally] = {}  # by subject, the counters of its last calm second
        self._pages: dict[str, PageView] = {}  # what the page of each provider says now
        self._counted: dict[str, Tally] = {}  # by subject of an open incident, up to where its impact is counted

    def restore(self, incidents: Iterable[Incident]) -> None:
        """Take over incidents of an earlier control process, oldest first: those that it left open go on."""
        for incident in incidents:
            if incident.closed:
                self._retire(incident)
            else:
                self.open.setdefault(incident.subject, incident)

    def page(self, provider: str, view: PageView, wall: float) -> Incident | None:
        """Take what a provider's page says now; return the open incident that it stands beside."""
        self._pages[provider] = view
        incident = self.open.get(f"provider:{provider}")
        if incident is not None:
            _beside(incident, view, wall)
        return incident

    def find(self, name: str) -> Incident | None:
        """Return an incident by its id, open or lately closed."""
        everything = [*self.open.values(), *reversed(self.closed)]
        return next((incident for incident in everything if incident.id == name), None)

    def tick(self, wall: float, looks: Sequence[Look], signs: Iterable[Sign], tally: Tally) -> list[Change]:
        """Take one second's signs; return what happened, in order.

        Args:
            wall: Unix time.
            looks: every target as this node sees it.
            signs: everything that is wrong now, here and elsewhere.
            tally: all counters now.
        """
        suspect = {sign.region for sign in signs if sign.kind == "region" and self._held(sign, wall)}
        current = [_moved(sign, suspect) for sign in signs]
        marks = {_mark(sign): sign for sign in current}
        self._seen = {mark: self._seen.get(mark, wall) for mark in marks}
        self._note_calm(looks, tally, wall)
        changes: list[Change] = []
        for sign in current:
            known = self.open.get(sign.subject)
            if known is not None:
                changes += self._join(known, sign, wall)
            elif wall - self._seen[_mark(sign)] >= HOLD_S[sign.kind]:
                changes.append(Change("opened", self._begin(sign, wall, tally)))
        for region in suspect:
            changes += self._fold(f"region:{region}", region, wall)
        for subject in list(self.open):
            lasting = [sign for sign in current if sign.subject == subject]
            changes += self._follow(self.open[subject], lasting, looks, tally, wall)
        return changes

    def _held(self, sign: Sign, wall: float) -> bool:
        return wall - self._seen.get(_mark(sign), wall) >= HOLD_S[sign.kind]

    def _note_calm(self, looks: Sequence[Look], tally: Tally, wall: float) -> None:
        """Remember since when targets fail, and the counters of each subject's last calm second."""
        ill = {look.id for look in looks if troubled(look)}
        self._trouble = {name: self._trouble.get(name, wall) for name in ill}
        for subject in {subject_of(look) for look in looks} - {subject_of(look) for look in looks if look.id in ill}:
            self._calm[subject] = tally

    def _begin(self, sign: Sign, wall: float, tally: Tally) -> Incident:
        """Open an incident by its first sign."""
        since = min(
            [self._seen[_mark(sign)], *(self._trouble[name] for name in (sign.target,) if name in self._trouble)]
        )
        first = max(since, wall - EARLIEST_S)
        incident = Incident(self._free_id(sign.subject, wall), sign.subject, wall, first)
        if first < wall:
            said = f"{sign.about} begins to fail" if sign.kind != "slow" else f"{sign.target} becomes slow"
            incident.tell(first, "symptom", said if sign.target else sign.why)
        self.open[sign.subject] = incident
        self._counted[sign.subject] = self._calm.get(sign.subject, tally)
        _add(incident, sign)
        where = f"{sign.region}: {sign.about}" if sign.about else sign.region
        incident.tell(wall, "detected", f"{where}: {sign.why}")
        view = self._pages.get(incident.name)
        if view is not None and view.state in TROUBLE and sign.subject.startswith("provider:"):
            _beside(incident, view, wall)
        return incident

    def _free_id(self, subject: str, wall: float) -> str:
        """Return an id that no known incident has; two within a minute get a number."""
        name, count = new_id(subject, wall), 1
        taken = {incident.id for incident in (*self.open.values(), *self.closed)}
        while name in taken:
            count += 1
            name = f"{new_id(subject, wall)}-{count}"
        return name

    def _join(self, incident: Incident, sign: Sign, wall: float) -> list[Change]:
        """Add a sign to an open incident, once it has lasted; return a change if it says something new."""
        if wall - self._seen[_mark(sign)] < HOLD_S[sign.kind] or not _add(incident, sign):
            return []
        where = f"{sign.region}: {sign.about}" if sign.about else sign.region
        incident.tell(wall, "spread", f"{where}: {sign.why}")
        return [Change("changed", incident)]

    def _fold(self, subject: str, region: str, wall: float) -> list[Change]:
        """Fold young incidents of providers that only this region sees into the incident of the region."""
        whole = self.open.get(subject)
        if whole is None:
            return []
        changes = []
        for part in list(self.open.values()):
            if part is whole or part.regions != [region] or not part.targets or wall - part.opened > FOLDS_S:
                continue
            del self.open[part.subject]
            whole.first_symptom = min(whole.first_symptom, part.first_symptom)
            whole.events = sorted([*whole.events, *part.events], key=lambda event: event.at)
            whole.targets += [name for name in part.targets if name not in whole.targets]
            whole.routes += [name for name in part.routes if name not in whole.routes]
            part.joined_into, part.recovered, part.closed = whole.id, wall, wall
            part.tell(wall, "closed", f"joined into {whole.id}: the region is the likely cause")
            earlier = self._counted.pop(part.subject, None)
            if earlier is not None:
                self._counted[subject] = earlier
                whole.impact = part.impact
            self._retire(part)
            changes.append(Change("closed", part))
        return changes

    def _follow(
        self, incident: Incident, signs: Sequence[Sign], looks: Sequence[Look], tally: Tally, wall: float
    ) -> list[Change]:
        """Count what callers saw, tell who took over and what recovered, and close what has been well for long."""
        took_over, shed = set(incident.impact.answered_by), incident.impact.shed
        if signs or not incident.recovered:  # calm requests after the recovery count only if trouble comes back
            add_impact(incident.impact, self._counted.get(incident.subject, tally), tally, incident.targets)
            self._counted[incident.subject] = tally
        incident.routes += [name for name in tally.routes_of(incident.targets) if name not in incident.routes]
        events = len(incident.events)
        for name in incident.impact.answered_by.keys() - took_over:
            incident.tell(wall, "takeover", f"{name} answers {', '.join(_routes(tally, name, incident.routes))}")
        if incident.impact.shed and not shed:
            incident.tell(wall, "shed", "requests are refused because no target has room")
        missing = sorted({f"{sign.region}: {sign.about or sign.why}" for sign in signs})
        for back in incident.missing:
            if back not in missing:
                incident.tell(wall, "recovered", f"{back} works again")
        incident.missing = missing
        if signs:
            incident.recovered = 0.0
        elif not incident.recovered:
            incident.recovered = wall
        elif wall - incident.recovered >= self._recovered_s:
            return [self._close(incident, looks, wall)]
        return [Change("changed", incident)] if len(incident.events) != events else []

    def _close(self, incident: Incident, looks: Sequence[Look], wall: float) -> Change:
        incident.closed = wall
        incident.missing = sorted(
            f"{self._region}: {look.id} is {look.state}: {look.why}"
            for look in looks
            if look.id in incident.targets and look.state not in ("usable", "slow_start")
        )
        incident.tell(wall, "closed", f"no sign of trouble for {self._recovered_s:.0f} s")
        del self.open[incident.subject]
        self._counted.pop(incident.subject, None)
        self._retire(incident)
        return Change("closed", incident)

    def _retire(self, incident: Incident) -> None:
        self.closed = [*self.closed, incident][-MOST_CLOSED:]


def _beside(incident: Incident, view: PageView, wall: float) -> None:
    """Note in a timeline what the provider's page says, and when it first spoke of trouble."""
    if view.state in TROUBLE and not incident.page_said:
        incident.page_said = min(view.since, wall) if view.since > incident.first_symptom - EARLIEST_S else wall
    incident.tell(wall, "page", f"it says {view.state}{': ' if view.text else ''}{view.text}")


def _mark(sign: Sign) -> _Mark:
    return sign.kind, sign.subject, sign.about, sign.region


def _moved(sign: Sign, suspect: set[str]) -> Sign:
    """Return a sign as one of its region, if the region is the likely cause."""
    causes: tuple[Kind, ...] = ("target_down", "slow")
    if sign.region not in suspect or sign.kind not in causes or not sign.subject.startswith("provider:"):
        return sign
    return type(sign)(sign.kind, f"region:{sign.region}", sign.target, sign.region, sign.why)


def _add(incident: Incident, sign: Sign) -> bool:
    """Add what a sign names; return whether anything of it is new."""
    new = False
    named = (
        (incident.kinds, sign.kind),
        (incident.targets, sign.target),
        (incident.regions, sign.region),
        (incident.capabilities, sign.capability),
    )
    for known, name in named:
        if name and name not in known:
            known.append(name)
            new = True
    return new


def _routes(tally: Tally, target: str, routes: Sequence[str]) -> list[str]:
    return [name for name in routes if name in tally.routes and target in tally.routes[name].members]
