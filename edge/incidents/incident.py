"""An incident: what is joined into it, whom it touched, and its timeline. It is plain data, stored as JSON."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Final

import msgspec
from msgspec import Struct, field

MOST_EVENTS: Final = 300
"""Events of one timeline; a target that flaps for hours must not fill the disk. Later ones are counted."""

_SAYS: Final = {
    "target_down": "is down",
    "credential": "refuses edge's credential or balance",
    "misconfigured": "lacks a model or path that edge asks for",
    "quota": "grants no more requests",
    "capability": "lacks a capability that it had",
    "slow": "is far slower than usual",
    "region": "cannot reach most providers",
    "store": "does not answer",
    "budget": "has spent its budget",
}
_ORDER: Final = tuple(_SAYS)
KINDS: Final = frozenset(_SAYS)
PLAYBOOKS: Final = {
    "target_down": "provider-dark",
    "capability": "vision-missing",
    "slow": "brown-out",
    "credential": "credential-refused",
    "misconfigured": "credential-refused",
    "quota": "quota-spent",
    "region": "region-without-egress",
    "store": "etcd-gone",
    "budget": "budget-spent",
}
"""The playbook of each kind, a file of docs/playbooks."""


class Event(Struct, frozen=True):
    """One line of a timeline. ``at`` is Unix time."""

    at: float
    what: str  # symptom, detected, spread, takeover, shed, page, operator, note, recovered, closed
    text: str


class Impact(Struct):
    """What callers saw since the last calm second, on the routes that use the targets; counts of this node."""

    requests: int = 0
    failed: int = 0  # answered with 5xx, or broken off
    delayed: int = 0  # left a target after a failed attempt, and went on at another
    degraded: int = 0  # answered by a later tier
    shed: int = 0  # refused because there was no room
    attempts_failed: dict[str, int] = field(default_factory=dict)  # of the targets themselves, by reason
    answered_by: dict[str, int] = field(default_factory=dict)  # other targets of these routes
    extra_usd: float = 0.0  # what these cost more than the same tokens would have cost at the target


class Incident(Struct):
    """One incident. Times are Unix seconds; 0: it has not happened."""

    id: str
    subject: str  # provider:NAME, service:NAME, region:NAME, store or key:NAME
    opened: float
    first_symptom: float
    kinds: list[str] = field(default_factory=list)
    targets: list[str] = field(default_factory=list)
    regions: list[str] = field(default_factory=list)
    routes: list[str] = field(default_factory=list)
    recovered: float = 0.0  # when the last sign ended
    closed: float = 0.0
    acknowledged: str = ""  # by whom and why
    joined_into: str = ""  # id of the incident that turned out to be the cause
    page_said: float = 0.0  # when the provider's page first spoke of trouble
    impact: Impact = field(default_factory=Impact)
    events: list[Event] = field(default_factory=list)
    left_out: int = 0
    missing: list[str] = field(default_factory=list)  # what does not work yet, or still did not when it was closed
    shared_id: str = ""  # the id under which receivers know it; another node's, if that one told them
    capabilities: list[str] = field(default_factory=list)  # that failed while their targets answered other requests
    where: str = ""  # REGION/NODE that told it; "": this node's own
    heard: float = 0.0  # when it was last told by that node
    told: list[str] = field(default_factory=list)  # RECEIVER:opened and RECEIVER:resolved, as delivered

    @property
    def kind(self) -> str:
        """The kind of its subject; of a provider or a service the gravest kind of sign that it has had."""
        if self.subject == "store":
            return "store"
        whole = {"region": "region", "key": "budget"}.get(self.subject.partition(":")[0])
        if whole is not None:
            return whole
        return min(self.kinds, key=_ORDER.index) if self.kinds else "target_down"

    @property
    def name(self) -> str:
        """What the incident is about, without the sort of thing that it is."""
        return "the shared store" if self.subject == "store" else self.subject.partition(":")[2]

    @property
    def title(self) -> str:
        """One line: who, what, where."""
        where = f" in {', '.join(self.regions)}" if self.regions and not self.subject.startswith("region:") else ""
        says = _SAYS[self.kind]
        if self.kind == "capability" and self.capabilities:
            says = f"answers no requests that need {', '.join(self.capabilities)}"
        return f"{self.name} {says}{where}"

    @property
    def playbook(self) -> str:
        """Name of the playbook for it."""
        return PLAYBOOKS[self.kind]

    def tell(self, at: float, what: str, text: str) -> None:
        """Add an event; a full timeline counts it instead."""
        if len(self.events) >= MOST_EVENTS and what not in ("recovered", "closed", "note", "operator"):
            self.left_out += 1
            return
        self.events.append(Event(at, what, text))


def new_id(subject: str, opened: float) -> str:
    """Return the id of an incident: its minute and its subject, in characters that a URL and a shell leave alone."""
    slug = re.sub(r"[^a-z0-9]+", "-", subject.lower()).strip("-")[:60] or "incident"
    return f"{datetime.fromtimestamp(opened, UTC):%Y%m%d-%H%M}-{slug}"


def encode(incident: Incident) -> bytes:
    """Return an incident as JSON."""
    return msgspec.json.encode(incident)


def decode(body: bytes) -> Incident:
    """Return the incident of :func:`encode`; raise msgspec.MsgspecError if it is none."""
    return msgspec.json.decode(body, type=Incident)
