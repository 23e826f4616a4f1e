"""A whole node calls a provider with tokens that it fetches: they expire, are revoked, and are never shown."""

from __future__ import annotations

import signal
import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from aiohttp import web
from nodes import RunningNode, edge, quick_provider
from soon import until
from token_endpoint import TokenEndpoint

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path


class Strict:
    """A provider that takes the tokens of an endpoint while they last, and none of ``revoked``."""

    def __init__(self, endpoint: TokenEndpoint) -> None:
        self._endpoint = endpoint
        self._until: dict[str, float] = {}
        self.revoked: set[str] = set()
        self.used: set[str] = set()
        self.refused = 0
        self.url = ""

    async def answer(self, request: web.Request) -> web.Response:
        """Answer a chat, or 401."""
        token = request.headers.get("authorization", "").removeprefix("Bearer ")
        if token in self._endpoint.given:
            self._until.setdefault(token, time.monotonic() + self._endpoint.lasts_s)
        if token in self.revoked or time.monotonic() > self._until.get(token, 0):
            self.refused += 1
            return web.json_response({"error": {"message": "no"}}, status=401)
        self.used.add(token)
        message = {"role": "assistant", "content": "yes"}
        choice = {"index": 0, "message": message, "finish_reason": "stop"}
        return web.json_response({"id": "1", "object": "chat.completion", "model": "m", "choices": [choice]})


@asynccontextmanager
async def strict(endpoint: TokenEndpoint) -> AsyncIterator[Strict]:
    """Run such a provider."""
    made = Strict(endpoint)
    app = web.Application()
    app.router.add_post("/v1/chat/completions", made.answer)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    made.url = f"http://127.0.0.1:{runner.addresses[0][1]}/v1"
    try:
        yield made
    finally:
        await runner.cleanup()


def configured(endpoint: TokenEndpoint, provider: Strict, spare: str) -> dict[str, Any]:
    """Return a configuration with the provider first, and a spare."""
    auth = {
        "type": "oauth2",
        "token_url": f"{endpoint.url}/t",
        "client_id": "edge",
        "client_secret": "very-secret-0123",
    }
    return {
        "providers": {
            "strict": {"base_url": provider.url, "auth": auth},
            "spare": {"base_url": f"{spare}/v1", "api_key": "sk-integration-0123456789"},
        },
        "models": {"chat": {"targets": ["strict/m", {"target": "spare/sim-small", "tier": 2}]}},
    }


async def asked(node: RunningNode) -> str:
    """Ask; return the target that answered."""
    answer = await node.ask()
    assert answer.status == 200
    return answer.headers["x-edge-target"]


async def back(node: RunningNode) -> None:
    """Wait until the provider answers again."""
    ends = time.monotonic() + 20
    while (target := await asked(node)) != "strict/m":
        assert time.monotonic() < ends, target


async def test_tokens_are_renewed_under_load_and_shown_nowhere(tmp_path: Path) -> None:
    """Tokens of two seconds: no request is refused while they change, over a restart of control; nothing shows one."""
    async with TokenEndpoint(lasts_s=2) as endpoint, strict(endpoint) as provider, quick_provider() as spare:
        config = configured(endpoint, provider, spare.url)
        async with RunningNode(tmp_path, config, "--workers", "1") as node:
            ends = time.monotonic() + 3
            while time.monotonic() < ends:
                assert await asked(node) == "strict/m"
            assert (provider.refused, len(provider.used) >= 3) == (0, True)
            fetched = len(endpoint.given)
            before = node.children()["control"]
            node.tell(signal.SIGKILL, "control")
            await until(lambda: node.children().get("control", before) != before and len(endpoint.given) > fetched)
            await back(node)  # the last token may have ended while control was down
            told = [await node.get(path) for path in ("/api/snapshot", "/api/node", "/api/targets", "/metrics")]
            shown = edge("config", "show", "-c", str(tmp_path / "edge.yaml")).stdout
            for text in (*map(str, told), shown, node.log(), node.out()):
                assert not any(token in text for token in (*endpoint.given, "very-secret-0123"))


async def test_a_dark_endpoint_and_a_revoked_token(tmp_path: Path) -> None:
    """Without a token, and with a revoked one, the spare answers; status says why; the next token ends it at once."""
    async with TokenEndpoint() as endpoint, strict(endpoint) as provider, quick_provider() as spare:
        config = configured(endpoint, provider, spare.url)
        endpoint.status = 500
        async with RunningNode(tmp_path, config, "--workers", "1") as node:
            assert await asked(node) == "spare/sim-small"
            status = edge("status", "--admin", node.admin).stdout
            assert "the token of provider strict (oauth2) cannot be fetched" in status
            endpoint.status = 200
            await back(node)
            state = (await node.get("/api/node"))[1]["provider_tokens"]
            assert [(each["provider"], each["type"], each["error"]) for each in state] == [("strict", "oauth2", "")]
            assert state[0]["expires_s"] > 3000
            provider.revoked |= provider.used  # before its end: the first refusal has edge fetch another
            given = len(endpoint.given)
            assert await asked(node) == "spare/sim-small"
            await until(lambda: len(endpoint.given) > given, 45)
            await back(node)


async def test_a_key_in_a_file_is_rotated(tmp_path: Path) -> None:
    """A changed file of a secret is used without a reload by hand; one that is gone changes nothing."""
    async with TokenEndpoint() as endpoint, strict(endpoint) as provider, quick_provider() as spare:
        file = tmp_path / "key"
        file.write_text(endpoint.token())
        config = configured(endpoint, provider, spare.url)
        config["providers"]["strict"] = {"base_url": provider.url, "api_key": f"file:{file}"}
        async with RunningNode(tmp_path, config, "--workers", "1") as node:
            assert await asked(node) == "strict/m"
            provider.revoked |= provider.used
            (tmp_path / "next").write_text(endpoint.token())
            (tmp_path / "next").rename(file)
            await back(node)
            file.unlink()
            assert await asked(node) == "strict/m"
