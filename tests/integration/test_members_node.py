"""A whole node gives each member of a group limits of its own, over its workers and over restarts."""

from __future__ import annotations

import asyncio
import signal
import time
from typing import TYPE_CHECKING, Any

from issuer import NAME, Issuer
from nodes import RunningNode, chat_config, quick_provider
from soon import until

if TYPE_CHECKING:
    from pathlib import Path


def configured(url: str, issuer: Issuer) -> dict[str, Any]:
    """Return a configuration of a group whose members have six requests at once, and a budget."""
    each = {"requests_per_minute": 60, "budget": 5}
    config = chat_config(url)
    config["providers"]["p0"]["prices"] = {"*": {"input": 1000, "output": 1000}}
    auth = {"jwt": [{"issuer": NAME, "jwks": f"{issuer.url}/keys", "audience": "edge"}]}
    return {**config, "auth": auth, "keys": [{"name": "research", "groups": ["research"], "each": each}]}


async def status(node: RunningNode, token: str) -> int:
    """Ask with a token; return the status."""
    return (await node.ask({"Authorization": f"Bearer {token}"})).status


async def usage(node: RunningNode) -> dict[str, dict[str, Any]]:
    """Return what each caller has used, by its name."""
    return {each["name"]: each for each in (await node.get("/api/keys"))[1]["keys"]}


async def known(node: RunningNode, name: str, token: str) -> None:
    """Ask until the member has a record at both workers."""
    end = time.monotonic() + 20
    while name not in await usage(node):
        assert time.monotonic() < end
        await status(node, token)


async def answered(node: RunningNode, token: str) -> None:
    """Ask until the member is answered: becoming known may have used up its burst; one a second comes back."""
    end = time.monotonic() + 10
    while await status(node, token) != 200:
        assert time.monotonic() < end
        await asyncio.sleep(0.5)


async def test_members_are_bounded_by_themselves(tmp_path: Path) -> None:
    """One member is over its limit and the other is not; what each has spent survives control and the node."""
    async with Issuer() as issuer, quick_provider() as provider:
        ann, bob = (issuer.token(sub=name, groups=["research"]) for name in ("ann", "bob"))
        config = configured(provider.url, issuer)
        async with RunningNode(tmp_path, config, "--workers", "2") as node:
            await known(node, "research/ann", ann)
            await known(node, "research/bob", bob)
            seen = await asyncio.gather(*(status(node, ann) for _ in range(30)))
            assert {200, 429} >= set(seen) >= {429}
            assert seen.count(200) <= 8
            await answered(node, bob)
            spent = (await usage(node))["research/ann"]["spent"]
            assert spent > 0
            before = node.children()["control"]
            node.tell(signal.SIGKILL, "control")
            await until(lambda: node.children().get("control", before) != before)
            await node.ready_with(2)
            assert (await usage(node))["research/ann"]["spent"] == spent
        async with RunningNode(tmp_path, config, "--workers", "2") as node:
            await known(node, "research/ann", ann)
            assert (await usage(node))["research/ann"]["spent"] >= spent
