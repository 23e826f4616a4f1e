"""Measures in which phase of a request a worker spends its time: ``python -m bench.macro.profile [--only json-full]``.

``perf record`` samples the worker while it serves the load of a scenario. A sample in the kernel belongs to the system
call that it was in, one elsewhere to the phase of its object file (``bench/phases.py``). Shares are of samples, and
microseconds are those shares of the worker's CPU time per unit.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import re
import shutil
import signal
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Final

from msgspec import Struct

from bench.macro.processes import STOP_S, BenchError, load, other_cpus, upstream
from bench.macro.processes import child as started
from bench.macro.scenarios import SCENARIOS, Scenario
from bench.phases import KERNEL, phases_of
from edge.errors import EdgeError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable

RUNS: Final = 5
HERTZ: Final = 3000
_FRAME: Final = re.compile(r"^\s*[0-9a-f]+ (.*) \((.*)\)$")
_CALL: Final = re.compile(r"^(?:__x64_sys_|__arm64_sys_|__sys_|ksys_|do_epoll_|do_|asm_)(\w+)")
_CALLS: Final = {
    "sending": {"sendto", "sendmsg", "write", "writev"},
    "receiving": {"recvfrom", "recvmsg", "read", "readv"},
    "waiting": {"epoll_wait", "epoll_pwait", "wait"},
    "page faults": {"exc_page_fault"},
    "connecting and closing": {"accept4", "connect", "close", "shutdown", "socket", "setsockopt", "epoll_ctl", "ctl"},
}


class Profile(Struct, frozen=True):
    """Where a worker's time goes in one scenario."""

    scenario: str
    unit: str
    us: float  # of the worker's CPU time per unit
    samples: int
    phases: list[tuple[str, float]]  # share of each phase, the kernel's split by system call


def _kernel(frames: list[tuple[str, str]]) -> str:
    calls = [found[1] for name, _ in frames if (found := _CALL.match(name.partition("+")[0])) is not None]
    for call in calls:
        for group, members in _CALLS.items():
            if call in members:
                return f"{KERNEL}: {group}"
    return f"{KERNEL}: other"


def shares(lines: Iterable[str]) -> tuple[int, list[tuple[str, float]]]:
    """Return the number of samples in the output of ``perf script``, and the share of each phase.

    A sample is a header line and its frames, the innermost first; an empty line ends it.
    """
    found: Counter[str] = Counter()
    frames: list[tuple[str, str]] = []
    for line in [*lines, ""]:
        frame = _FRAME.match(line)
        if frame is not None:
            frames.append((frame[1], frame[2]))
        elif not line.strip() and frames:
            place = frames[0][1]
            found[_kernel(frames) if place.startswith("[kernel") else place] += 1
            frames = []
    total = max(1, found.total())
    kernel = {place: count for place, count in found.items() if place.startswith(KERNEL)}
    user = phases_of({place: count for place, count in found.items() if place not in kernel})
    listed = [(f"{KERNEL}: {group}", kernel.get(f"{KERNEL}: {group}", 0) / total) for group in (*_CALLS, "other")]
    return found.total(), listed + [(phase, count / total) for phase, count in user if phase != KERNEL]


@contextlib.asynccontextmanager
async def _recording(pid: int, place: Path) -> AsyncIterator[None]:
    command = ("perf", "record", "--quiet", "-F", str(HERTZ), "-g", "-p", str(pid), "-o", str(place))
    async with started(*command, cpus=other_cpus(), log=place.with_suffix(".log")) as process:
        await asyncio.sleep(0.5)  # perf says nowhere that it has attached; a sample less or more changes nothing
        yield
        process.send_signal(signal.SIGINT)
        await asyncio.wait_for(process.wait(), STOP_S)


async def measure(scenario: Scenario, runs: int) -> Profile:
    """Profile the worker of a scenario's first proxy.

    Raises:
        BenchError: perf is missing or may not sample, or a response was wrong.
    """
    if shutil.which("perf") is None:
        raise BenchError("perf is not installed (Debian: linux-perf)")
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        place = Path(folder) / "data"
        async with upstream() as behind, scenario.subject.started(behind) as proxy, load() as asking:
            order = scenario.order(proxy, scenario.count, behind)
            await asking.run(order)
            units = 0
            async with _recording(proxy.workers[0], place):
                before_ns = proxy.cpu_ns(workers=True)
                for _ in range(runs):
                    units += scenario.units(await asking.run(order))
                used_ns = proxy.cpu_ns(workers=True) - before_ns
        script = await asyncio.create_subprocess_exec(
            *("perf", "script", "-i", str(place), "-F", "comm,ip,sym,dso"),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
        )
        said, _ = await script.communicate()
    samples, phases = shares(said.decode(errors="replace").splitlines())
    if not samples:
        raise BenchError("perf took no sample: may this process profile (kernel.perf_event_paranoid)?")
    return Profile(scenario.name, scenario.unit, used_ns / units / 1000, samples, phases)


def _text(profiles: list[Profile]) -> str:
    lines = [f"{'us of the worker per':32}" + "".join(f"{one.scenario + ' ' + one.unit:>20}" for one in profiles)]
    lines.append(f"{'all':32}" + "".join(f"{one.us:>20.1f}" for one in profiles))
    for at, (name, _) in enumerate(profiles[0].phases):
        lines.append(f"{name:32}" + "".join(f"{one.phases[at][1] * one.us:>20.1f}" for one in profiles))
    return "\n".join(lines)


def main() -> int:
    """Measure, print, and return the exit status: 2 if nothing could be measured."""
    parser = argparse.ArgumentParser(prog="python -m bench.macro.profile", description=__doc__.partition("\n")[0])
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of a table")
    parser.add_argument("--runs", type=int, default=RUNS, help=f"runs of the scenario ({RUNS})")
    parser.add_argument("--only", metavar="NAME", action="append", help="scenarios (json-full)")
    asked = parser.parse_args()
    names = asked.only or ["json-full"]
    try:
        profiles = [asyncio.run(measure(one, asked.runs)) for one in SCENARIOS if one.name in names]
    except (BenchError, EdgeError) as fault:
        print(f"bench: {fault}", file=sys.stderr)
        return 2
    if not profiles:
        parser.error("nothing to measure: --only names no scenario")
    rows = [{"scenario": one.scenario, "unit": one.unit, "us": one.us, "phases": dict(one.phases)} for one in profiles]
    print(json.dumps({"bench": "profile", "rows": rows}) if asked.json else _text(profiles))
    return 0


if __name__ == "__main__":
    sys.exit(main())
