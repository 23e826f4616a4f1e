"""What does ``--workers 0`` run?  Control and one worker on one loop, in one process: for tests and debugging.

They are the same parts, joined by the same socket, as in the processes of a node; only nobody restarts them.
"""

from __future__ import annotations

import asyncio
import os
import signal
from typing import TYPE_CHECKING

from edge.app.control import Control
from edge.app.launch import snapshot_keepsake
from edge.app.worker import Worker

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from edge.app.children import Child
    from edge.app.launch import Launch
    from edge.config.schema import Config
    from edge.native import Board


async def run_single(
    launch: Launch, config: Config, board: Board, others: Sequence[Child], up: Callable[[], None]
) -> None:
    """Run until SIGTERM or SIGINT, then drain.

    Args:
        launch: how the node was started.
        config: the checked configuration.
        board: the node's Board.
        others: processes that belong to the node (simulated providers).
        up: called once, when everything serves.

    Raises:
        EdgeError: an address cannot be listened on.
    """
    for child in others:
        child.start(0)
        await asyncio.to_thread(os.read, child.ready_read, 1)
    loop = asyncio.get_running_loop()
    listening = asyncio.Event()
    control = Control(launch, config, board, listening.set)
    worker = Worker(
        board,
        index=0,
        workers=launch.workers,
        control_path=launch.control_path,
        last=snapshot_keepsake(launch.snapshot_fd),
        grace_s=launch.grace_s,
        serving=up,
    )
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, worker.drain)
    controlling = asyncio.create_task(control.run())
    waiting = asyncio.create_task(listening.wait())
    try:
        await asyncio.wait([controlling, waiting], return_when=asyncio.FIRST_COMPLETED)
        if not controlling.done():
            await worker.run()
    finally:
        waiting.cancel()
        control.stop()
        for child in others:
            child.kill()
        await controlling
