"""Addresses in keys of a store: the value of each key under a prefix is one address.

The value is ``host:port``, or JSON as in a file (``edge.discovery.written``), or what etcd's own gRPC naming writes
(``{"Op": 0, "Addr": "host:port", "Metadata": ...}``). A key whose lease ends takes its address with it. A value that
cannot be read is left out and counted as the source's error, because one broken registrar must not stop the others.
"""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from typing import TYPE_CHECKING, Final

import msgspec

from edge import clock as real
from edge.discovery.source import Source, SourceError
from edge.discovery.written import endpoint_of
from edge.errors import CompactedError, StoreRefusedError, StoreUnavailableError

if TYPE_CHECKING:
    from collections.abc import Callable

    from edge.clock import Clock
    from edge.terms.places import Endpoint
    from edge.terms.ports import Store

# A watch in an unhealthy cluster may never deliver (edge.cluster.follow), so the keys are listed again now and then.
RELIST_S: Final = 60.0


class StoreSource(Source):
    """Follows ``etcd://PREFIX`` in a store whose keys are the whole keys of etcd.

    Args:
        url: as everywhere.
        store: the store; it belongs to the caller.
        prefix: the prefix of the keys.
        changed: as everywhere.
        known: as everywhere.
        clock: as everywhere.
    """

    def __init__(
        self,
        url: str,
        store: Store,
        prefix: str,
        changed: Callable[[str, tuple[Endpoint, ...]], None],
        *,
        known: tuple[Endpoint, ...] = (),
        clock: Clock = real,
    ) -> None:
        super().__init__(url, changed, known, clock)
        self._store = store
        self._prefix = prefix
        self._held: dict[str, bytes] = {}

    async def _follow(self) -> None:
        try:
            listing = await self._store.list(self._prefix)
            self._held = {item.key: item.value for item in listing.items}
            self._tell()
            try:
                async with asyncio.timeout(RELIST_S):
                    await self._watch(listing.revision + 1)
            except TimeoutError:
                return
        except CompactedError:
            return
        except (StoreUnavailableError, StoreRefusedError) as error:
            raise SourceError(str(error)) from error

    async def _watch(self, revision: int) -> None:
        async with aclosing(self._store.watch(self._prefix, revision)) as changes:
            async for batch in changes:
                for change in batch:
                    if change.value is None:
                        self._held.pop(change.key, None)
                    else:
                        self._held[change.key] = change.value
                if batch:
                    self._tell()
                else:
                    self.confirm()

    def _tell(self) -> None:
        found, broken = [], []
        for key, value in self._held.items():
            try:
                found.append(_endpoint(key, value))
            except SourceError as error:
                broken.append(str(error))
        self.take(found, f"{len(broken)} of {len(self._held)} keys are unusable: {broken[0]}" if broken else "")


def _endpoint(key: str, value: bytes) -> Endpoint:
    place = f"the value of {key}"
    try:
        text = value.decode()
    except UnicodeDecodeError as error:
        raise SourceError(f"{place} is not text") from error
    if not text.lstrip().startswith("{"):
        return endpoint_of(text.strip(), place)
    try:
        item = msgspec.json.decode(value)
    except msgspec.DecodeError as error:
        raise SourceError(f"{place} is not valid JSON: {error}") from error
    if "Addr" in item and "address" not in item:
        item = {"address": item["Addr"]}
    return endpoint_of(item, place)
