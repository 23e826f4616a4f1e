"""Addresses in keys of a store, in memory and in real etcd: registrars come, go, and break."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from soon import until

from edge.discovery.store import StoreSource

if TYPE_CHECKING:
    from worlds import InEtcd, InMemory

    from edge.terms.places import Endpoint


async def test_registered_addresses_come_and_go(world: InMemory | InEtcd) -> None:
    """Each key is an address, plain, as JSON, or as etcd's own naming writes it; a lease takes its address with it."""
    store, registrar = world.client(), world.client()
    sets: list[tuple[Endpoint, ...]] = []
    await registrar.put("services/web/a", b"10.0.0.1:80")
    source = StoreSource("etcd://services/web/", store, "services/web/", lambda _, found: sets.append(found))
    task = asyncio.create_task(source.run())

    def now() -> set[str]:
        return {endpoint.address for endpoint in source.endpoints}

    try:
        await until(lambda: now() == {"10.0.0.1:80"})
        lease = await registrar.grant(60)
        await registrar.put("services/web/b", b'{"address": "10.0.0.2:80", "weight": 2}', lease=lease)
        await registrar.put("services/web/c", b'{"Op": 0, "Addr": "10.0.0.3:80", "Metadata": null}')
        await registrar.put("services/other", b"10.9.9.9:80")
        await until(lambda: now() == {"10.0.0.1:80", "10.0.0.2:80", "10.0.0.3:80"})
        await registrar.revoke(lease)
        await until(lambda: now() == {"10.0.0.1:80", "10.0.0.3:80"})
        await registrar.put("services/web/d", b"\xff")
        await until(lambda: "1 of 3 keys are unusable: the value of services/web/d" in source.state().error)
        assert now() == {"10.0.0.1:80", "10.0.0.3:80"}
        for key in ("a", "c", "d"):
            await registrar.delete(f"services/web/{key}")
        await until(lambda: "names no address" in source.state().error)
        assert now()  # the last ones stay
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
