"""Measures how soon a node answers and how much memory it takes at rest: ``python -m bench.macro.footprint [--json]``.

The time is from starting ``edge run`` to the end of the first right answer, asked over and over on new connections; the
processor time is what all processes of the node have used until then, which a loaded machine does not change. The
memory is the proportional set size (PSS) of all processes of an idle node: a page that several processes share counts
for each by its share, so that the sum is what the node takes of the machine.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import socket
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Final

from msgspec import Struct, to_builtins

from bench.macro import wire
from bench.macro.processes import BenchError, child, cpu_ns, family, other_cpus, proxy_cpus, upstream
from bench.macro.scenarios import FULL

ROUNDS: Final = 9
WORKERS: Final = 2
LIMIT_S: Final = 30.0
IDLE_S: Final = 3.0  # until what the start left is freed
_RETRY_S: Final = 0.005


class Footprint(Struct, frozen=True):
    """Seconds to the first answer and MiB of an idle node: medians of the rounds, least and greatest."""

    workers: int
    rounds: int
    first_answer_s: float
    first_answer_min_s: float
    first_answer_max_s: float
    first_answer_cpu_s: float
    pss_mib: float
    pss_max_mib: float


def pss_mib(pids: list[int]) -> float:
    """Return the PSS of these processes together."""
    found = 0
    for pid in pids:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
        found += next(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
    return found / 1024


def _answers(port: int) -> bool:
    """Return whether one request gets its answer."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1) as connection:
            connection.sendall(wire.WHOLE_REQUEST)
            received = b""
            while data := connection.recv(65536):
                received += data
                if received.endswith(wire.WHOLE_CONTENT):
                    return received.startswith(b"HTTP/1.1 200 ")
    except OSError:  # nothing listens yet
        return False
    return False


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


async def _round(folder: Path, config: dict[str, object], workers: int) -> tuple[float, float, float]:
    port = _free_port()
    place = folder / "edge.yaml"
    addresses = {"listen": [{"address": f"127.0.0.1:{port}"}], "admin": {"address": "127.0.0.1:0"}}
    await asyncio.to_thread(place.write_text, json.dumps({**config, **addresses}))  # JSON is YAML
    command = (sys.executable, "-m", "edge", "run", "-c", str(place), "--workers", str(workers), "--drain-grace", "0")
    started_ns = time.perf_counter_ns()
    cpus = sorted({*proxy_cpus(), *other_cpus()})
    async with child(*command, "--state-dir", str(folder / "state"), cpus=cpus, log=folder / "log") as process:
        while not await asyncio.to_thread(_answers, port):
            if process.returncode is not None or time.perf_counter_ns() - started_ns > LIMIT_S * 1e9:
                raise BenchError(f"edge did not answer: status {process.returncode}")
            await asyncio.sleep(_RETRY_S)
        first_s, used_s = (time.perf_counter_ns() - started_ns) / 1e9, cpu_ns(family(process.pid)) / 1e9
        await asyncio.sleep(IDLE_S)
        return first_s, used_s, pss_mib(family(process.pid))


async def measure(rounds: int, workers: int) -> Footprint:
    """Start a node ``rounds`` times.

    Raises:
        BenchError: a part of the benchmark does not work.
    """
    async with contextlib.AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-")))
        config = FULL.config(await stack.enter_async_context(upstream()))
        found = [await _round(folder, config, workers) for _ in range(rounds)]
    firsts, used, sizes = (list(column) for column in zip(*found, strict=True))
    return Footprint(
        workers,
        rounds,
        first_answer_s=median(firsts),
        first_answer_min_s=min(firsts),
        first_answer_max_s=max(firsts),
        first_answer_cpu_s=median(used),
        pss_mib=median(sizes),
        pss_max_mib=max(sizes),
    )


def main() -> int:
    """Measure, print, and return the exit status: 2 if nothing could be measured."""
    parser = argparse.ArgumentParser(prog="python -m bench.macro.footprint", description=__doc__.partition("\n")[0])
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of lines")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help=f"starts ({ROUNDS})")
    parser.add_argument("--workers", type=int, default=WORKERS, help=f"workers of the node ({WORKERS})")
    asked = parser.parse_args()
    if asked.rounds < 1:
        parser.error("nothing to measure: --rounds must be at least 1")
    try:
        found = asyncio.run(measure(asked.rounds, asked.workers))
    except BenchError as fault:
        print(f"bench: {fault}", file=sys.stderr)
        return 2
    if asked.json:
        print(json.dumps({"bench": "footprint", "rows": [to_builtins(found)]}))
        return 0
    first = f"{found.first_answer_s:.2f} s ({found.first_answer_min_s:.2f}..{found.first_answer_max_s:.2f})"
    size = f"{found.pss_mib:.0f} MiB (at most {found.pss_max_mib:.0f})"
    print(f"{'first answer after the start of edge run':44}{first}")
    print(f"{'processor time until then, all processes':44}{found.first_answer_cpu_s:.2f} s")
    print(f"{f'PSS of the idle node, {found.workers} workers':44}{size}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
