"""``edge doctor`` names each of many planted faults with its remedy, and finds nothing wrong where nothing is."""

from __future__ import annotations

import asyncio
import datetime as dt
import json
import resource
import socket
import ssl
import subprocess
import sys
from contextlib import AsyncExitStack, asynccontextmanager
from email.utils import format_datetime
from typing import TYPE_CHECKING, Any

import trustme
from aiohttp import web

from edge.cli.doctor_host import certificate
from edge.sim.wire import refused_port

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path


@asynccontextmanager
async def provider(
    key: str = "sk-right-0123456789", late_s: float = 0, context: ssl.SSLContext | None = None
) -> AsyncIterator[str]:
    """Run a provider with a free probe, a credential, and a clock; yield its base URL."""

    async def models(request: web.Request) -> web.Response:
        date = format_datetime(dt.datetime.now(dt.UTC) - dt.timedelta(seconds=late_s), usegmt=True)
        right = request.headers.get("authorization") == f"Bearer {key}"
        return web.json_response({"data": []}, status=200 if right else 401, headers={"date": date})

    app = web.Application()
    app.router.add_get("/v1/models", models)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context).start()
    try:
        yield f"http{'' if context is None else 's'}://127.0.0.1:{runner.addresses[0][1]}/v1"
    finally:
        await runner.cleanup()


async def examined(
    folder: Path, config: dict[str, Any], *words: str, files: int | None = None
) -> tuple[int, list[Any]]:
    """Run the command; return its exit status and what it found."""
    path = folder / "edge.yaml"
    path.write_text(json.dumps(config))

    def run() -> subprocess.CompletedProcess[str]:
        line = [sys.executable, "-m", "edge", "doctor", "-c", str(path), "--json", *words]
        limit = None if files is None else lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (files, files))
        return subprocess.run(line, capture_output=True, text=True, check=False, preexec_fn=limit)

    done = await asyncio.to_thread(run)
    assert done.stdout, done.stderr
    return done.returncode, json.loads(done.stdout)


def base(folder: Path) -> dict[str, Any]:
    """Return a configuration without faults."""
    return {
        "listen": [{"address": "127.0.0.1:0"}],
        "admin": {"address": "127.0.0.1:0"},
        "node": {"state_dir": str(folder / "state"), "workers": 1},
        "limits": {"max_buffered": "32MiB"},
        "models": {"chat": {"targets": ["one/m"]}},
    }


async def test_nothing_is_wrong(tmp_path: Path) -> None:
    """A healthy configuration has no fault, and every part is listed."""
    async with provider() as url:
        config = {**base(tmp_path), "providers": {"one": {"base_url": url, "api_key": "sk-right-0123456789"}}}
        status, found = await examined(tmp_path, config)
    assert (status, [each for each in found if each["level"] == "fault"]) == (0, [])
    assert {"configuration", "open files", "memory", "state folder", "listen 127.0.0.1:0"} <= {
        each["subject"] for each in found
    }


async def test_each_planted_fault_is_named(tmp_path: Path) -> None:
    """Ten faults at once: each is found under its subject, with its cause and a remedy."""
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    old = authority.issue_cert("a.test", not_after=dt.datetime.now(dt.UTC) - dt.timedelta(days=1))
    old.private_key_pem.write_to_path(str(tmp_path / "key.pem"))
    old.cert_chain_pems[0].write_to_path(str(tmp_path / "old.pem"))
    (tmp_path / "file").write_text("no folder")
    async with AsyncExitStack() as stack:
        taken = stack.enter_context(socket.create_server(("127.0.0.1", 0))).getsockname()[1]
        nobody = stack.enter_context(refused_port())
        wrong, late = (
            await stack.enter_async_context(provider()),
            await stack.enter_async_context(provider(late_s=3600)),
        )
        untrusted = await stack.enter_async_context(provider(context=context))
        right = {"api_key": "sk-right-0123456789"}
        config = {
            **base(tmp_path),
            "listen": [
                {"address": f"127.0.0.1:{taken}"},
                {
                    "address": "127.0.0.1:0",
                    "tls": {"cert": str(tmp_path / "old.pem"), "key": str(tmp_path / "key.pem")},
                },
            ],
            "node": {"state_dir": str(tmp_path / "file" / "state")},
            "providers": {
                "one": {"base_url": wrong, "api_key": "sk-wrong-0123456789"},
                "late": {"base_url": late, **right},
                "untrusted": {"base_url": untrusted, **right},
                "down": {"base_url": f"http://127.0.0.1:{nobody}/v1"},
                "nowhere": {"base_url": "http://no-such-name.invalid/v1"},
            },
            "services": {"found": {"match": {"path": "/"}, "discover": f"file://{tmp_path}/none.json"}},
            "cluster": {"etcd": {"endpoints": [f"http://127.0.0.1:{nobody}"], "timeout": "1s"}},
        }
        status, found = await examined(tmp_path, config, files=1000)
    faults = {each["subject"].split(" at ")[0]: each["sentence"] for each in found if each["level"] == "fault"}
    assert all(each["remedy"] for each in found if each["level"] == "fault")
    assert status == 1
    for subject, said in (
        (f"listen 127.0.0.1:{taken}", "another program listens there"),
        ("open files", "at most 1000"),
        (f"certificate {tmp_path / 'old.pem'}", "expired on"),
        ("state folder", "cannot be written"),
        ("provider one", "refuses the credential (status 401)"),
        ("clock", "s ahead of what provider late"),
        ("provider untrusted", "its certificate is refused"),
        ("provider down", "cannot be reached"),
        ("provider nowhere", "cannot be resolved"),
        (f"source file://{tmp_path}/none.json", "cannot be read"),
    ):
        assert said in faults.get(subject, f"not found: {sorted(faults)}"), subject
    assert any(subject.startswith("etcd http://127.0.0.1") for subject in faults)


async def test_a_broken_file_is_a_fault_and_the_machine_is_checked_all_the_same(tmp_path: Path) -> None:
    """Problems of the configuration are listed, and ports and limits are still looked at."""
    status, found = await examined(tmp_path, {**base(tmp_path), "nodes": {}}, "--offline")
    assert status == 1
    assert any(each["subject"] == "configuration" and "unknown key" in each["sentence"] for each in found)
    assert any(each["subject"] == "listen 127.0.0.1:0" and each["level"] == "ok" for each in found)


async def test_a_running_node_may_have_its_ports(tmp_path: Path) -> None:
    """With --running, ports that are in use are no fault."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        config = {**base(tmp_path), "listen": [{"address": f"127.0.0.1:{taken.getsockname()[1]}"}]}
        config["providers"] = {"one": {"base_url": "http://127.0.0.1:1/v1"}}
        status, _ = await examined(tmp_path, config, "--running", "--offline")
    assert status == 0


def test_the_dates_of_a_certificate(tmp_path: Path) -> None:
    """A certificate is told valid, about to expire, expired, and not valid yet."""
    issued = trustme.CA().issue_cert("a.test", not_after=dt.datetime.now(dt.UTC) + dt.timedelta(days=30))
    file = tmp_path / "cert.pem"
    issued.cert_chain_pems[0].write_to_path(str(file))
    now, day = dt.datetime.now(dt.UTC).timestamp(), 86400
    levels = [certificate(str(file), now + days * day).level for days in (0, 20, 40, -15_000)]
    assert levels == ["ok", "warning", "fault", "fault"]
    assert certificate(str(tmp_path / "none.pem"), now).level == "fault"
