"""The scores of the drill ``thousand-nodes``, beside the same drill with a tenth of the nodes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from msgspec import Struct

from edge.drills.scores import Score

if TYPE_CHECKING:
    from edge.drills.nodes import Shown

NAME: Final = "thousand-nodes"
TITLE: Final = "A thousand nodes in twenty regions, while a provider dies and a region lies"
SAYS: Final = (
    "Every node samples its targets and writes its digest into a store in memory. One node of each region follows the "
    "store, surveys the regions and passes verdicts. A provider dies everywhere, trials fail for ten seconds, and it "
    "comes back. One region claims all the time that a healthy provider is dead."
)
FEWER: Final = 10
"""The drill is played again with one in so many nodes, which must write as often each."""
QUIET_MOST: Final = 0.25
BUSY_MOST: Final = 1.0
LAG_MOST_S: Final = 2.5
GAVE_BACK_MOST_S: Final = 15.0


class NodesReport(Struct, frozen=True):
    """The drill as it was played."""

    drill: str
    title: str
    says: str
    scores: tuple[Score, ...]
    shown: Shown
    fewer: Shown

    @property
    def met(self) -> bool:
        """Whether every floor holds."""
        return all(score.met is not False for score in self.scores)


def report(shown: Shown, fewer: Shown) -> NodesReport:
    """Return the report of a drill and of its smaller twin."""
    return NodesReport(NAME, TITLE, SAYS, tuple(_scores(shown, fewer)), shown, fewer)


def _scores(shown: Shown, fewer: Shown) -> list[Score]:
    once = shown.regions
    size = shown.written_per_s / 1000
    return [
        Score(
            "writes a second and node while nothing changes",
            f"{shown.quiet_rate:.2f}; {fewer.quiet_rate:.2f} with {fewer.nodes:,} nodes",
            f"at most {QUIET_MOST}, and the same however many there are",
            shown.quiet_rate <= QUIET_MOST and _alike(shown.quiet_rate, fewer.quiet_rate),
        ),
        Score(
            "... while circuits open and trials fail",
            f"{shown.busy_rate:.2f}; {fewer.busy_rate:.2f} with {fewer.nodes:,} nodes",
            f"at most {BUSY_MOST:g}, and the same",
            shown.busy_rate <= BUSY_MOST and _alike(shown.busy_rate, fewer.busy_rate),
        ),
        Score(
            "... of the node that writes most",
            f"{shown.busiest_rate:.2f}",
            f"at most {BUSY_MOST:g}",
            shown.busiest_rate <= BUSY_MOST,
        ),
        Score("written into the store meanwhile", f"{size:,.0f} KB a second"),
        Score(
            "first open circuit to a lower failure threshold in every region",
            f"median {shown.hearsay_s[0]:.2f} s, last {shown.hearsay_s[1]:.2f} s",
            f"at most {LAG_MOST_S:g} s",
            shown.hearsay_s[1] <= LAG_MOST_S,
        ),
        Score(
            "most regions failing to the verdict in every region",
            f"median {shown.lag_s[0]:.2f} s, last {shown.lag_s[1]:.2f} s",
            f"at most {LAG_MOST_S:g} s",
            shown.lag_s[1] <= LAG_MOST_S,
        ),
        Score(
            "verdicts begun and ended, over all regions",
            f"{shown.begun} and {shown.ended}",
            f"{once} and {once}: no flapping",
            shown.begun == shown.ended == once,
        ),
        Score(
            "most regions healed to the last full weight",
            f"{shown.recovered_s:.2f} s" if shown.recovered_s >= 0 else f"{-shown.recovered_s:.2f} s before",
            f"at most {GAVE_BACK_MOST_S:g} s",
            shown.recovered_s <= GAVE_BACK_MOST_S,
        ),
        Score(
            "weight of the slandered provider, lowest",
            f"{shown.slander[0]:g}, failure threshold {shown.slander[1] or 'unchanged'}",
            "1: one region takes no traffic from it",
            shown.slander[0] == 1,
        ),
        Score(
            "a shared limit, granted together by the nodes that conclude",
            f"{shown.granted[0]:,.0f} to {shown.granted[1]:,.0f} of {shown.limit:,.0f} a minute, {shown.moves:,} moves",
            "never more than the limit",
            shown.granted[1] <= shown.limit,
        ),
    ]


def _alike(one: float, other: float) -> bool:
    return abs(one - other) <= 0.1 * max(one, other)
