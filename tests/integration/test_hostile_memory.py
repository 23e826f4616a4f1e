"""A worker stays within its buffers plus 64 MiB, and an honest key is served, whatever a hostile key holds."""

from __future__ import annotations

import asyncio
import time
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Final

import aiohttp
import pytest
from callers import clear
from hostile import KINDS, MIB, WIRES, Crowd, Upstream, chat, memory_of
from nodes import RunningNode, chat_config

if TYPE_CHECKING:
    from pathlib import Path

BUFFERS: Final = 24 * MIB
SPARE: Final = 64 * MIB
TINY: Final = 16 * MIB
"""24 bodies of 60 kB in pieces of two bytes; they took 28 times as much once."""
HONEST: Final = {"authorization": f"Bearer {clear('alice')}"}


def config(url: str) -> dict[str, Any]:
    """Return a configuration with two keys and small buffers."""
    keys = [{"name": name, "sha256": sha256(clear(name).encode()).hexdigest()} for name in ("alice", "mallory")]
    limits = {"body": "8MiB", "max_buffered": f"{BUFFERS // MIB}MiB", "client_idle": "90s", "header_timeout": "90s"}
    timeouts = {"first_byte": "120s", "stream_idle": "120s", "total": "180s"}
    return {**chat_config(url, timeouts=timeouts), "limits": limits, "keys": keys}


async def ask(session: aiohttp.ClientSession, url: str) -> float:
    """Ask once as the honest key; return the seconds until the whole answer has come."""
    began = time.monotonic()
    async with session.post(f"{url}/v1/chat/completions", data=chat("alice"), headers=HONEST) as answer:
        assert answer.status == 200, await answer.text()
        await answer.read()
    return time.monotonic() - began


async def p99(url: str, seconds: float) -> float:
    """Ask as the honest key, twenty times a second; return the 99th percentile of the answers' times."""
    taken = []
    async with aiohttp.ClientSession() as session:
        await ask(session, url)
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            taken.append(await ask(session, url))
            await asyncio.sleep(0.05)
    return sorted(taken)[len(taken) * 99 // 100]


async def grown(pid: int, before: int, seconds: float) -> int:
    """Return by how many bytes a process has grown at most within these seconds."""
    most = 0
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        most = max(most, memory_of(pid) - before)
        await asyncio.sleep(0.1)
    return most


@pytest.mark.alone
@pytest.mark.parametrize("wire", WIRES)
async def test_a_hostile_key_fills_the_memory(tmp_path: Path, wire: str) -> None:
    """One kind after the other, 24 connections each: the worker stays small, and another key is answered."""
    async with Upstream() as upstream, RunningNode(tmp_path, config(upstream.url), "--workers", "1") as node:
        pid = node.children()["worker 0"]
        port = int(node.url.rpartition(":")[2])
        async with aiohttp.ClientSession() as session:
            await ask(session, node.url)
            for kind in KINDS:
                before = memory_of(pid)
                async with Crowd(port, 24) as crowd:
                    await asyncio.wait_for(crowd.open(kind, wire), 20)
                    most = await grown(pid, before, 0.7)
                    await ask(session, node.url)
                assert most < (TINY if kind == "tiny" else BUFFERS + 32 * MIB), kind


@pytest.mark.prove
@pytest.mark.alone
async def test_all_kinds_at_once_for_a_minute(tmp_path: Path) -> None:
    """64 connections of each kind over both wires: memory is bounded, and an honest key waits at most twice as long."""
    async with Upstream() as upstream, RunningNode(tmp_path, config(upstream.url), "--workers", "1") as node:
        pid = node.children()["worker 0"]
        port = int(node.url.rpartition(":")[2])
        await p99(node.url, 2)
        quiet = await p99(node.url, 10)
        before = memory_of(pid)
        async with Crowd(port, 32) as crowd:
            watch = asyncio.create_task(grown(pid, before, 60))
            for kind in KINDS:
                for wire in WIRES:
                    await asyncio.wait_for(crowd.open(kind, wire), 30)
            busy = await p99(node.url, 40)
            most = await watch
        seen = f"{most >> 20} MiB more, p99 {quiet:.4f} s and {busy:.4f} s, {crowd.cut} cut"
        assert most < BUFFERS + SPARE, seen
        assert busy < 2 * quiet + 0.005, seen
