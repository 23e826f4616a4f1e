"""gRPC under load survives a dying target, and a stream of a gibibyte passes without being buffered."""

from __future__ import annotations

import asyncio
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import grpc
import grpc.aio
import pytest
from grpc_target import CALL, DOWN, OPTIONS, SHAPE, TOTAL, UP, TargetProcess, Total, block, total
from processes import processes

from edge import clock
from edge.sim.node import EdgeProcess
from edge.sim.ports import free_port

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

pytestmark = pytest.mark.alone


CALLS = 20_000
STREAMS = 64
KILLED_AT = CALLS // 3
STARTED_AT = CALLS // 2
PATIENCE_S = 20.0

GIBIBYTE = 2**30
BLOCK = 2**19
MORE_KIB = 32 * 1024
SAMPLE_S = 0.02


def config(*addresses: str) -> dict[str, Any]:
    """Write edge.yaml of one service whose health is checked often enough for a short run."""
    breaker = {"open_duration": "100ms", "open_duration_max": "400ms"}
    service = {"match": {"grpc": "load.Target"}, "targets": list(addresses), "breaker": breaker}
    return {"services": {"target": service}}


def channel(edge: EdgeProcess) -> grpc.aio.Channel:
    """Connect to edge without retries of grpc."""
    options = [("grpc.enable_retries", 0), ("grpc.use_local_subchannel_pool", 1), *OPTIONS]
    return grpc.aio.insecure_channel(edge.url.removeprefix("http://"), options=options)


class Crowd:
    """This many concurrent callers; their results are counted."""

    def __init__(self, through: grpc.aio.Channel) -> None:
        self._call = through.unary_unary(CALL)
        self._left = CALLS
        self.answers: Counter[str] = Counter()
        self.failures: Counter[str] = Counter()
        self.done = 0
        self.turns = {KILLED_AT: asyncio.Event(), STARTED_AT: asyncio.Event()}

    async def run(self) -> None:
        """Make all calls."""
        await asyncio.gather(*(self._caller() for _ in range(STREAMS)))

    async def _caller(self) -> None:
        while self._left:
            self._left -= 1
            message = b"%d" % self._left
            try:
                name, _, said = (await self._call(message, timeout=PATIENCE_S)).partition(b":")
                if said == message:
                    self.answers[name.decode()] += 1
                else:
                    self.failures["another caller's answer"] += 1
            except grpc.aio.AioRpcError as error:
                self.failures[f"{error.code().name}: {error.details()}"] += 1
            self.done += 1
            if self.done in self.turns:
                self.turns[self.done].set()


async def test_no_call_fails_when_a_target_dies() -> None:
    """Of 20,000 unary calls over 64 streams none fails while a target is killed and another started."""
    port = free_port()
    async with TargetProcess("first") as first, TargetProcess("second") as second:
        async with EdgeProcess(config(first.address, second.address, f"127.0.0.1:{port}")) as edge:
            async with channel(edge) as through:
                crowd = Crowd(through)
                calls = asyncio.create_task(crowd.run())
                await crowd.turns[KILLED_AT].wait()
                await second.kill()
                by_then = crowd.answers["second"]
                await crowd.turns[STARTED_AT].wait()
                async with TargetProcess("third", port):
                    await calls
    assert crowd.failures == {}
    assert crowd.answers.total() == CALLS
    assert by_then > KILLED_AT // 10
    assert crowd.answers["second"] < by_then + STREAMS
    assert crowd.answers["third"] > 0


class Memory:
    """The maximum memory of a process during the measurement, above its beginning."""

    def __init__(self, edge: EdgeProcess) -> None:
        self._rollup = Path(f"/proc/{processes(edge)['worker 0']}/smaps_rollup")
        self._began = self._kib()
        self.more_kib = 0

    def look(self) -> None:
        """Read the memory now."""
        self.more_kib = max(self.more_kib, self._kib() - self._began)

    def _kib(self) -> int:
        # Summed up page by page when asked; VmRSS in status may lag by what each CPU has not yet reported.
        return next(int(line.split()[1]) for line in self._rollup.read_text().splitlines() if line.startswith("Rss:"))

    async def watch(self) -> None:
        """Read the memory repeatedly until cancelled."""
        while True:
            self.look()
            await clock.sleep(SAMPLE_S)


def expected() -> Total:
    """Count what is sent."""
    counted = Total()
    for number in range(GIBIBYTE // BLOCK):
        counted.add(block(number, BLOCK))
    return counted


async def blocks() -> AsyncIterator[bytes]:
    """Send a gibibyte."""
    for number in range(GIBIBYTE // BLOCK):
        yield block(number, BLOCK)


@pytest.mark.parametrize("direction", ["down", "up"])
async def test_a_gibibyte_passes_and_is_not_kept(direction: str) -> None:
    """1 GiB in one stream, in either direction, arrives complete, and the worker grows by less than 32 MiB."""
    async with TargetProcess("only") as target, EdgeProcess(config(target.address)) as edge, channel(edge) as through:
        await through.unary_unary(CALL)(b"warm", timeout=PATIENCE_S)
        memory = Memory(edge)
        watching = asyncio.create_task(memory.watch())
        if direction == "down":
            call = through.unary_stream(DOWN)(SHAPE.pack(GIBIBYTE // BLOCK, BLOCK), timeout=100)
            came = TOTAL.unpack((await total(call)).pack())
        else:
            came = TOTAL.unpack(await through.stream_unary(UP)(blocks(), timeout=100))
        watching.cancel()
        memory.look()
    assert came == TOTAL.unpack(expected().pack())
    assert memory.more_kib < MORE_KIB, f"{memory.more_kib} KiB more"
