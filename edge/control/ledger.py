"""The ledger: what control hands to its successor besides Snapshot and shared state.

The ledger is a memory cell. The supervisor writes it before it starts control; afterwards only control does.
"""

from __future__ import annotations

from msgspec import Struct, field

from edge.config.schema import Config  # noqa: TC001  # msgspec reads the annotation at run time
from edge.terms.credentials import ProviderToken  # noqa: TC001  # as above
from edge.terms.places import Endpoint  # noqa: TC001  # as above
from edge.terms.snapshot import SigningKeys  # noqa: TC001  # as above

Mark = tuple[int, int, int, int]
"""Identity of a file's content: mtime in nanoseconds, size, inode, device."""


class Reloads(Struct, frozen=True):
    """Outcomes of the reloads so far. Times are Unix seconds, 0: never."""

    applied: int = 0
    refused: int = 0
    last_applied: float = 0.0
    last_refused: float = 0.0
    problems: tuple[str, ...] = ()  # of the last refused reload; empty again once a later one was applied


class ByHand(Struct, frozen=True):
    """A manual override of a target: ``code`` as in the shared state (1 drain, 2 eject), and its Unix time ``since``.

    ``by`` is the REGION/NODE that applied it to all regions; "" = it was applied on this node, to this node alone.
    """

    code: int
    reason: str
    since: float
    by: str = ""


class WeightByHand(Struct, frozen=True):
    """A weight that an operator has set, since the Unix time ``since``; ``by`` as of an override."""

    weight: float
    reason: str
    since: float
    by: str = ""


class Ledger(Struct, frozen=True):
    """The configuration in force, its source, and the changes by operators since."""

    config: Config
    source: str = ""  # absolute path of the file; "" = the environment, or simulated
    mark: Mark | None = None  # of the file when it was last read, whether or not it was valid
    started_from: float | None = None  # Unix time of the stored state in force, if the file was not usable at the start
    reloads: Reloads = Reloads()
    found: dict[str, tuple[Endpoint, ...]] = field(default_factory=dict)  # addresses that the stored state knew
    signing: dict[str, SigningKeys] = field(default_factory=dict)  # signing keys that the stored state knew
    tokens: dict[str, ProviderToken] = field(default_factory=dict)  # tokens of providers that the stored state knew
    secret_files: tuple[str, ...] = ()  # that the configuration takes secrets from
    by_hand: dict[str, ByHand] = field(default_factory=dict)
    overruled: dict[str, float] = field(default_factory=dict)  # target -> ``since`` of the global override undone here
    weights: dict[str, WeightByHand] = field(default_factory=dict)
    unweighed: dict[str, float] = field(default_factory=dict)  # target -> ``since`` of the shared weight undone here
