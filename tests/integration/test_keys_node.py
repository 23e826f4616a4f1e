"""Keys of a whole node hold over reloads, restarts and a dead control, and spending is kept."""

from __future__ import annotations

import asyncio
import signal
from typing import TYPE_CHECKING, Any

import aiohttp
import msgspec
import pytest
from nodes import CHAT, KEY, RunningNode, chat_config

from edge.admission.keys import new_key, sha256_of
from edge.cli.main import main
from edge.sim.asked import Pace
from edge.sim.provider import ProviderSpec, SimProvider

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

ADDRESSES = {"listen": [{"address": "127.0.0.1:0"}], "admin": {"address": "127.0.0.1:0"}}
A, B, C = new_key(), new_key(), new_key()


@pytest.fixture
async def provider() -> AsyncIterator[SimProvider]:
    """A provider that answers at once."""
    pace = Pace(ttft_s=0.0, tps=0.0, tokens=8)
    async with SimProvider(ProviderSpec(name="p0", pace=pace, key=KEY)) as running:
        yield running


def configured(provider: SimProvider, **keys: dict[str, Any]) -> dict[str, Any]:
    """Return a configuration with these keys; a token of the provider costs a dollar."""
    config = chat_config(provider.url)
    config["providers"]["p0"]["prices"] = {"*": {"input": 100_000, "output": 100_000}}
    return {**config, "keys": [{"name": name, **bounds} for name, bounds in keys.items()]}


async def ask(node: RunningNode, key: str | None, **more: Any) -> tuple[int, Any]:
    """Ask once with this key; return status and JSON."""
    fields = {"authorization": f"Bearer {key}"} if key else {}
    async with (
        aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=60)) as client,
        client.post(f"{node.url}/v1/chat/completions", json={**CHAT, **more}, headers=fields) as answer,
    ):
        return answer.status, await answer.json()


async def reported(node: RunningNode, name: str) -> dict[str, Any]:
    """Return the report of a key from ``/api/keys``."""
    _, told = await node.get("/api/keys")
    return next(key for key in told["keys"] if key["name"] == name)


async def reload(node: RunningNode, folder: Path, config: dict[str, Any]) -> None:
    """Write the file and wait until it applies."""
    (folder / "edge.yaml").write_bytes(msgspec.json.encode({**ADDRESSES, **config}))
    status, said = await node.send("POST", "/api/reload")
    assert status == 200, said


async def test_what_was_spent_stays_spent(tmp_path: Path, provider: SimProvider) -> None:
    """A restarted node knows the spending of its keys, refuses a key over its budget, and says so."""
    config = configured(provider, a={"sha256": sha256_of(A), "budget": 0.5}, b={"sha256": sha256_of(B)})
    async with RunningNode(tmp_path, config, "--workers", "2") as node:
        status, answered = await ask(node, A)
        assert status == 200
        dollars = answered["usage"]["total_tokens"] * 0.1
        assert (await reported(node, "a"))["spent"] == pytest.approx(dollars)
        assert (await ask(node, A))[0] == 429
        assert (await ask(node, B))[0] == 200
        node.tell(signal.SIGTERM)
        assert await node.status() == 0
    (file,) = (tmp_path / "state").glob("spend-*")
    assert file.stat().st_mode & 0o777 == 0o600
    assert A.encode() not in file.read_bytes()
    async with RunningNode(tmp_path, config, "--workers", "2") as node:
        status, refused = await ask(node, A)
        assert (status, refused["error"]["code"]) == (429, "insufficient_quota")
        assert (await ask(node, B))[0] == 200
        report = await reported(node, "a")
        assert (report["spent"], report["refused"]["budget"]) == (pytest.approx(dollars), 1)


async def test_keys_come_and_go_with_reloads(tmp_path: Path, provider: SimProvider) -> None:
    """A removed key is refused from the reload on; a new secret under an old name keeps the use of the old one."""
    async with RunningNode(tmp_path, configured(provider, a={"sha256": sha256_of(A)}), "--workers", "2") as node:
        assert [(await ask(node, key))[0] for key in (A, B, None)] == [200, 401, 401]
        await reload(node, tmp_path, configured(provider, a={"sha256": sha256_of(A)}, b={"sha256": sha256_of(B)}))
        assert [(await ask(node, key))[0] for key in (A, B)] == [200, 200]
        await reload(node, tmp_path, configured(provider, a={"sha256": sha256_of(C)}))
        assert [(await ask(node, key))[0] for key in (A, B, C)] == [401, 401, 200]
        assert (await reported(node, "a"))["admitted"] == 3
        await reload(node, tmp_path, configured(provider))
        assert [(await ask(node, key))[0] for key in (A, None)] == [200, 200]
        log = node.log()
    for secret in (A, B, C, sha256_of(A), sha256_of(B), sha256_of(C)):
        assert secret not in log


async def test_keys_hold_while_control_is_dead(tmp_path: Path, provider: SimProvider) -> None:
    """With control stopped, workers still accept the right key and refuse a wrong one."""
    config = configured(provider, a={"sha256": sha256_of(A), "concurrent": 5})
    async with RunningNode(tmp_path, config, "--workers", "2") as node:
        node.tell(signal.SIGSTOP, "control")
        try:
            statuses = await asyncio.gather(*(ask(node, key) for key in (A, B, A, None)))
        finally:
            node.tell(signal.SIGCONT, "control")
        assert [status for status, _ in statuses] == [200, 401, 200, 401]


async def test_status_shows_what_the_node_counted(
    tmp_path: Path, provider: SimProvider, capsys: pytest.CaptureFixture[str]
) -> None:
    """`edge keys status` has the totals of all workers, refusals included."""
    key = {"sha256": sha256_of(A), "requests_per_minute": 1, "requests_burst": 3, "priority": "high"}
    async with RunningNode(tmp_path, configured(provider, a=key), "--workers", "2") as node:
        statuses = [(await ask(node, A))[0] for _ in range(4)]
        assert statuses == [200, 200, 200, 429]
        report = await reported(node, "a")
        assert report["admitted"] == statuses.count(200)
        assert report["refused"]["requests"] == statuses.count(429)
        assert report["requests"]["limit"] == 1
        assert await asyncio.to_thread(main, ["keys", "status", "--admin", node.admin, "--token", ""]) == 0
        said = capsys.readouterr().out
    assert "a" in said.split()
    assert "(1/min)" in said
