"""What may be asked of any store?  The bounds that etcd has, held by all, so that a test in memory means something."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edge.terms.ports import Unchanged, Write

MOST_WRITES: Final = 128  # --max-txn-ops
LARGEST_VALUE: Final = 1024**2  # --max-request-bytes is 1.5 MiB, keys and framing included
LONGEST_KEY: Final = 4096
LONGEST_TTL_S: Final = 1_000_000


def check_key(key: str) -> None:
    """Refuse a key that a store cannot hold: ValueError, for it is a defect of the caller."""
    if not 0 < len(key) <= LONGEST_KEY:
        raise ValueError(f"a key has 1 to {LONGEST_KEY} characters, not {len(key)}")


def check_value(key: str, value: bytes) -> None:
    """Refuse a value that a store cannot hold."""
    if len(value) > LARGEST_VALUE:
        raise ValueError(f"the value of {key} has {len(value)} bytes; a store takes at most {LARGEST_VALUE}")


def check_ttl(ttl_s: float) -> None:
    """Refuse a lease without an end, or that never began."""
    if not 0 < ttl_s <= LONGEST_TTL_S:
        raise ValueError(f"a lease lasts more than 0 and at most {LONGEST_TTL_S} seconds, not {ttl_s}")


def check_txn(conditions: Sequence[Unchanged], writes: Sequence[Write]) -> None:
    """Refuse a transaction that a store cannot make: too long, or one key written twice."""
    if max(len(conditions), len(writes)) > MOST_WRITES:
        raise ValueError(f"a transaction has at most {MOST_WRITES} conditions and {MOST_WRITES} writes")
    for condition in conditions:
        check_key(condition.key)
    for write in writes:
        check_key(write.key)
        check_value(write.key, write.value or b"")
    if len({write.key for write in writes}) != len(writes):
        raise ValueError("a transaction writes each key once")
