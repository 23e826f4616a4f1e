"""No process of a node leaves its memory, with credentials and prompts in it, in a core dump."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from nodes import RunningNode, chat_config

REPORT = """
import ctypes, resource, types
from edge.app.private_memory import keep_memory_private
keep_memory_private(types.SimpleNamespace(log_level={level!r}))
print(ctypes.CDLL(None).prctl(3, 0, 0, 0, 0), resource.getrlimit(resource.RLIMIT_CORE)[0] == 0)
"""


def core_limit(pid: int) -> str:
    """Return the soft limit of a process's core file."""
    found = re.search(r"^Max core file size +(\S+)", Path(f"/proc/{pid}/limits").read_text(), re.MULTILINE)
    assert found is not None
    return found[1]


async def test_a_crash_writes_provider_keys_to_the_disk(tmp_path: Path) -> None:
    """Supervisor, control and workers may write no core."""
    async with RunningNode(tmp_path, chat_config("http://127.0.0.1:9"), "--workers", "1") as node:
        found = {name: core_limit(pid) for name, pid in {**node.children(), "supervisor": node.pid}.items()}
    assert set(found.values()) == {"0"}
    assert len(found) > 2


@pytest.mark.parametrize(("level", "expected"), [("info", "0 True"), ("debug", "1 ")])
def test_a_program_of_the_same_user_reads_prompts(level: str, expected: str) -> None:
    """A process is not dumpable, so that no other program may read its memory; a debugger may with the level debug."""
    said = subprocess.run(
        [sys.executable, "-c", REPORT.format(level=level)], capture_output=True, text=True, check=True
    ).stdout
    assert said.startswith(expected)


ADMIN_TOKEN = "admin-token-that-only-control-may-know"


def holds(pid: int, secret: bytes) -> bool:
    """Return whether a process has this text anywhere in its writable memory."""
    with Path(f"/proc/{pid}/mem").open("rb", buffering=0) as memory:
        for line in Path(f"/proc/{pid}/maps").read_text().splitlines():
            place, rights, *_ = line.split()
            start, end = (int(number, 16) for number in place.split("-"))
            if rights.startswith("rw") and "/memfd:" not in line and "[v" not in line:
                memory.seek(start)
                if secret in memory.read(end - start):
                    return True
    return False


async def test_an_attacked_worker_tells_the_admin_token(tmp_path: Path) -> None:
    """Workers are copies of a supervisor that has never read the configuration; control alone knows the admin token."""
    config = chat_config("http://127.0.0.1:9")
    config["admin"] = {"address": "127.0.0.1:0", "token": ADMIN_TOKEN}
    async with RunningNode(tmp_path, config, "--workers", "1", "--log-level", "debug") as node:
        found = {name: holds(pid, ADMIN_TOKEN.encode()) for name, pid in {**node.children(), "edge": node.pid}.items()}
    assert found == {"control": True, "worker 0": False, "edge": False}
