"""A data plane in a process of its own, to be counted or profiled: ``python -m bench.micro.data_plane``.

Each line of standard input is a configuration as JSON; its port is printed when it listens. The configuration before
it ends. It is the data plane of the integration tests, collected and frozen as a worker's.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import json
import sys
from pathlib import Path

import yaml

sys.path.insert(0, str(Path(__file__).parents[2] / "tests" / "integration"))

from one_data_plane import one_data_plane

from edge.app.worker import COLLECT_AFTER


async def main() -> None:
    """Serve one configuration after the other until standard input ends."""
    loop = asyncio.get_running_loop()
    stack = contextlib.AsyncExitStack()
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        await stack.aclose()
        stack = contextlib.AsyncExitStack()
        data_plane = await stack.enter_async_context(one_data_plane(yaml.safe_dump(json.loads(line))))
        gc.collect()
        gc.freeze()
        gc.set_threshold(COLLECT_AFTER, 20, 20)
        print(data_plane.port, flush=True)
    await stack.aclose()


if __name__ == "__main__":
    asyncio.run(main())
