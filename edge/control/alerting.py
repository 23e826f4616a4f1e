"""Telling receivers of incidents: who of the nodes tells, which receivers want to know, and what they know already.

What was delivered is noted in the incident, and so in the history: a control process that is started again neither
repeats it nor forgets what was still to be told.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final

from msgspec import structs

from edge import clock
from edge.control.claims import Claims
from edge.errors import EdgeError
from edge.incidents.notices import CLASSES, Notice, notice_of
from edge.incidents.receiver import Receiver
from edge.telemetry import logs

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from edge.config.schema_incidents import Alert
    from edge.incidents.incident import Incident
    from edge.incidents.notices import Step
    from edge.terms.ports import Store

RENEW_S: Final = 10.0
# Without an answer of the store for this long a node tells by itself: told twice is better than not at all.
PATIENCE_S: Final = 5.0
# Alertmanager forgets what is not repeated.
REPEAT_S: Final = 600.0
_EVERYTHING: Final = (*CLASSES.values(), "target_recovered")
_BY_ANOTHER: Final = "*:opened"  # another node has told the receivers


class Alerting:
    """Tells the receivers of one node.

    Args:
        me: REGION/NODE.
        store: returns the shared store, None if there is none.
        keep: stores an incident that has changed.
    """

    def __init__(self, me: str, store: Callable[[], Store | None], keep: Callable[[Incident], None]) -> None:
        self._me = me
        self._store = store
        self._keep = keep
        self._claims: Claims | None = None
        self._receivers: list[Receiver] = []
        self._incidents: dict[str, Incident] = {}  # those that are not done, by id
        self._ours: set[str] = set()  # ids of incidents that this node tells
        self._looked: dict[str, float] = {}  # when a claim was last looked at, by id
        self._repeated: dict[str, float] = {}
        self._before = {"sent": 0, "failed": 0, "dropped": 0}  # of receivers that are gone
        self._task: asyncio.Task[None] | None = None
        self._closing: list[asyncio.Task[None]] = []

    @property
    def counts(self) -> dict[str, int]:
        """Number of notices since control was started, by result; empty without receivers."""
        states = [receiver.state for receiver in self._receivers]
        if not states and not any(self._before.values()):
            return {}
        return {name: self._before[name] + sum(getattr(state, name) for state in states) for name in self._before}

    @property
    def receivers(self) -> list[Receiver]:
        """The receivers, in the order of the configuration."""
        return self._receivers

    def follow(self, alerts: Sequence[Alert]) -> None:
        """Tell these receivers from now on; one whose settings are the same goes on with its queue."""
        logs.redact([secret for alert in alerts for secret in (str(alert.webhook), str(alert.secret)) if secret])
        kept = {id(receiver): receiver for receiver in self._receivers if receiver.alert in alerts}
        for receiver in self._receivers:
            if id(receiver) not in kept:
                for name in self._before:
                    self._before[name] += getattr(receiver.state, name)
                self._closing.append(asyncio.get_running_loop().create_task(receiver.stop()))
        known = list(kept.values())
        self._receivers = [
            next((receiver for receiver in known if receiver.alert == alert), None) or Receiver(alert, self._delivered)
            for alert in alerts
        ]

    def take(self, incident: Incident) -> None:
        """Take an incident that was opened, has changed or was closed."""
        if self._receivers:
            self._incidents[incident.id] = incident
            self._looked.pop(incident.id, None)

    def poll(self, wall: float) -> None:
        """Tell what is to be told. Called once a second; returns at once."""
        if self._incidents and (self._task is None or self._task.done()):
            self._task = asyncio.get_running_loop().create_task(self._turn(wall))

    async def stop(self) -> None:
        """Stop; what was not delivered stays to be told."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        await asyncio.gather(*self._closing, *(receiver.stop() for receiver in self._receivers))

    async def test(self) -> list[dict[str, Any]]:
        """Send a test to every receiver; return whether each took it."""
        wall, name = clock.wall(), f"test-{clock.bits():016x}"
        opening = Notice("test", name, "test", "a test, nothing is wrong", wall, wall, self._me, "provider-dark", {})
        return list(await asyncio.gather(*(_tested(receiver, opening) for receiver in self._receivers)))

    async def _turn(self, wall: float) -> None:
        try:
            for incident in list(self._incidents.values()):
                if incident.closed and wall - incident.closed > RENEW_S and not self._due(incident):
                    self._forget(incident)
                elif await self._is_ours(incident, wall):
                    self._tell(incident, wall)
        except Exception as error:  # noqa: BLE001  # one failed turn must not end the telling
            logs.say_failure("telling receivers of incidents failed", error)

    async def _is_ours(self, incident: Incident, wall: float) -> bool:
        """Return whether this node is to tell of an incident; claim it, or renew the claim."""
        store = self._store()
        if store is None:
            self._ours.add(incident.id)
            return True
        if self._claims is None:
            self._claims = Claims(store, self._me)
        mine = incident.id in self._ours
        if wall - self._looked.get(incident.id, 0.0) < RENEW_S:
            return mine
        if not mine and (incident.recovered if not incident.closed else not incident.told):
            return False  # the end is for the node that told the beginning, or for one that knows of it
        self._looked[incident.id] = wall
        try:
            async with asyncio.timeout(PATIENCE_S):
                ours = await self._claimed(self._claims, incident)
        except (EdgeError, TimeoutError) as error:
            logs.say(logs.DEBUG, "an incident cannot be claimed in the store", incident=incident.id, error=str(error))
            ours = mine or not incident.shared_id
        if ours:
            self._ours.add(incident.id)
        else:
            self._ours.discard(incident.id)
        return ours

    async def _claimed(self, claims: Claims, incident: Incident) -> bool:
        """Ask the store whose an incident is, and note under which id receivers know it."""
        if incident.closed:
            return await claims.resolve(incident.subject, incident.shared_id or incident.id)
        whose, shared = await claims.claim(incident.subject, incident.id, incident.shared_id)
        before = (incident.shared_id, list(incident.told))
        if whose == "over":  # its node sees it no more and this one does: it is told again
            incident.shared_id, incident.told = "", []
        else:
            incident.shared_id = shared
        if whose == "theirs" and _BY_ANOTHER not in incident.told:
            incident.told.append(_BY_ANOTHER)
        if (incident.shared_id, incident.told) != before:
            self._keep(incident)
        return whose == "ours"

    def _tell(self, incident: Incident, wall: float) -> None:
        for receiver in self._receivers:
            step: Step = "resolved" if incident.closed else "opened"
            if self._wants(receiver, incident, step) or (step == "opened" and self._repeats(receiver, incident, wall)):
                self._offer(receiver, notice_of(incident, step, self._me, wall))

    def _repeats(self, receiver: Receiver, incident: Incident, wall: float) -> bool:
        """Return whether an opening is due again, for a receiver that forgets."""
        if receiver.form != "alertmanager" or not _knows(receiver, incident, "opened"):
            return False
        name = f"{receiver.name}:{incident.id}"
        if wall - self._repeated.get(name, incident.opened) < REPEAT_S:
            return False
        self._repeated[name] = wall
        return True

    def _wants(self, receiver: Receiver, incident: Incident, step: Step) -> bool:
        """Return whether a receiver is to be told a step that it does not know yet."""
        alert = CLASSES.get(incident.kind)
        wanted: Sequence[str] = receiver.alert.on or _EVERYTHING
        if alert is None or _knows(receiver, incident, step):
            return False
        if step == "opened":
            return alert in wanted
        knows = _knows(receiver, incident, "opened")
        if alert == "target_down" and receiver.form in ("json", "slack"):
            return "target_recovered" in wanted and (knows or "target_down" not in wanted)
        return alert in wanted and knows

    def _due(self, incident: Incident) -> bool:
        """Return whether this node has still to tell a receiver of a closed incident."""
        steps: tuple[Step, ...] = ("opened", "resolved")
        waiting = (receiver.waits(notice_of(incident, step, "", 0.0)) for receiver in self._receivers for step in steps)
        return incident.id in self._ours and (
            any(waiting) or any(self._wants(receiver, incident, "resolved") for receiver in self._receivers)
        )

    def _offer(self, receiver: Receiver, notice: Notice) -> None:
        if not receiver.waits(notice):
            receiver.offer(notice)

    def _delivered(self, receiver: Receiver, notice: Notice) -> None:
        for incident in self._incidents.values():
            if notice.incident in (incident.shared_id, incident.id):
                mark = f"{receiver.name}:{notice.step}"
                if mark not in incident.told:
                    incident.told.append(mark)
                    self._keep(incident)

    def _forget(self, incident: Incident) -> None:
        del self._incidents[incident.id]
        self._ours.discard(incident.id)
        self._looked.pop(incident.id, None)
        self._repeated = {name: at for name, at in self._repeated.items() if not name.endswith(f":{incident.id}")}


def _knows(receiver: Receiver, incident: Incident, step: str) -> bool:
    return f"{receiver.name}:{step}" in incident.told or (step == "opened" and _BY_ANOTHER in incident.told)


async def _tested(receiver: Receiver, opening: Notice) -> dict[str, Any]:
    error = await receiver.try_once(opening)
    if receiver.form == "pagerduty" and not error:
        error = await receiver.try_once(structs.replace(opening, step="resolved"))
    state = receiver.state
    return {"host": state.host, "format": state.form, "accepted": not error, "error": error}


def unfinished(incident: Incident) -> bool:
    """Return whether some receiver may know the beginning of an incident and not the end."""
    begun = {mark.removesuffix(":opened") for mark in incident.told if mark.endswith(":opened")}
    return not begun <= {mark.removesuffix(":resolved") for mark in incident.told}
