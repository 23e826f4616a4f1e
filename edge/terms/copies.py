"""Where a share of a route's requests is copied to, as a Snapshot says it."""

from __future__ import annotations

from msgspec import Struct


class Shadow(Struct, frozen=True):
    """Where a share of a route's requests is copied to."""

    route: int  # index into Snapshot.routes: a route of its own, with one target of its own, that no client can ask
    share: float
    max_inflight: int  # per worker
    methods: tuple[str, ...] = ()  # of a service
