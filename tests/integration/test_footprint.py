"""What an idle node takes of the machine, and what it takes until its first answer.

The node is that of ``python -m bench.macro.footprint``: two workers, a hundred keys with every limit, prices, metrics,
traces to a collector, and a gRPC service whose health is checked.
"""

from __future__ import annotations

import resource
import subprocess
import sys

import pytest

from bench.macro.footprint import measure

pytestmark = pytest.mark.alone

PSS_MIB = 110


async def test_an_idle_node_shares_its_memory() -> None:
    """All processes of an idle node with two workers take at most 110 MiB of the machine (PSS)."""
    found = await measure(rounds=1, workers=2)
    assert found.pss_max_mib <= PSS_MIB


async def test_the_first_answer_takes_little_work() -> None:
    """Until its first answer a node takes less than 3.4 times what importing a worker takes.

    One process reads the configuration, the supervisor's program imports what all need, and workers are forked. Time on
    the clock depends on what else the machine does; docs/benchmarks.md has it.
    """
    bare_s = min(import_s() for _ in range(5))
    found = await measure(rounds=3, workers=2)
    assert found.first_answer_cpu_s < 3.4 * bare_s


def import_s() -> float:
    """Return the seconds of the processor that importing a worker takes in a new interpreter."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, "-c", "import edge.app.worker"], check=True, timeout=60)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
