"""Limits of every store; the in-memory store holds those of etcd too, so that tests against it are meaningful."""

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
    """Raise ValueError for a key that a store cannot hold; such a key is a defect of the caller."""
    if not 0 < len(key) <= LONGEST_KEY:
        raise ValueError(f"a key has 1 to {LONGEST_KEY} characters, not {len(key)}")


def check_value(key: str, value: bytes) -> None:
    """Raise ValueError for a value that is too large for a store."""
    if len(value) > LARGEST_VALUE:
        raise ValueError(f"the value of {key} has {len(value)} bytes; a store takes at most {LARGEST_VALUE}")


def check_ttl(ttl_s: float) -> None:
    """Raise ValueError for a lease without an end, or with none of a duration."""
    if not 0 < ttl_s <= LONGEST_TTL_S:
        raise ValueError(f"a lease lasts more than 0 and at most {LONGEST_TTL_S} seconds, not {ttl_s}")


def check_txn(conditions: Sequence[Unchanged], writes: Sequence[Write]) -> None:
    """Raise ValueError for a transaction that is too large, or that writes a key twice."""
    if max(len(conditions), len(writes)) > MOST_WRITES:
        raise ValueError(f"a transaction has at most {MOST_WRITES} conditions and {MOST_WRITES} writes")
    for condition in conditions:
        check_key(condition.key)
    for write in writes:
        check_key(write.key)
        check_value(write.key, write.value or b"")
    if len({write.key for write in writes}) != len(writes):
        raise ValueError("a transaction must not write a key twice")
