"""What went wrong, whose doing is it, and is it worth trying again?  The one error tree of the Python side.

Every error of ours says three things besides its sentence, so that nobody has to guess from a class name:

``kind``    a short stable word for logs, metrics and answers
``source``  who can mend it: the ``client``, this ``edge``, another ``region``, or a ``provider``
``retry``   ``no``, ``same`` (again, here, later), ``elsewhere`` (another target), ``if_reused`` (only when the
            connection had been used before, so that its end proves nothing about the target)

Errors of third parties are mapped to these at the seam where they arise. The data path has no exceptions: its words are
the outcomes in ``edge.balance.outcomes``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

if TYPE_CHECKING:
    from collections.abc import Sequence

Source = Literal["client", "edge", "region", "provider"]
Retry = Literal["no", "same", "elsewhere", "if_reused"]


class EdgeError(Exception):
    """The root. ``str(error)`` is one sentence for people, with the remedy where there is one."""

    kind: ClassVar[str] = "internal"
    source: ClassVar[Source] = "edge"
    retry: ClassVar[Retry] = "no"


class ConfigInvalidError(EdgeError):
    """A configuration that cannot be used; nothing of it is applied. ``problems`` holds one sentence each."""

    kind = "config_invalid"

    def __init__(self, problems: Sequence[str]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(self.problems))


class AddressTakenError(EdgeError):
    """A listener cannot have its address: it is in use, not ours, or not allowed."""

    kind = "address_taken"
    retry = "same"


class NodeUnreachableError(EdgeError):
    """The node that a command wants to ask does not answer on its admin address."""

    kind = "node_unreachable"
    retry = "same"


class StoreUnavailableError(EdgeError):
    """The shared store did not do it: nobody answered, no majority, no room. It may have done it all the same."""

    kind = "store_unavailable"
    retry = "same"


class StoreRefusedError(EdgeError):
    """The shared store refuses us: credentials, certificates or rights."""

    kind = "store_refused"


class CompactedError(EdgeError):
    """A watch asked for history that the store has forgotten; list again."""

    kind = "store_compacted"
    retry = "same"


class LeaseGoneError(EdgeError):
    """A lease has run out, and its keys with it; take a new one and write again."""

    kind = "lease_gone"
    retry = "same"
