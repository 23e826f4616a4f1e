"""HTTP itself: h2spec, curl, h2load, and a client and server of WebSockets from two languages."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Final
from xml.etree import ElementTree as ET

import trustme

from tests.interop.grpc_suites import paired, told
from tests.interop.kit import HERE, free_port, go_tool, need, node, npm_folder, provider, python_with, run, running
from tests.interop.report import Case

if TYPE_CHECKING:
    from pathlib import Path

H2SPEC: Final = "v2.2.1+incompatible"
MODEL: Final = {"model": "chat", "messages": [{"role": "user", "content": "hello"}]}


def secured(folder: Path) -> dict[str, object]:
    """Write a certificate for loopback; return the configuration of a listener that uses it."""
    authority = trustme.CA()
    issued = authority.issue_cert("127.0.0.1", "localhost")
    issued.private_key_pem.write_to_path(folder / "key.pem")
    issued.cert_chain_pems[0].write_to_path(folder / "cert.pem")
    authority.cert_pem.write_to_path(folder / "ca.pem")
    return {"address": "127.0.0.1:0", "tls": {"cert": str(folder / "cert.pem"), "key": str(folder / "key.pem")}}


def models(address: str) -> dict[str, object]:
    """Return a configuration with one model at a simulated provider."""
    return {
        "providers": {"sim": {"kind": "openai", "base_url": f"http://{address}/v1", "api_key": "sk-interop"}},
        "models": {"chat": {"targets": ["sim/gpt-4.1-mini"]}, "embed": {"targets": ["sim/text-embedding-3-small"]}},
    }


async def h2spec(folder: Path) -> list[Case]:
    """Run the conformance cases of HTTP/2, in clear and over TLS."""
    program = await go_tool("h2spec", "github.com/summerwind/h2spec/cmd/h2spec", "github.com/summerwind/h2spec", H2SPEC)
    cases = []
    async with provider() as address:
        listen = [{"address": "127.0.0.1:0"}, secured(folder)]
        async with node(folder, {**models(address), "listen": listen}) as edge:
            for kind, url in zip(("clear", "tls"), edge.ready["listeners"], strict=True):
                report = folder / f"{kind}.xml"
                more = ["-t", "-k"] if kind == "tls" else []
                await run([program, "-h", "127.0.0.1", "-p", url.rsplit(":", 1)[1], "-j", report, *more], limit_s=120)
                cases += [
                    Case(f"{kind} {case.get('package')} {case.get('classname')}", passed=not len(case))
                    for case in ET.parse(report).getroot().iter("testcase")
                ]
    return cases


async def curl(folder: Path) -> list[Case]:
    """Ask with curl over every wire, whole and streamed, with what curl adds by itself."""
    program = need("curl", "install curl")
    ask = ["-sS", "-m", "20", "-o", str(folder / "body"), "-w", "%{http_code} %{http_version}"]
    posts = ["-H", "content-type: application/json", "-d"]
    chunks = ["-H", "transfer-encoding: chunked", "-H", "content-type: application/json", "-X", "POST", "-T"]
    large = folder / "large.json"
    large.write_text(json.dumps({**MODEL, "messages": [{"role": "user", "content": "x" * 200_000}]}))
    cases = []
    async with provider("--tps", "0", "--ttft", "0s") as address:
        listen = [{"address": "127.0.0.1:0"}, secured(folder)]
        async with node(folder, {**models(address), "listen": listen}) as edge:
            clear, tls = edge.ready["listeners"]
            wires = {
                "http1.0": [clear, "--http1.0"],
                "http1.1": [clear, "--http1.1"],
                "h2c": [clear, "--http2-prior-knowledge"],
                "h2c upgrade": [clear, "--http2"],
                "tls http1.1": [tls, "--http1.1", "--cacert", str(folder / "ca.pem")],
                "tls h2": [tls, "--http2", "--cacert", str(folder / "ca.pem")],
            }
            for wire, (url, *options) in wires.items():
                chat = f"{url}/v1/chat/completions"
                versions = {"http1.0": "1.1", "http1.1": "1.1", "tls http1.1": "1.1"}
                version = versions.get(wire, "1.1" if wire == "h2c upgrade" else "2")
                asked: dict[str, tuple[list[str], str, str]] = {
                    "chat": ([chat, *posts, json.dumps(MODEL)], "200", '"choices"'),
                    "stream": ([chat, "-N", *posts, json.dumps({**MODEL, "stream": True})], "200", "data: [DONE]"),
                    "compressed": ([chat, "--compressed", *posts, json.dumps(MODEL)], "200", '"choices"'),
                    "expect": ([chat, "-H", "expect: 100-continue", *posts, f"@{large}"], "200", '"choices"'),
                    "chunked": ([chat, *chunks, str(large)], "200", '"choices"'),
                    "models": ([f"{url}/v1/models"], "200", '"chat"'),
                    "head": ([f"{url}/v1/models", "-I"], "200", ""),
                    "unknown path": ([f"{url}/nothing/here"], "404", '"error"'),
                    "unknown model": ([chat, *posts, json.dumps({**MODEL, "model": "none"})], "404", '"error"'),
                    "malformed": ([chat, *posts, "{"], "400", '"error"'),
                }  # fmt: skip
                for name, (arguments, status, content) in asked.items():
                    if name == "chunked" and (version == "2" or wire == "http1.0"):
                        continue  # the field is HTTP/1.1's
                    (folder / "body").unlink(missing_ok=True)
                    done = await run([program, *ask, *options, *arguments], limit_s=30)
                    body = (folder / "body").read_text() if (folder / "body").exists() else ""
                    answered = done.out.split()
                    passed = done.status == 0 and answered[:1] == [status] and content in body
                    passed = passed and (wire == "http1.0" or answered[1] == version)
                    cases.append(Case(f"{wire} {name}", passed, detail=f"{done.out} {done.said} {body[:120]}"))
    return cases


async def h2load(folder: Path) -> list[Case]:
    """Load a listener with h2load: every request is answered, over both versions and TLS."""
    program = need("h2load", "install nghttp2-client")
    body = folder / "ask.json"
    body.write_text(json.dumps(MODEL))
    cases = []
    async with provider("--tps", "0", "--ttft", "0s") as address:
        listen = [{"address": "127.0.0.1:0"}, secured(folder)]
        async with node(folder, {**models(address), "listen": listen}) as edge:
            clear, tls = edge.ready["listeners"]
            for name, url, options in (
                ("http1.1", clear, ["--h1"]),
                ("h2c", clear, ["-m", "10"]),
                ("tls", tls, ["-m", "10"]),
            ):
                command = [program, "-n", "2000", "-c", "20", "-t", "1", "-d", str(body), *options]
                command += ["-H", "content-type: application/json", f"{url}/v1/chat/completions"]
                done = await run(command, limit_s=60)
                counts = re.search(r"(\d+) succeeded, (\d+) failed.*?\n.*?(\d+) 2xx", done.out, re.DOTALL)
                passed = counts is not None and counts.groups() == ("2000", "0", "2000")
                cases.append(Case(name, passed, detail=" ".join(done.out.split())[-300:]))
    return cases


async def websockets(folder: Path) -> list[Case]:
    """Send frames of many sizes and kinds through a tunnel, with clients and servers of `ws` and of `websockets`."""
    script = await npm_folder("ws")
    python = await python_with("websockets", "websockets==15.0.1")
    cases = []
    for side in ("ws", "websockets"):
        port = free_port()
        server = (
            ["node", "server.js", str(port)] if side == "ws" else [str(python), str(HERE / "ws_server.py"), str(port)]
        )
        config = {"services": {"echo": {"match": {"path": "/"}, "targets": [f"127.0.0.1:{port}"]}}}
        async with running(server, port, cwd=script), node(folder / side, config) as edge:
            through = edge.url.replace("http://", "ws://")
            clients = {"ws": ["node", "client.js"], "websockets": [str(python), str(HERE / "ws_client.py")]}
            for client, command in clients.items():
                found = paired(
                    await told([*command, through], script), await told([*command, f"ws://127.0.0.1:{port}"], script)
                )
                cases += [Case(f"{client} to {side} {one.name}", one.passed, one.direct, one.detail) for one in found]
    return cases
