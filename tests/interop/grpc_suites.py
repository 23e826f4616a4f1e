"""gRPC and Connect: official interoperability clients and servers of other languages, with edge between them."""

from __future__ import annotations

import re
import sys
from typing import TYPE_CHECKING, Any, Final

from tests.interop.kit import HERE, ROOT, free_port, go_tool, node, npm_folder, run, running
from tests.interop.report import Case

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

GRPC_GO: Final = "v1.76.0"
CONNECT: Final = "v1.0.7"
MODULE: Final = "connectrpc.com/conformance"
SERVICE: Final = "connectrpc.conformance.v1.ConformanceService"
GO_CASES: Final = (
    "empty_unary", "large_unary", "client_streaming", "server_streaming", "ping_pong", "empty_stream",
    "timeout_on_sleeping_server", "cancel_after_begin", "cancel_after_first_response", "status_code_and_message",
    "special_status_message", "custom_metadata", "unimplemented_method", "unimplemented_service",
)  # fmt: skip
"""Of grpc/grpc, doc/interop-test-descriptions.md, those that need no cloud."""


async def _go(port: int, case: str, client: Path) -> tuple[bool, str]:
    command = [client, "-server_host", "127.0.0.1", "-server_port", port, "-test_case", case]
    done = await run([str(word) for word in command], limit_s=30)
    return done.status == 0, done.said


async def grpc_go(folder: Path) -> list[Case]:
    """Let grpc-go's interoperability client call grpc-go's server."""
    client = await go_tool("client", "google.golang.org/grpc/interop/client", "google.golang.org/grpc", GRPC_GO)
    server = await go_tool("server", "google.golang.org/grpc/interop/server", "google.golang.org/grpc", GRPC_GO)
    port, cases = free_port(), list[Case]()
    config = routed(port)
    async with running([server, "-port", str(port)], port), node(folder, config) as edge:
        through = int(edge.url.rsplit(":", 1)[1])
        for case in GO_CASES:
            direct, _ = await _go(port, case, client)
            passed, said = await _go(through, case, client)
            cases.append(Case(case, passed, direct, said))
    return cases


def routed(port: int) -> dict[str, Any]:
    """Return a configuration that sends the service of the cases to a server."""
    match = {"grpc": "grpc.testing.TestService"}
    return {"services": {"interop": {"match": match, "targets": [f"127.0.0.1:{port}"]}}}


async def grpc_js(folder: Path) -> list[Case]:
    """Let a client of @grpc/grpc-js call grpc-go's server."""
    server = await go_tool("server", "google.golang.org/grpc/interop/server", "google.golang.org/grpc", GRPC_GO)
    script = await npm_folder("grpc")
    port = free_port()
    config = routed(port)
    async with running([server, "-port", str(port)], port), node(folder, config) as edge:
        direct = await told(["node", "client.js", f"127.0.0.1:{port}", str(ROOT / "protos")], script)
        through = await told(["node", "client.js", edge.url.removeprefix("http://"), str(ROOT / "protos")], script)
    return paired(through, direct)


async def told(command: Sequence[str], folder: Path, limit_s: float = 120.0) -> dict[str, str]:
    """Run a program that prints a line ``NAME: ok`` or ``NAME: what went wrong`` for each case; return what it said."""
    done = await run(command, cwd=folder, limit_s=limit_s)
    found = dict(re.findall(r"^(\w[\w .,/-]*): (.*)$", done.out, re.MULTILINE))
    if done.status != 0:
        found["(the program)"] = done.said
    return found


def paired(through: dict[str, str], direct: dict[str, str]) -> list[Case]:
    """Return the cases of a program that was run through edge and without it."""
    return [
        Case(name, said == "ok", None if name not in direct else direct[name] == "ok", said)
        for name, said in {**dict.fromkeys(direct, "not reached"), **through}.items()
    ]


async def connect(folder: Path) -> list[Case]:
    """Run Connect's conformance suite (Connect, gRPC, gRPC-Web) between its reference client and server."""
    runner = await go_tool("connectconformance", "connectrpc.com/conformance/cmd/connectconformance", MODULE, CONNECT)
    server = await go_tool("referenceserver", "connectrpc.com/conformance/cmd/referenceserver", MODULE, CONNECT)
    direct, _ = await _conformance(runner, [str(server)])
    wrapper = [sys.executable, "-m", "tests.interop.connect_server", str(folder), str(server)]
    through, passed = await _conformance(runner, wrapper)
    failed = [Case(name, passed=False, direct=name not in direct, detail=said) for name, said in through.items()]
    return [*failed, Case("(those that are not named)", passed=True, times=passed)]


async def _conformance(runner: Path, server: Sequence[str]) -> tuple[dict[str, str], int]:
    """Return what went wrong in each case that failed, and how many passed."""
    command = [str(runner), "--mode", "server", "--conf", str(HERE / "connect.yaml"), "-v", "--parallel", "4"]
    command += ["--max-servers", "1", "--", *server]
    done = await run(command, cwd=ROOT, limit_s=400, environ={"PYTHONPATH": f"{ROOT}:{ROOT / 'tests' / 'integration'}"})
    counted = re.search(r"^(\d+) passed, (\d+) failed", done.out, re.MULTILINE)
    blocks = re.split(r"^FAILED: ", done.out, flags=re.MULTILINE)[1:]
    failed = {block.split(":\n")[0]: " ".join(block.split(":\n", 1)[-1].split())[:300] for block in blocks}
    if counted is None or int(counted[2]) != len(failed):
        raise ValueError(f"connectconformance said {done.said}")
    return failed, int(counted[1])
