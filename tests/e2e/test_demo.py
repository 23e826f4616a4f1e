"""An application behind edge does not notice the outage that fails the same application without edge."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from typing import Any

import aiohttp
import pytest

pytestmark = pytest.mark.alone

LEFT_MS = 2000  # a deadline of 1 s, and the answer of another
BACK_MS = 3400  # an open circuit of at most 2 s, and trials
PLAYS = 3


async def play(*arguments: str, limit_s: float) -> tuple[int | None, str, str]:
    """Run ``edge demo``; return its status, stdout and stderr."""
    child = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "edge", "demo", *arguments),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        out, err = await asyncio.wait_for(child.communicate(), limit_s)
    finally:
        if child.returncode is None:
            child.kill()
            await child.wait()
    return child.returncode, out.decode(), err.decode()


@pytest.mark.timeout(400)
async def test_the_fast_demo_loses_nothing() -> None:
    """``edge demo --fast --json`` prints one object: no failures through edge, many without it.

    The primary is left within 2 s and used again within 3.4 s. A busy machine gets three plays for that.
    """
    left_ms, back_ms = [], []
    for _ in range(PLAYS):
        summary = await play_fast()
        left_ms.append(summary["failover_ms"])
        back_ms.append(summary["recovered_ms"])
        if left_ms[-1] < LEFT_MS and back_ms[-1] < BACK_MS:
            return
    pytest.fail(f"never left within {LEFT_MS} ms and used again within {BACK_MS} ms: {left_ms}, {back_ms}")


async def play_fast() -> dict[str, Any]:
    """Play once, check that no request failed through edge, and return the summary."""
    status, out, err = await play("--fast", "--json", limit_s=150)
    assert (status, err) == (0, "")
    summary = json.loads(out)
    assert summary["failed"] == 0, summary["reasons"]
    assert summary["requests"] == summary["direct_requests"] == 240
    assert summary["direct_failed"] > 20
    assert set(summary["answered_by"]) == {"primary", "backup-a", "backup-b"}
    assert (summary["greeter_calls"], summary["greeter_failed"]) == (240, 0), summary["greeter_reasons"]
    assert len(summary["greeter_answered_by"]) == 2
    assert any(text.startswith("# primary is down in demo") for text in summary["incidents"])
    assert isinstance(summary, dict)
    return summary


@pytest.mark.prove
@pytest.mark.timeout(200)
async def test_the_page_of_the_demo_stays() -> None:
    """``--open`` prints the address; the page's stream shows the outage; the incident is printed; Ctrl-C ends it."""
    command = (sys.executable, "-m", "edge", "demo", "--fast", "--open")
    child = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    assert child.stdout is not None
    try:
        async with asyncio.timeout(120), aiohttp.ClientSession() as client:
            while not (line := (await child.stdout.readline()).decode()).startswith("The page of this node: "):
                assert line, "the demo ended"
            admin = line.split()[-1]
            assert "Skip to the content" in await (await client.get(admin)).text()
            seen: list[str] = []
            async with client.get(f"{admin}api/stream") as stream:
                while not any("primary is down" in title for title in seen):
                    event = (await stream.content.readuntil(b"\n\n")).removeprefix(b"data: ")
                    seen += [each["title"] for each in json.loads(event)["incidents"]]
            said = ""
            while "until Ctrl-C" not in said:
                said += (await child.stdout.readline()).decode()
            assert "# primary is down in demo" in said
            assert (await client.get(admin)).status == 200
            child.send_signal(signal.SIGINT)
            assert await child.wait() == 0
    finally:
        if child.returncode is None:
            child.kill()
            await child.wait()


@pytest.mark.prove  # tests/e2e/test_regions.py plays these acts too
@pytest.mark.timeout(600)
async def test_the_regions_demo_keeps_its_promises() -> None:
    """``edge demo regions --fast --json`` plays every act in three regions, and every promise holds."""
    status, out, err = await play("regions", "--fast", "--json", limit_s=500)
    said = json.loads(out)
    assert (status, err) == (0, ""), said
    assert [act["act"] for act in said["acts"]] == [
        "dead in one region",
        "dead everywhere",
        "egress black-holed",
        "etcd majority lost",
    ]
    for act in said["acts"]:
        assert act["broken"] == []
        assert all(region["failed"] == 0 and region["requests"] > 20 for region in act["regions"].values())
