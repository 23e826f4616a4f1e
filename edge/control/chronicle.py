"""What control remembers of the node: traffic per minute, operators' actions, and the incidents that it opens."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec

from edge import clock
from edge.balance.report import states_of
from edge.config import effective
from edge.config.schema_incidents import StatusPages
from edge.control.alerting import Alerting, unfinished
from edge.control.hearsay import Hearsay
from edge.control.kept_file import name_for
from edge.control.lookout import Lookout
from edge.control.past_sharing import Mark, PastSharing
from edge.control.reasons import OPERATOR
from edge.incidents import incident as incidents
from edge.incidents.book import IncidentBook
from edge.incidents.database import Action, Said
from edge.incidents.history import Entry, History, HistoryUnavailableError
from edge.incidents.minutes import MinuteBook
from edge.incidents.page_watch import PageWatch
from edge.incidents.public import Now, public_status
from edge.providers import KNOWN
from edge.regions.digest import name_of
from edge.telemetry import logs
from edge.terms.public_status import PublicStatus

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from edge.balance.report import TargetReport
    from edge.config.schema import Config
    from edge.control.memfd_cell import MemfdCell
    from edge.control.node import Node
    from edge.incidents.book import Change
    from edge.incidents.incident import Incident
    from edge.incidents.minutes import Row
    from edge.incidents.pages.view import PageView
    from edge.incidents.told_minutes import ToldMinutes
    from edge.terms.ports import Store

_S: Final = 1_000_000_000
_MINUTE_NS: Final = 60 * _S
_TELL_NS: Final = 10 * _S
# A disk that hangs must not keep control from watching; incidents of an earlier process are then opened anew.
_RESTORE_S: Final = 5.0
_MOST_RESTORED: Final = 100
_SIGN_OF_LIFE_S: Final = 10.0
_TELLS_LATE_S: Final = 24 * 3600.0  # after this time nobody needs to hear that an incident is over


class Chronicle:
    """Writes the history of one node, and keeps its incidents.

    Args:
        node: the node as control sees it.
        history: where it is written.
        recovered_s: how long every sign must be gone before an incident is closed; None: the default.
    """

    def __init__(self, node: Node, history: History, recovered_s: float | None = None) -> None:
        snapshot, state = node.snapshot, node.shared_state
        self.history = history
        self.book = IncidentBook(snapshot.region) if recovered_s is None else IncidentBook(snapshot.region, recovered_s)
        self.alerting = Alerting(name_of(snapshot.region, snapshot.node), self._store, self._keep_now)
        self._node = node
        self._where = name_of(snapshot.region, snapshot.node)
        self._lookout = Lookout(node)
        self._minutes = MinuteBook(state.read_target_uses, state.read_route_uses)
        self.pages = PageWatch(self._page_changed)
        self.hearsay = Hearsay(history.keep)
        self._urls: dict[str, str] = {}
        self._shares = True
        self._page_settings = StatusPages(enabled=False)
        self._again_ns = 0
        self._told_ns = 0
        self._status: MemfdCell[PublicStatus] | None = None
        self._published = PublicStatus(0.0, ())

    def publish_to(self, cell: MemfdCell[PublicStatus]) -> None:
        """Write what clients may know of outages to this cell from now on."""
        self._status = cell

    def follow(self, config: Config) -> None:
        """Read the status pages that this configuration names from now on."""
        self._shares = config.history.share
        settings = config.status_pages
        filled = effective.whole(config, KNOWN).providers if settings.enabled else {}
        self._urls = {name: provider.status_page for name, provider in filled.items() if provider.status_page}
        self._page_settings = settings
        self.alerting.follow(config.alerts)

    def _store(self) -> Store | None:
        sharing = self._node.sharing
        return None if sharing is None else sharing.store

    def _past(self) -> PastSharing | None:
        """Return what exchanges history with other nodes; None: nothing does."""
        sharing = self._node.sharing
        return None if sharing is None or not self._shares else sharing.past

    def _take(self, rows: Sequence[Row], mark: Mark) -> None:
        """Keep minutes of another node, and up to where they were taken; they are written with the next flush."""
        if not self._shares:
            return
        self.history.keep([*(Entry(row=row) for row in rows), Entry(taken=(mark.node, mark.instance, mark.at))])

    def _hear(self, node: str, document: ToldMinutes) -> None:
        """Take another node's incidents and actions; they are written with the next flush."""
        if self._shares:
            self.hearsay.hear(node, document, clock.wall())

    async def restore(self) -> None:
        """Take over the incidents that an earlier control process left open, and begin to exchange history."""
        await self._restore_incidents()
        past = self._past()
        if past is None:
            return
        try:
            async with asyncio.timeout(_RESTORE_S):
                known = await self.history.read(lambda db: db.taken())
        except (HistoryUnavailableError, TimeoutError) as error:
            sentence = "the minutes of other nodes are not taken: this node's own history cannot be read"
            logs.say(logs.WARNING, sentence, error=str(error))
            past.begin({}, lambda _rows, _mark: None, self._hear)
        else:
            past.begin({name: Mark(name, instance, at) for name, instance, at in known}, self._take, self._hear)

    async def _restore_incidents(self) -> None:
        try:
            async with asyncio.timeout(_RESTORE_S):
                bodies = await self.history.read(lambda db: db.open_incidents(_MOST_RESTORED))
                since = clock.wall() - _TELLS_LATE_S
                ended = await self.history.read(lambda db: db.incidents(since, 2**40, _MOST_RESTORED))
            found = [incidents.decode(body) for body in bodies]
            closed = [each for each in map(incidents.decode, reversed(ended)) if each.closed and not each.where]
            self.book.restore([*closed, *found])
            for incident in (*found, *filter(unfinished, closed)):
                self.alerting.take(incident)
        except (HistoryUnavailableError, TimeoutError, msgspec.MsgspecError) as error:
            logs.say(
                logs.WARNING, "incidents of before cannot be read; those that last are opened anew", error=str(error)
            )

    def poll(self, reports: Mapping[str, TargetReport], wall: float, now_ns: int) -> None:
        """Take what the last second showed; write at the end of each minute. Called once a second.

        Args:
            reports: every target that a route uses.
            wall: Unix time.
            now_ns: monotonic nanoseconds.
        """
        rows = self._minutes.look(self._node.snapshot, states_of(reports), wall)
        self.history.keep([Entry(row=row) for row in rows])
        past = self._past()
        if past is not None:
            past.offer(rows)
            if rows or self._told_ns <= now_ns:
                self._told_ns = now_ns + _TELL_NS
                past.tell(*self.hearsay.to_tell(self.book, wall))
        looks = self._lookout.looks(reports)
        changes = self.book.tick(wall, looks, self._lookout.signs(looks), self._lookout.tally(now_ns))
        for change in changes:
            self._note(change)
        self._publish(reports, wall)
        self.alerting.poll(wall)
        self.pages.tend(self._urls, self._page_settings.interval, self._page_settings.proxy, now_ns)
        if rows or now_ns >= self._again_ns:  # what could not be written is tried again every minute
            self._again_ns = now_ns + _MINUTE_NS
            for incident in self.book.open.values():  # their counts go on
                self.keep(incident)
            self.history.flush()
        elif changes:
            self.history.flush()

    def _publish(self, reports: Mapping[str, TargetReport], wall: float) -> None:
        """Write what clients may know, when it has changed, and now and then as a sign of life."""
        if self._status is None or not self._node.snapshot.public_status:
            return
        usable = {name: report.usable for name, report in reports.items()}
        until_s = {name: report.until_s for name, report in reports.items()}
        now = Now(usable, until_s, list(self.book.open.values()), wall)
        status = public_status(self._node.snapshot, now, self.book.closed)
        before = self._published
        if wall - before.updated >= _SIGN_OF_LIFE_S or (status.aliases, status.last) != (before.aliases, before.last):
            self._status.keep(status)
            self._published = status

    def acted(self, what: str, subject: str, reason: str) -> None:
        """Remember what an operator did; it stands in the timelines of the incidents that it may concern."""
        action = Action(clock.wall(), what, subject, reason, self._where, OPERATOR.get())
        self.hearsay.acted(action)
        self._remember(action)

    def followed(self, what: str, subject: str, reason: str) -> None:
        """Remember what was done for many nodes on one of them; that one tells the others.

        Where it was done it is known already, and where it was followed it is not taken from the one that tells.
        """
        action = Action(clock.wall(), what, subject, reason, self._where)
        if self.hearsay.followed(action):
            self._remember(action)

    def _remember(self, action: Action) -> None:
        self.history.keep([Entry(action=action)])
        for incident in self.book.open.values():
            if not action.subject or action.subject in incident.targets or action.what == "reload":
                who = f" by {action.by}" if action.by else ""
                why = f": {action.reason}" if action.reason else ""
                incident.tell(action.at, "operator", f"{action.what} {action.subject}".strip() + who + why)
                self.keep(incident)
        self.history.flush()

    def keep(self, incident: Incident) -> None:
        """Write an incident with the next flush."""
        body = incidents.encode(incident)
        self.history.keep([Entry(incident=(incident.id, incident.opened, incident.closed, body))])

    def _keep_now(self, incident: Incident) -> None:
        self.keep(incident)
        self.history.flush()

    async def stop(self) -> None:
        """Write the minute that has begun and the open incidents, and close the history."""
        self.history.keep([Entry(row=row) for row in self._minutes.rest(self._node.snapshot)])
        for incident in self.book.open.values():
            self.keep(incident)
        await asyncio.gather(self.pages.stop(), self.alerting.stop())
        await self.history.stop()

    def _page_changed(self, provider: str, view: PageView) -> None:
        wall = clock.wall()
        logs.say(logs.INFO, "a status page says something new", provider=provider, state=view.state, text=view.text)
        self.history.keep([Entry(said=Said(wall, provider, view.state, view.text))])
        incident = self.book.page(provider, view, wall)
        if incident is not None:
            self.keep(incident)
        self.history.flush()

    def _note(self, change: Change) -> None:
        incident = change.incident
        self.keep(incident)
        if change.step == "opened":
            logs.say(logs.WARNING, "an incident began", incident=incident.id, title=incident.title)
        elif change.step == "closed":
            lasted = round((incident.recovered or incident.closed) - incident.first_symptom)
            logs.say(logs.INFO, "an incident is over", incident=incident.id, title=incident.title, lasted_s=lasted)
        self.alerting.take(incident)


def chronicle_for(node: Node, config: Config, state_dir: str, source: str) -> Chronicle:
    """Return the chronicle that a configuration asks for.

    Args:
        node: the node as control sees it.
        config: the checked configuration.
        state_dir: folder of the stored state, "" for none.
        source: path of the configuration file, by which the default file is named.
    """
    written = config.history.path
    path = Path(written) if written else None
    if written is None and state_dir and source:
        path = Path(state_dir) / f"{name_for('history', source)}.db"
    chronicle = Chronicle(node, History(path, config.history.keep // _MINUTE_NS))
    chronicle.follow(config)
    return chronicle
