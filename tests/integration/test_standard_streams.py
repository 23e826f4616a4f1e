"""A node serves even if it cannot write its output, and none of that output ends up elsewhere."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest
from nodes import RunningNode, chat_config

pytestmark = pytest.mark.timeout(120)


class Redirected(RunningNode):
    """A node that a shell has started with redirected streams."""

    streams = ""

    def command(self) -> list[str]:
        """The command line of the node."""
        return ["sh", "-c", f'exec "$@" {self.streams}', "sh", *super().command()]


def opened(pid: int) -> list[str]:
    """Return the destinations of a process's stdin, stdout and stderr."""
    return [str(Path(f"/proc/{pid}/fd/{fd}").readlink()) for fd in range(3)]


@pytest.mark.parametrize(
    ("streams", "where"),
    [
        (">/dev/full", ["/dev/null", "/dev/full"]),
        ("<&- >&- 2>&-", ["/dev/null", "/dev/null", "/dev/null"]),
    ],
)
async def test_a_node_needs_nobody_who_reads(streams: str, where: list[str], tmp_path: Path) -> None:
    """With a full disk behind stdout, or without streams, the node starts, serves and ends with status 0."""
    node = Redirected(tmp_path, chat_config("http://127.0.0.1:9"), "--workers", "1")
    node.streams = streams
    async with node:
        for pid in node.children().values():
            assert opened(pid)[: len(where)] == where
        assert (await node.get("/ready"))[0] == 200
        node.tell(signal.SIGTERM)
        assert await node.status() == 0
        assert streams != ">/dev/full" or "the banner cannot be printed" in node.log()
