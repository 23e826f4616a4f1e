"""Single-process mode (``--workers 0``): control and one worker on one event loop, for tests and debugging.

The parts are the same as in a node of several processes and use the same socket, but nothing restarts them.
"""

from __future__ import annotations

import asyncio
import os
import signal
from typing import TYPE_CHECKING

import uvloop

from edge.app.control import Control
from edge.app.launch import snapshot_cell
from edge.app.supervisor_state import SupervisorState
from edge.app.worker import Worker
from edge.control.memfd_cell import MemfdCell
from edge.native import AnswerStore, IssuedIds
from edge.terms.public_status import PublicStatus

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from edge.app.children import Child
    from edge.app.launch import Launch
    from edge.control.ledger import Ledger
    from edge.native import SharedState


def run_single(
    launch: Launch,
    ledger: MemfdCell[Ledger],
    shared_state: SharedState,
    others: Sequence[Child],
    up: Callable[[], None],
) -> int:
    """Run until SIGTERM, SIGINT or ``edge drain``, then drain; a second signal ends at once. SIGHUP reloads.

    Args:
        launch: how the node was started.
        ledger: cell of the checked configuration and its history.
        shared_state: the node's shared state.
        others: further processes of the node (simulated providers).
        up: called once, when everything serves.

    Returns:
        The exit status: 0, or 128 + the second signal.

    Raises:
        EdgeError: an address cannot be bound.
    """
    return uvloop.run(_run(launch, ledger, shared_state, others, up))


async def _run(
    launch: Launch,
    ledger: MemfdCell[Ledger],
    shared_state: SharedState,
    others: Sequence[Child],
    up: Callable[[], None],
) -> int:
    for child in others:
        child.start(0)
        await asyncio.to_thread(os.read, child.ready_read, 1)
    loop = asyncio.get_running_loop()
    listening = asyncio.Event()
    control = Control(launch, ledger, shared_state, listening.set)
    worker = Worker(
        shared_state,
        index=0,
        workers=launch.workers,
        control_path=launch.control_path,
        last=snapshot_cell(launch.snapshot_fd),
        grace_s=launch.grace_s,
        serving=up,
        answers=AnswerStore(launch.answers_fd),
        issued=IssuedIds(launch.issued_fd),
        status=MemfdCell(launch.status_fd, PublicStatus),
        keys_fds=launch.keys_fds,
    )
    supervisor_state = MemfdCell(launch.supervisor_state_fd, SupervisorState)
    supervisor_state.keep(SupervisorState({}))

    received: list[signal.Signals] = []
    running = asyncio.current_task()

    def leave(number: signal.Signals, notice_s: float) -> None:
        if number != signal.SIGUSR1:
            received.append(number)
        if len(received) > 1 and running is not None:
            running.cancel()
        supervisor_state.keep(SupervisorState({}, leaving=True))
        loop.call_later(notice_s, worker.drain)

    for number in (signal.SIGTERM, signal.SIGUSR1):
        loop.add_signal_handler(number, leave, number, launch.drain_grace_s)
    loop.add_signal_handler(signal.SIGINT, leave, signal.SIGINT, 0.0)
    loop.add_signal_handler(signal.SIGHUP, control.reload)
    controlling = asyncio.create_task(control.run())
    waiting = asyncio.create_task(listening.wait())
    try:
        await asyncio.wait([controlling, waiting], return_when=asyncio.FIRST_COMPLETED)
        if not controlling.done():
            await worker.run()
    except asyncio.CancelledError:
        if len(received) < 2:  # noqa: PLR2004  # cancelled by something other than a signal
            raise
        return 128 + received[-1]
    finally:
        waiting.cancel()
        control.stop()
        for child in others:
            child.kill()
        await controlling
    return 0
