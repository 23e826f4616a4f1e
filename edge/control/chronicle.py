"""What control remembers of the node: it hands traffic per minute and operators' actions to the history."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

from edge import clock
from edge.control.kept_file import name_for
from edge.incidents.database import Action
from edge.incidents.history import Entry, History
from edge.incidents.minutes import MinuteBook
from edge.regions.digest import name_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from edge.config.schema import Config
    from edge.native import SharedState
    from edge.terms.snapshot import Snapshot

_S: Final = 1_000_000_000
_MINUTE_NS: Final = 60 * _S


class Chronicle:
    """Writes the history of one node.

    Args:
        shared_state: the node's shared state, whose counters become minutes.
        history: where they are written.
        where: REGION/NODE, the place of actions.
    """

    def __init__(self, shared_state: SharedState, history: History, where: str) -> None:
        self.history = history
        self._where = where
        self._book = MinuteBook(
            lambda slot: shared_state.read_target(slot, clock.now_ns()),
            shared_state.read_route,
        )
        self._again_ns = 0

    def poll(self, snapshot: Snapshot, states: Mapping[str, str], wall: float, now_ns: int) -> None:
        """Take what the last second showed; write at the end of each minute. Called once a second.

        Args:
            snapshot: names targets and routes.
            states: label of the state of each target that a route uses.
            wall: Unix time.
            now_ns: monotonic nanoseconds.
        """
        rows = self._book.look(snapshot, states, wall)
        self.history.keep([Entry(row=row) for row in rows])
        if rows or now_ns >= self._again_ns:  # what could not be written is tried again every minute
            self._again_ns = now_ns + _MINUTE_NS
            self.history.flush()

    def acted(self, what: str, subject: str, reason: str) -> None:
        """Remember what an operator did."""
        self.history.keep([Entry(action=Action(clock.wall(), what, subject, reason, self._where))])
        self.history.flush()

    async def stop(self, snapshot: Snapshot) -> None:
        """Write the minute that has begun, and close the history."""
        self.history.keep([Entry(row=row) for row in self._book.rest(snapshot)])
        await self.history.stop()


def chronicle_for(
    shared_state: SharedState, config: Config, snapshot: Snapshot, state_dir: str, source: str
) -> Chronicle:
    """Return the chronicle that a configuration asks for.

    Args:
        shared_state: the node's shared state.
        config: the checked configuration.
        snapshot: names the node.
        state_dir: folder of the stored state, "" for none.
        source: path of the configuration file, by which the default file is named.
    """
    written = config.history.path
    path = Path(written) if written else None
    if written is None and state_dir and source:
        path = Path(state_dir) / f"{name_for('history', source)}.db"
    history = History(path, config.history.keep // _MINUTE_NS)
    return Chronicle(shared_state, history, name_of(snapshot.region, snapshot.node))
