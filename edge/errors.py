"""The error classes of the Python side.

Every error class carries three facts besides its message, so that callers need not infer them from the class:

``kind``    a short, stable word for logs, metrics and responses
``source``  who can fix it: the ``client``, this ``edge``, another ``region``, or a ``provider``
``retry``   ``no``, ``same`` (later, at the same place), ``elsewhere`` (another target) or ``if_reused`` (only if the
            connection had been used before, because then its end says nothing about the target)

Third-party exceptions are mapped to these classes where they arise. The data path raises no exceptions; it reports the
outcomes that ``edge.balance.outcomes`` lists.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

if TYPE_CHECKING:
    from collections.abc import Sequence

Source = Literal["client", "edge", "region", "provider"]
Retry = Literal["no", "same", "elsewhere", "if_reused"]


class EdgeError(Exception):
    """Base class. ``str(error)`` is one sentence for people, with the remedy where there is one."""

    kind: ClassVar[str] = "internal"
    source: ClassVar[Source] = "edge"
    retry: ClassVar[Retry] = "no"


class ConfigInvalidError(EdgeError):
    """The configuration is invalid, and none of it is applied. ``problems`` holds one sentence per problem."""

    kind = "config_invalid"

    def __init__(self, problems: Sequence[str]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(self.problems))


class DrillError(EdgeError):
    """A drill cannot be played as asked; the text says why, and what to do."""

    kind = "drill"


class AddressTakenError(EdgeError):
    """A listener cannot bind its address: it is in use, does not belong to this host, or is not permitted."""

    kind = "address_taken"
    retry = "same"


class NodeUnreachableError(EdgeError):
    """The node that a command addresses does not answer on its admin address."""

    kind = "node_unreachable"
    retry = "same"


class StoreUnavailableError(EdgeError):
    """The store did not confirm the call: no answer, no majority or no space. The call may have taken effect."""

    kind = "store_unavailable"
    retry = "same"


class StoreRefusedError(EdgeError):
    """The store refused the call: credentials, certificates or permissions."""

    kind = "store_refused"


class CompactedError(EdgeError):
    """A watch asked for history that the store no longer has; list again."""

    kind = "store_compacted"
    retry = "same"


class LeaseGoneError(EdgeError):
    """A lease has expired, and its keys with it; grant a new one and write the keys again."""

    kind = "lease_gone"
    retry = "same"
