"""A whole node signs with keys that its machine gives out: they are rotated under load, and their source goes dark."""

from __future__ import annotations

import asyncio
import datetime as dt
import time
from collections import Counter
from typing import TYPE_CHECKING, Any

from aiohttp import web
from msgspec import structs
from nodes import RunningNode, edge, quick_provider
from soon import until
from token_endpoint import TokenEndpoint

from edge.sim.asked import Pace
from edge.sim.provider import ProviderSpec, SimProvider
from edge.sim.signatures import Identity

if TYPE_CHECKING:
    from pathlib import Path


class Machine:
    """The credential endpoint of a container: keys of ``lasts_s`` that a provider takes until their end."""

    def __init__(self, endpoint: TokenEndpoint, provider: SimProvider, lasts_s: float) -> None:
        self._provider = provider
        self.lasts_s = lasts_s
        self.dark = False
        self.given: list[Identity] = []
        self.url = f"{endpoint.url}/keys"
        endpoint.answers["/keys"] = self._answer

    async def _answer(self, request: web.Request) -> web.Response:
        if self.dark or request.headers.get("authorization") != "pod-proof-0123456789":
            return web.Response(status=503)
        number = len(self.given)
        expires = int(time.time() + self.lasts_s)
        self.given.append(Identity(f"ASIA{number:016d}", f"secret-key-{number:030d}", f"session-{number:08d}", expires))
        self._provider.spec = structs.replace(self._provider.spec, aws=tuple(self.given))
        ends = dt.datetime.fromtimestamp(expires, dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        last = self.given[-1]
        said = {"AccessKeyId": last.access, "SecretAccessKey": last.secret, "Token": last.session, "Expiration": ends}
        return web.json_response(said)

    @property
    def environ(self) -> dict[str, str]:
        """What a container has in its environment."""
        return {
            "AWS_CONTAINER_CREDENTIALS_FULL_URI": self.url,
            "AWS_CONTAINER_AUTHORIZATION_TOKEN": "pod-proof-0123456789",
            "HOME": "/nonexistent",
        }


def config(provider: SimProvider, spare: str) -> dict[str, Any]:
    """Return a configuration with the signed provider first, and a spare."""
    auth = {"type": "aws_sigv4"}
    return {
        "providers": {
            "aws": {"kind": "bedrock", "region": "eu-west-1", "base_url": f"{provider.url}/openai/v1", "auth": auth},
            "spare": {"base_url": f"{spare}/v1", "api_key": "sk-integration-0123456789"},
        },
        "models": {"chat": {"targets": ["aws/m", {"target": "spare/sim-small", "tier": 2}]}},
    }


async def asked(node: RunningNode) -> tuple[int, str]:
    """Ask; return the status and the target that answered."""
    answer = await node.ask()
    return answer.status, answer.headers.get("x-edge-target", "")


async def test_keys_are_rotated_under_load_and_shown_nowhere(tmp_path: Path) -> None:
    """No request fails or goes elsewhere while keys of some seconds are renewed; nothing shows one."""
    unknown = Identity("nobody", "x")
    pace = Pace(ttft_s=0.005, tps=10_000)
    async with (
        TokenEndpoint() as endpoint,
        SimProvider(ProviderSpec(name="aws", aws=(unknown,), pace=pace)) as provider,
        quick_provider() as spare,
    ):
        machine = Machine(endpoint, provider, lasts_s=6)
        async with RunningNode(
            tmp_path, config(provider, spare.url), "--workers", "1", environ=machine.environ
        ) as node:
            ends = time.monotonic() + 20
            answers: Counter[tuple[int, str]] = Counter()

            async def load() -> None:
                while len(machine.given) < 4 and time.monotonic() < ends:
                    answers[await asked(node)] += 1

            await asyncio.gather(load(), load(), load())
            assert len(machine.given) >= 4
            assert set(answers) == {(200, "aws/m")}
            assert set(provider.stats()["by_status"]) == {"200"}
            told = [await node.get(path) for path in ("/api/snapshot", "/api/node", "/api/targets", "/metrics")]
            shown = edge("config", "show", "-c", str(tmp_path / "edge.yaml")).stdout
            for text in (*map(str, told), shown, node.log(), node.out()):
                for keys in machine.given:
                    assert keys.secret not in text
                    assert keys.session not in text
                assert "pod-proof" not in text


async def test_a_source_that_is_dark(tmp_path: Path) -> None:
    """The last keys serve until they end. Then another target answers, and status and record say what is missing."""
    async with (
        TokenEndpoint() as endpoint,
        SimProvider(ProviderSpec(name="aws", aws=(Identity("nobody", "x"),))) as provider,
        quick_provider() as spare,
    ):
        machine = Machine(endpoint, provider, lasts_s=6)
        async with RunningNode(
            tmp_path, config(provider, spare.url), "--workers", "1", environ=machine.environ
        ) as node:
            assert await asked(node) == (200, "aws/m")
            machine.dark = True
            while time.time() < machine.given[-1].expires - 1:
                assert await asked(node) == (200, "aws/m")
                await asyncio.sleep(0.05)  # the load of a quiet service
            await until(lambda: time.time() > machine.given[-1].expires)
            assert await asked(node) == (200, "spare/sim-small")
            status = edge("status", "--admin", node.admin).stdout
            assert "the token of provider aws (aws_sigv4) cannot be fetched" in status
            assert (await node.target("aws/m"))["state"] == "quarantined"
            machine.dark = False
            limit = time.monotonic() + 20
            while (answer := await asked(node)) != (200, "aws/m"):
                assert time.monotonic() < limit, answer
            assert "403" not in provider.stats()["by_status"]
