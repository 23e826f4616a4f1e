"""etcd's keys are listed in pages, at one revision, whatever happens to them meanwhile."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from edge.cluster import etcd as module
from edge.terms.ports import Write

if TYPE_CHECKING:
    from worlds import InEtcd


@pytest.mark.parametrize("number", [0, 1, 3, 6, 7])
async def test_all_pages_are_of_one_revision(etcd: InEtcd, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    """Keys that are written or deleted between two pages are listed as they were when the first was read."""
    monkeypatch.setattr(module, "PER_PAGE", 3)
    store, other = etcd.client(), etcd.client()
    if number:
        await store.txn((), [Write(f"pages/{place:02d}", b"before") for place in range(number)])
    await store.put("pagesbehind", b"another prefix")
    ask = store._ask

    async def late(call: object, request: object, **more: object) -> object:
        answer = await ask(call, request, **more)  # type: ignore[arg-type]  # passed on
        await other.put("pages/00", b"after")
        await other.delete("pages/05")
        await other.put("pages/99", b"after")
        return answer

    monkeypatch.setattr(store, "_ask", late)
    listing = await store.list("pages/")
    assert [(item.key, item.value) for item in listing.items] == [
        (f"pages/{place:02d}", b"before") for place in range(number)
    ]
    monkeypatch.setattr(store, "_ask", ask)
    again = await store.list("pages/")
    assert again.revision > listing.revision
