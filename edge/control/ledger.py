"""Holds what control's successor must know that is neither in the Snapshot nor in the shared state.

The ledger is a cell: the supervisor writes it once before the start, afterwards control alone.
"""

from __future__ import annotations

from msgspec import Struct, field

from edge.config.schema import Config  # noqa: TC001  # msgspec reads the annotation at run time

Mark = tuple[int, int, int, int]
"""By what a file is known to be another: mtime in nanoseconds, size, inode, device."""


class Reloads(Struct, frozen=True):
    """What came of the reloads so far. Times are Unix seconds, 0: never."""

    applied: int = 0
    refused: int = 0
    last_applied: float = 0.0
    last_refused: float = 0.0
    problems: tuple[str, ...] = ()  # of the last refused one; empty again once a later one was applied


class ByHand(Struct, frozen=True):
    """What a person did to a target: ``code`` as on the shared state (1 drain, 2 eject), and since when (Unix seconds).

    ``by``: REGION/NODE where it was done for all regions; "" = here, for this node alone.
    """

    code: int
    reason: str
    since: float
    by: str = ""


class Ledger(Struct, frozen=True):
    """The configuration that holds, where it is from, and what people did since."""

    config: Config
    source: str = ""  # absolute path of the file; "" = the environment, or simulated
    mark: Mark | None = None  # of the file when it was last read, whatever came of that
    started_from: float | None = None  # Unix time of the state on disk that holds for want of a usable file
    reloads: Reloads = Reloads()
    by_hand: dict[str, ByHand] = field(default_factory=dict)
    overruled: dict[str, float] = field(default_factory=dict)  # done for all at that time, and undone here
