"""A data plane in a process of its own, to be counted or profiled: ``python -m bench.micro.data_plane``.

Each line of standard input is a configuration as JSON; its port is printed when it listens. The configuration before
it ends. ``signing`` beside the configuration has the key sets of issuers as text, by their URL. It is the data plane of
the integration tests, collected and frozen as a worker's.
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

from edge import clock
from edge.admission.signing_keys import read_keys
from edge.app.worker import COLLECT_AFTER
from edge.terms.snapshot import SigningKeys


async def main() -> None:
    """Serve one configuration after the other until standard input ends."""
    loop = asyncio.get_running_loop()
    stack = contextlib.AsyncExitStack()
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        await stack.aclose()
        stack = contextlib.AsyncExitStack()
        config = json.loads(line)
        signing = {
            source: SigningKeys(read_keys(text.encode()), clock.wall())
            for source, text in config.pop("signing", {}).items()
        }
        running = one_data_plane(yaml.safe_dump(config), signing=signing)
        data_plane = await stack.enter_async_context(running)
        gc.collect()
        gc.freeze()
        gc.set_threshold(COLLECT_AFTER, 20, 20)
        print(data_plane.port, flush=True)
    await stack.aclose()


if __name__ == "__main__":
    asyncio.run(main())
