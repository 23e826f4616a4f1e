"""What does the control process do?  It makes the Snapshot, hands it out, probes what is ill, and answers operators.

Nothing that a client waits for depends on it: it may die at any time, and its successor goes on where it stopped.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import socket
import sys
from typing import TYPE_CHECKING

import uvloop
from msgspec import structs

from edge import clock
from edge.admin.server import AdminServer
from edge.app.launch import child_arguments, recall_launch, say_ready, snapshot_keepsake
from edge.app.leash import leash
from edge.app.tally import Tally
from edge.config.schema import Config
from edge.control.board_watch import PERIOD_S, BoardWatch
from edge.control.compose import compile_config
from edge.control.health import HealthChecks
from edge.control.keepsake import Keepsake
from edge.control.node import Node
from edge.control.prober import Asker, Prober
from edge.control.publish import Publisher
from edge.errors import EdgeError
from edge.listen.server import bind
from edge.native import Board
from edge.telemetry import logs

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from edge.app.launch import Launch
    from edge.terms.snapshot import Snapshot


class Control:
    """Control on the running loop, whether it has a process to itself or not.

    Args:
        launch: how the node was started.
        config: the checked configuration.
        serving: called once, when workers and operators can connect.
    """

    def __init__(self, launch: Launch, config: Config, board: Board, serving: Callable[[], None]) -> None:
        self._launch = launch
        self._config = config
        self._board = board
        self._serving = serving
        self._stop = asyncio.Event()

    def stop(self) -> None:
        """Let :meth:`run` return."""
        self._stop.set()

    async def run(self) -> None:
        """Run until :meth:`stop`.

        Raises:
            EdgeError: the admin address cannot be listened on.
        """
        launch = self._launch
        snapshot = self._compose()
        publisher = Publisher(snapshot)
        node = Node(self._board, publisher, launch.workers, self._restarts)
        admin = AdminServer(node, self._config.admin.token)
        # The descriptor belongs to the supervisor, whose socket outlives every control.
        with socket.socket(fileno=os.dup(launch.control_fd)) as sock:
            await publisher.start(sock)
            await admin.start(bind(launch.admin_host, launch.admin_port))
            async with Asker() as asker:
                prober = Prober(asker.ask, lambda slot: self._board.hint(slot, clock.now_ns()))
                health = HealthChecks(self._board)
                watching = asyncio.create_task(self._watch(node, prober, health))
                self._serving()
                try:
                    await self._stop.wait()
                finally:
                    watching.cancel()
                    await asyncio.gather(watching, return_exceptions=True)
                    await prober.stop()
                    await health.stop()
                    await publisher.stop()
                    await admin.stop()

    def _compose(self) -> Snapshot:
        keepsake = snapshot_keepsake(self._launch.snapshot_fd)
        previous = keepsake.recall()
        targets, routes, _ = self._board.capacities
        snapshot = structs.replace(
            compile_config(self._config, now=clock.wall(), previous=previous, capacity=(targets, routes)),
            listeners=self._launch.listeners,
        )
        if previous is not None:
            again = structs.replace(snapshot, version=previous.version, created=previous.created)
            if again == previous:  # a restart is no news to the workers
                snapshot = previous
        logs.conceal(value for target in snapshot.targets for _, value in target.fields)
        logs.conceal([self._config.admin.token])
        if snapshot is not previous:
            keepsake.keep(snapshot)
        return snapshot

    def _restarts(self) -> dict[str, int]:
        tally = Keepsake(self._launch.tally_fd, Tally).recall()
        return dict(tally.restarts) if tally is not None else {}

    async def _watch(self, node: Node, prober: Prober, health: HealthChecks) -> None:
        """Once a second: say what changed, have the ill probed, and services asked for their health."""
        watch = BoardWatch()
        while True:
            try:
                self._look(node, watch, prober)
                health.tend(node.snapshot.targets, clock.now_ns(), clock.random)
            except Exception as error:  # noqa: BLE001  # one bad look must not end all later ones
                logs.say_failure("looking at the targets failed", error)
            await asyncio.sleep(PERIOD_S)

    def _look(self, node: Node, watch: BoardWatch, prober: Prober) -> None:
        now_ns = clock.now_ns()
        reports = node.targets(now_ns)
        for level, sentence, facts in watch.look(reports):
            logs.say(level, sentence, **facts)
        ill = [
            target for target in node.snapshot.targets if target.id in reports and reports[target.id].state == "open"
        ]
        prober.tend(ill, now_ns, clock.random)


async def _run(launch: Launch, config: Config, ready_fd: int) -> None:
    control = Control(launch, config, Board(launch.board_fd), lambda: say_ready(ready_fd))
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, control.stop)
    await control.run()


def main(argv: Sequence[str] | None = None) -> None:
    """Run the control process; the supervisor gives the arguments."""
    parser = argparse.ArgumentParser(prog="python -m edge.app.control", description=__doc__)
    child_arguments(parser)
    given = parser.parse_args(argv)
    launch = recall_launch(given.launch)
    leash(launch.supervisor)
    logs.set_up("control", level=launch.log_level, form=launch.log_form)
    config = Keepsake(launch.config_fd, Config).recall()
    if config is None:
        raise SystemExit("edge: the supervisor handed over no configuration")
    try:
        uvloop.run(_run(launch, config, given.ready))
    except EdgeError as error:
        logs.say(logs.ERROR, str(error))
        sys.exit(1)


if __name__ == "__main__":
    main()
