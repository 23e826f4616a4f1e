"""No secret is ever shown: secrets are put wherever possible, and all output is searched for them."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import aiohttp
import grpc
import grpc.aio
import msgspec
import pytest
from aiohttp import web
from collector import GrpcCollector
from nodes import RunningNode
from soon import until

from edge.wire.edge.v1 import admin_pb2, admin_pb2_grpc

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Mapping

OURS: Final = {
    "UPSTREAM_KEY": "sk-upstream-1c0ffee1-aaaa",
    "UPSTREAM_HEADER": "org-header-2c0ffee2-bbbb",
    "ADMIN_TOKEN": "admin-token-3c0ffee3-cccc",
    "OTLP_TOKEN": "otlp-token-4c0ffee4-dddd",
    "PEER_TOKEN": "peer-token-5c0ffee5-eeee",
    "ETCD_PASSWORD": "etcd-word-fc0ffeef-oooo",
}
"""What the configuration holds: the environment's names and their values."""

THEIRS: Final = {
    "authorization": "Bearer edge-6c0ffee6-ffff",
    "x-api-key": "edge-7c0ffee7-gggg",
    "x-goog-api-key": "edge-8c0ffee8-hhhh",
    "api-key": "edge-9c0ffee9-iiii",
    "cookie": "session=edge-ac0ffeea-jjjj",
    "proxy-authorization": "Basic edge-bc0ffeeb-kkkk",
    "x-custom": "edge-cc0ffeec-llll",
}
"""What callers send in header fields; the last is one that nobody knows to be a secret."""

QUERY: Final = "edge-dc0ffeed-mmmm"
PROMPT: Final = "edge-ec0ffeee-nnnn"
STRANGE: Final = "edge-0d0ffee0-pppp"
"""A key that is none of ours: somebody's all the same."""

SECRETS: Final = (STRANGE, *OURS.values(), *(value.rpartition(" ")[2] for value in THEIRS.values()), QUERY, PROMPT)

MODELS: Final = ("e400", "e401", "e403", "e404", "e429", "e500", "inband", "broken", "garbage", "redirect", "good")


class Telltale:
    """A provider that quotes its whole request in every kind of answer; ``heard`` keeps the requests."""

    def __init__(self) -> None:
        self.heard: list[str] = []

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """Quote the request."""
        body = await request.text()
        quoted = "; ".join(f"{name}={value}" for name, value in request.headers.items())
        self.heard.append(f"{request.raw_path} {quoted}")
        model = json.loads(body)["model"]
        quoting = {"x-quoted": request.headers.get("authorization", "")}
        error = {"error": {"message": f"refused: {quoted}", "type": "quote"}}
        if model.startswith(("e4", "e5")):
            return web.json_response(error, status=int(model[1:]), headers=quoting)
        if model == "redirect":
            return web.Response(status=302, headers={"Location": f"http://127.0.0.1:9/?{quoted}"[:200], **quoting})
        if model == "inband":
            return web.json_response(error)
        if model == "garbage":
            return web.Response(text=quoted)
        if model == "good":
            return web.json_response({"id": "x", "choices": [{"message": {"role": "assistant", "content": "hello"}}]})
        stream = web.StreamResponse(headers={"content-type": "text/event-stream"})
        await stream.prepare(request)
        await stream.write(b'data: {"choices":[{"index":0,"delta":{"content":"hello"}}]}\n\n')
        await asyncio.sleep(0.02)
        await stream.write(f"data: {json.dumps(error)}\n\n".encode())
        return stream


@contextlib.asynccontextmanager
async def telltale() -> AsyncIterator[tuple[Telltale, str]]:
    """Run such a provider; yield it and its URL."""
    told = Telltale()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", told.answer)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield told, f"http://127.0.0.1:{site._server.sockets[0].getsockname()[1]}"  # type: ignore[union-attr]
    finally:
        await runner.cleanup()


def config(url: str, collector: str) -> dict[str, Any]:
    """Return a configuration with a secret in every possible place, by the environment."""
    return {
        "node": {"name": "node", "region": "eu"},
        "admin": {"address": "127.0.0.1:0", "token": "${ADMIN_TOKEN}"},
        "providers": {
            "p": {
                "base_url": f"{url}/v1",
                "api_key": "${UPSTREAM_KEY}",
                "headers": {"openai-organization": "${UPSTREAM_HEADER}"},
            }
        },
        "models": {name: {"targets": [f"p/{name}"], "retry": {"attempts": 2}} for name in MODELS},
        "telemetry": {
            "otlp": collector,
            "headers": {"x-token": "${OTLP_TOKEN}"},
            "sample": "100%",
            "errors_per_second": 1000,
        },
        "keys": [
            {
                "name": "team",
                "sha256": hashlib.sha256(THEIRS["authorization"].rpartition(" ")[2].encode()).hexdigest(),
                "tokens_per_minute": 1_000_000,
            }
        ],
        "cluster": {
            "etcd": {"endpoints": ["http://127.0.0.1:9"], "user": "edge", "password": "${ETCD_PASSWORD}"},
        },
        "log": {"level": "debug", "access": "sampled"},
        "peers": {
            "token": "${PEER_TOKEN}",
            "nodes": [{"region": "us", "addresses": ["127.0.0.1:9"]}],
        },
    }


def leaks(where: str, text: str, secrets: Iterable[str] = SECRETS) -> list[str]:
    """Return which secrets are in a text, plain or in base64."""
    found = []
    for secret in secrets:
        coded = base64.b64encode(secret.encode()).decode().rstrip("=")[:-1]
        if secret in text or coded in text:
            at = max(text.find(secret), 0)
            found.append(f"{where}: {secret} in ...{text[max(at - 80, 0) : at + 80]!r}")
    return found


def admin_paths() -> list[str]:
    """Return every GET path of the admin listener, read from its sources."""
    sources = "".join(path.read_text() for path in (Path(__file__).parents[2] / "edge/admin").glob("*.py"))
    found = re.findall(r'web\.get\("([^"]+)"', sources)
    assert "/metrics" in found
    return [re.sub(r"{[^}]*}", "nobody", path) for path in found]


async def ask_everything(url: str) -> list[tuple[str, str]]:
    """Request every model, and refused paths, with a secret in every field; return (what, complete answer)."""
    said = []
    body: dict[str, Any] = {"messages": [{"role": "user", "content": PROMPT}], "user": PROMPT}
    timeout = aiohttp.ClientTimeout(total=60)
    async with aiohttp.ClientSession(timeout=timeout) as client:

        async def post(
            what: str, data: bytes, path: str = "/v1/chat/completions", fields: Mapping[str, str] = THEIRS
        ) -> None:
            text = ""
            with contextlib.suppress(aiohttp.ClientPayloadError):
                async with client.post(f"{url}{path}?key={QUERY}", data=data, headers=fields) as answer:
                    text = f"{answer.status} {dict(answer.headers)}"
                    async for piece in answer.content.iter_any():
                        text += piece.decode(errors="replace")
            said.append((what, text))

        for name in MODELS:
            for stream in (False, True):
                await post(name, json.dumps({**body, "model": name, "stream": stream}).encode())
        good = json.dumps({**body, "model": "good"}).encode()
        for name in ("authorization", "x-api-key", "x-goog-api-key"):
            await post(f"strange {name}", good, fields={name: STRANGE if name[0] == "x" else f"Bearer {STRANGE}"})
        await post("no key", good, fields={"cookie": THEIRS["cookie"]})
        await post("unknown model", json.dumps({**body, "model": "nobody"}).encode())
        await post("unknown path", b"{}", "/v9/nothing")
        await post("malformed", b'{"model": ' + PROMPT.encode())
        await post("no model", json.dumps(body).encode())
    return said


async def admin_answers(node: RunningNode) -> list[tuple[str, str]]:
    """Return all answers of the admin listener over HTTP and gRPC, with and without the token."""
    said = []
    bearer = {"Authorization": f"Bearer {OURS['ADMIN_TOKEN']}"}
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=60)) as client:
        for path in admin_paths():
            for fields in (bearer, {**bearer, "Accept": "application/openmetrics-text"}, THEIRS):
                async with client.get(f"{node.admin}{path}", headers=fields) as answer:
                    endless = answer.content_type == "text/event-stream"
                    text = (await answer.content.readuntil(b"\n\n")).decode() if endless else await answer.text()
                    said.append((f"admin {path}", f"{dict(answer.headers)} {text}"))
        async with client.put(
            f"{node.admin}/api/targets/p/nobody/drain", headers=bearer, json={"reason": "x"}
        ) as answer:
            said.append(("admin PUT", await answer.text()))
    async with grpc.aio.insecure_channel(node.admin.removeprefix("http://")) as channel:
        stub = admin_pb2_grpc.AdminStub(channel)
        token = (("authorization", f"Bearer {OURS['ADMIN_TOKEN']}"),)
        said.append(("Admin/Status", str(await stub.Status(admin_pb2.StatusRequest(), timeout=5, metadata=token))))
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await stub.Status(admin_pb2.StatusRequest(), timeout=5, metadata=(("authorization", "Bearer wrong"),))
        said.append(("Admin refused", str(refused.value)))
    return said


def command_line(pid: int) -> str:
    """Return a process's command line, which every user of the machine can read."""
    return Path(f"/proc/{pid}/cmdline").read_text()


async def command(*words: str, environ: Mapping[str, str]) -> str:
    """Run ``edge`` with these arguments; return all its output."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "edge", *words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=dict(environ)
    )
    out, _ = await asyncio.wait_for(process.communicate(), 60)
    return out.decode()


async def test_no_secret_comes_out(tmp_path: Path) -> None:
    """Answers to clients, logs of every process, metrics, admin answers, commands, command lines and crashes."""
    environ = {**os.environ, **OURS}
    found: list[str] = []
    async with telltale() as (provider, url), GrpcCollector() as collector:
        async with RunningNode(tmp_path, config(url, collector.url), "--workers", "2", environ=OURS) as node:
            answers = dict(await ask_everything(node.url))
            assert answers["strange authorization"].startswith("503")  # it may be a key of the cluster, which is dark
            assert answers["no key"].startswith("401")
            assert answers["good"].startswith("200")
            for what, text in answers.items():
                assert text, what
                found += leaks(f"answer to {what}", text, OURS.values())  # their own words may come back to them
            heard = "\n".join(provider.heard)
            assert OURS["UPSTREAM_KEY"] in heard, "the provider never heard our credential: this test proves nothing"
            assert OURS["UPSTREAM_HEADER"] in heard
            assert "/v1/chat/completions " in heard
            assert QUERY not in heard, "what a caller wrote in the query reached the provider"
            for name in ("authorization", "x-api-key", "x-goog-api-key", "api-key", "cookie", "proxy-authorization"):
                assert THEIRS[name].rpartition(" ")[2] not in heard, f"{name} of a caller reached the provider"
            for what, text in await admin_answers(node):
                found += leaks(what, text)
            file = str(tmp_path / "edge.yaml")
            admin = ("--admin", node.admin, "--token", OURS["ADMIN_TOKEN"])
            for words in (
                ("config", "show", "-c", file),
                ("check", file),
                ("status", "--json", *admin),
                ("status", *admin),
                ("reload", *admin),
            ):
                found += leaks(" ".join(words[:2]), await command(*words, environ=environ))
            for name, pid in node.children().items():
                found += leaks(f"command line of {name}", command_line(pid))
            for span in await collector.until(len(MODELS)):
                found += leaks(f"span {span.name}", str(span))
            # a configuration that is refused, with its secrets where they do not belong
            wrong = config(url, collector.url)
            wrong["providers"]["p"]["base_url"] = f"http://user:{OURS['UPSTREAM_KEY']}@127.0.0.1:9/v1"
            wrong["providers"]["p"]["dialect"] = "${UPSTREAM_KEY}"
            wrong["admin"]["address"] = "${ADMIN_TOKEN}"
            (tmp_path / "edge.yaml").write_bytes(msgspec.json.encode(wrong))
            status, problems = await node.send("POST", "/api/reload", Authorization=f"Bearer {OURS['ADMIN_TOKEN']}")
            assert status == 422, problems
            found += leaks("refused reload", str(problems))
            found += leaks("edge check of it", await command("check", file, environ=environ))
            # a crash in the middle of a request
            node.tell(signal.SIGABRT, "worker 0")
            await until(lambda: "Fatal Python error: Aborted" in node.log(), 40)
            node.tell(signal.SIGABRT, "control")
            await until(lambda: node.log().count("Fatal Python error: Aborted") == 2, 40)
            await until(lambda: len(node.children()) == 3, 40)
        found += leaks("log", node.log())
        found += leaks("stdout", node.out())
        assert '"request failed"' in node.log(), "no failure was logged: this test proves too little"
    assert found == []
