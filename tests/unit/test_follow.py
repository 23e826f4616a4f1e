"""Workers get the Snapshot from control, and continue without control."""

from __future__ import annotations

import asyncio
import socket
import struct
from typing import TYPE_CHECKING

import pytest
from msgspec import structs
from msgspec.structs import astuple
from plans import snapshot
from records import record
from soon import until

from edge.control import frames
from edge.control.follow import Follower
from edge.control.publish import Publisher

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from edge.terms.snapshot import Snapshot
    from edge.terms.trace import ExchangeRecord


@pytest.fixture
def listening(tmp_path: Path) -> Iterator[socket.socket]:
    """Hold a listening socket, as the supervisor does."""
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(str(tmp_path / "s"))
        sock.listen(8)
        yield sock


class Learner:
    """Takes Snapshots and records which it uses."""

    def __init__(self) -> None:
        self.learnt: list[Snapshot] = []
        self.refuse = False

    def learn(self, plan: Snapshot) -> None:
        """Take a Snapshot, or raise."""
        if self.refuse:
            raise ValueError("this one cannot be taken")
        self.learnt.append(plan)

    def status(self) -> frames.Serving | None:
        """Return the Snapshot in use."""
        return frames.Serving(3, 1, self.learnt[-1].version) if self.learnt else None


async def follow(sock: socket.socket) -> tuple[Learner, asyncio.Task[None]]:
    """Start a follower."""
    learner = Learner()
    follower = Follower(sock.getsockname(), learner.learn, learner.status)
    return learner, asyncio.create_task(follower.run())


async def end(*tasks: asyncio.Task[None]) -> None:
    """Cancel a task and wait for it."""
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def test_published_ones_arrive_and_control_knows(listening: socket.socket) -> None:
    """A worker gets the current and each later Snapshot, and control knows which one it uses."""
    one = snapshot()
    two = structs.replace(one, version=2)
    publisher = Publisher(one)
    await publisher.start(listening.dup())
    learner, task = await follow(listening)
    await until(lambda: 3 in publisher.serving)
    publisher.publish(two)
    await until(lambda: publisher.serving[3].version == 2)
    assert learner.learnt == [one, two]
    await end(task)
    await until(lambda: not publisher.serving)
    await publisher.stop()


async def test_control_may_come_later_and_come_back(listening: socket.socket) -> None:
    """A connect waits in the socket's backlog while control is away; a new control finds the old workers."""
    learner, task = await follow(listening)
    await asyncio.sleep(0.05)
    assert learner.learnt == []
    first = Publisher(snapshot())
    await first.start(listening.dup())
    await until(lambda: len(learner.learnt) == 1)
    await first.stop()
    second = Publisher(structs.replace(snapshot(), version=9))
    await second.start(listening.dup())
    await until(lambda: 3 in second.serving and second.serving[3].version == 9)
    await end(task)
    await second.stop()


async def test_a_snapshot_that_cannot_be_taken_changes_nothing(
    listening: socket.socket, caplog: pytest.LogCaptureFixture
) -> None:
    """The failure is logged, and control learns that the old Snapshot is still in use."""
    publisher = Publisher(snapshot())
    await publisher.start(listening.dup())
    learner, task = await follow(listening)
    await until(lambda: 3 in publisher.serving)
    learner.refuse = True
    publisher.publish(structs.replace(snapshot(), version=2))
    await until(lambda: "cannot be applied" in caplog.text)
    assert publisher.serving[3].version == 1
    await end(task)
    await publisher.stop()


async def test_records_arrive_or_are_refused_at_once(listening: socket.socket) -> None:
    """Records reach control; without a control, or with one that does not read, they are refused at once."""
    taken: list[ExchangeRecord] = []
    publisher = Publisher(snapshot(), [taken.extend, taken.extend])
    learner = Learner()
    follower = Follower(listening.getsockname(), learner.learn, learner.status)
    assert not follower.send(0, [astuple(record())])
    await publisher.start(listening.dup())
    task = asyncio.create_task(follower.run())
    await until(lambda: 3 in publisher.serving)
    assert follower.send(0, [astuple(record())])
    await until(lambda: len(taken) == 2)
    assert taken == [record(), record()]
    batch = [astuple(record())] * 2000
    accepted = 0
    while follower.send(0, batch):  # the loop does not turn, so nobody reads
        accepted += 1
        assert accepted < 100
    assert accepted >= 1
    await end(task)
    await publisher.stop()


async def test_snapshots_do_not_pile_up(listening: socket.socket) -> None:
    """A worker that does not read is disconnected instead of being sent more Snapshots."""
    big = structs.replace(snapshot(), models={f"model-{number}": 0 for number in range(200_000)})
    publisher = Publisher(big)
    await publisher.start(listening.dup())
    reader, writer = await asyncio.open_unix_connection(listening.getsockname(), limit=1024)
    await until(lambda: bool(publisher._writers))
    (served,) = publisher._writers
    await until(lambda: served.transport.get_write_buffer_size() > 0)
    publisher.publish(structs.replace(big, version=2))
    await until(lambda: not publisher._writers)
    with pytest.raises((asyncio.IncompleteReadError, ConnectionError)):
        await frames.read(reader)
    writer.close()
    await publisher.stop()


async def test_nonsense_ends_only_that_connection(listening: socket.socket) -> None:
    """A peer with an invalid or too long message is disconnected; the others are not disturbed."""
    publisher = Publisher(snapshot())
    await publisher.start(listening.dup())
    learner, task = await follow(listening)
    await until(lambda: bool(learner.learnt))
    for nonsense in (b"\x00\x00\x00\x03abc", struct.pack("!I", frames.LONGEST + 1)):
        reader, writer = await asyncio.open_unix_connection(listening.getsockname())
        assert isinstance(await frames.read(reader), frames.Publish)
        writer.write(nonsense)
        assert await reader.read() == b""
        writer.close()
    publisher.publish(structs.replace(snapshot(), version=5))
    await until(lambda: publisher.serving[3].version == 5)
    await end(task)
    await publisher.stop()
