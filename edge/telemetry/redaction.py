"""What of a Snapshot must not stand in a log line."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edge.telemetry import logs

if TYPE_CHECKING:
    from edge.terms.snapshot import Snapshot


def redact_snapshot(snapshot: Snapshot, now: float) -> None:
    """Keep every secret of a Snapshot out of this process's log; ``now`` is Unix time."""
    logs.redact(value for target in snapshot.targets for name, value in target.fields if name != target.renewed)
    logs.redact(target.proxy_credentials for target in snapshot.targets)
    if snapshot.peers is not None:
        logs.redact([snapshot.peers.token])
    for token in snapshot.tokens.values():
        for secret in token.secrets:
            logs.redact_until(secret, token.expires, now)
