"""The control process: publishes the Snapshot, probes failing targets, and serves the admin API.

No client waits for it: it may die at any time, and its successor continues from the state in shared memory.
"""

from __future__ import annotations

import argparse
import asyncio
import faulthandler
import os
import signal
import socket
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import uvloop
from msgspec import structs

from edge import clock
from edge.admin.server import AdminServer
from edge.app.discover import discover
from edge.app.identities import Identities
from edge.app.launch import child_arguments, recall_launch, say_ready, set_up_logs, snapshot_cell
from edge.app.parent_death import die_with_parent
from edge.app.private_memory import keep_memory_private
from edge.app.share import aborted, known_peers, share
from edge.app.supervisor_state import SupervisorState
from edge.control.canaries import Canaries
from edge.control.certificate_watch import CertificateWatch
from edge.control.chronicle import chronicle_for
from edge.control.compose import at_addresses, compile_config
from edge.control.describing import Describing
from edge.control.file_watch import FilesWatch
from edge.control.health import HealthChecks
from edge.control.issued import IssuedKeeper, issued_file
from edge.control.ledger import Ledger
from edge.control.loads import Loads
from edge.control.measuring import Measuring
from edge.control.memfd_cell import MemfdCell
from edge.control.node import Node
from edge.control.operations import Operations
from edge.control.output_histogram import OutputHistogram
from edge.control.prober import Asker, Prober
from edge.control.publish import Publisher
from edge.control.recent_traces import RecentTraces
from edge.control.recorder import Recorder
from edge.control.second_opinion import SecondOpinion
from edge.control.spend import SpendFile, Spending
from edge.control.state import StateFile
from edge.control.state_watch import PERIOD_S, StateWatch
from edge.control.tracing import Tracing
from edge.errors import EdgeError
from edge.listen.server import bind
from edge.native import IssuedIds, SharedState
from edge.telemetry import logs
from edge.telemetry.access import AccessLog
from edge.telemetry.exemplars import ExemplarBook
from edge.telemetry.line_writer import LineWriter
from edge.telemetry.redaction import redact_snapshot
from edge.terms.public_status import PublicStatus
from edge.terms.target_state import OPEN

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Mapping, Sequence

    from edge.app.launch import Launch
    from edge.config.schema import Config
    from edge.control.chronicle import Chronicle
    from edge.control.discovering import Discovering, Found
    from edge.terms.snapshot import Snapshot


class NoLedgerError(EdgeError):
    """The control process was started without a configuration."""

    kind = "no_ledger"


class Control:
    """Control on the running event loop, in a process of its own or beside a worker.

    Args:
        launch: how the node was started.
        ledger: cell of the checked configuration and its history; only control writes it.
        serving: called once, when workers and operators can connect.
    """

    def __init__(
        self, launch: Launch, ledger: MemfdCell[Ledger], shared_state: SharedState, serving: Callable[[], None]
    ) -> None:
        self._launch = launch
        self._ledger = ledger
        self._shared_state = shared_state
        self._serving = serving
        self._stop = asyncio.Event()
        self._operations: Operations | None = None
        self._admin: AdminServer | None = None
        self._recorder: Recorder | None = None
        self._lines = LineWriter()
        self._access = AccessLog("off", write=self._lines.write)
        self._tracing: Tracing | None = None
        self._measuring: Measuring | None = None
        self._opinion: SecondOpinion | None = None
        self._loads: Loads | None = None
        self._describing: Describing | None = None
        self._chronicle: Chronicle | None = None
        self._discovering: Discovering | None = None
        self._identities: Identities | None = None
        self._issued = IssuedKeeper(IssuedIds(launch.issued_fd), issued_file(launch.state_dir, ledger.recall()))
        self._leave_requested = False

    def reload(self) -> None:
        """Reload the configuration (SIGHUP); does nothing before :meth:`run` has begun."""
        if self._operations is not None:
            self._operations.reload_or_log("SIGHUP")

    def stop(self) -> None:
        """Make :meth:`run` return."""
        self._stop.set()

    async def run(self) -> None:
        """Run until :meth:`stop`.

        Raises:
            EdgeError: the admin address cannot be bound.
        """
        launch = self._launch
        ledger = self._known()
        snapshot = self._compose(ledger.config)
        recent_traces, tracing, measuring = RecentTraces(), Tracing(os.environ), Measuring(os.environ)
        book = ExemplarBook()
        self._access.follow(ledger.config.log)
        publisher = Publisher(snapshot, [recent_traces.take, tracing.take, book.take], self._access.take)
        folder = Path(launch.state_dir) if launch.state_dir and ledger.source else None
        spending = Spending(self._shared_state, SpendFile(folder, ledger.source)) if folder is not None else None
        operations = Operations(
            self._shared_state,
            publisher,
            self._ledger,
            snapshot_cell(launch.snapshot_fd),
            applied=self._applied,
            leave=self._leave,
            spending=spending,
            peers=known_peers(snapshot),
        )
        recorder = Recorder(StateFile(folder, ledger.source)) if folder is not None else None
        node = Node(
            self._shared_state,
            publisher,
            launch.workers,
            lambda: dict(self._supervisor_state().restarts),
            leaving=lambda: self._supervisor_state().leaving,
            operations=operations,
            recorder=recorder,
            recent_traces=recent_traces,
            exemplars=book.found,
            exported=lambda: tracing.exported,
            metrics_exported=lambda: measuring.exported,
        )
        node.discovering = self._discovering = discovering = discover(self._found, snapshot.found)
        self._identities = identities = Identities(
            launch, node, operations, publisher, shared_state=self._shared_state, spending=spending, keep=self._keep
        )
        node.sharing = sharing = share(node, operations, ledger.config, spending, self._issued.table)
        chronicle = chronicle_for(node, ledger.config, launch.state_dir, ledger.source)
        node.chronicle = self._chronicle = chronicle
        operations.acted, operations.for_many.noted = chronicle.acted, chronicle.followed
        chronicle.publish_to(MemfdCell(launch.status_fd, PublicStatus))
        admin = AdminServer(node, ledger.config.admin.token, str(Path(launch.control_path).with_name("admin.sock")))
        self._operations, self._admin, self._recorder = operations, admin, recorder
        self._tracing, self._measuring = tracing, measuring
        self._follow_telemetry(ledger.config, snapshot)
        if recorder is not None and ledger.started_from is None:  # stored state in use keeps its date
            recorder.record(ledger.config, snapshot)
        # A copy of the descriptor: the supervisor owns the socket, which outlives every control process.
        with socket.socket(fileno=os.dup(launch.control_fd)) as sock:
            await identities.start_keys()
            await admin.start(bind(launch.admin_host, launch.admin_port))
            await chronicle.restore()
            async with Asker() as asker:
                prober = Prober(asker.ask, lambda slot: self._shared_state.hint(slot, clock.now_ns()))
                health, describing, opinion, loads = self._checks(asker, snapshot)
                self._describing, self._opinion, self._loads = describing, opinion, loads
                sharing_task = asyncio.create_task(sharing.run())
                watch_task = asyncio.create_task(self._watch(node, operations, prober, health, spending))
                export_task = asyncio.create_task(measuring.run(node))
                await asyncio.gather(discovering.start(ledger.config), identities.start(ledger.config))
                await publisher.start(sock)  # not before, or a new node's worker would begin with empty pools
                self._serving()
                try:
                    await self._stop.wait()
                finally:
                    await _ended(watch_task)
                    # Stored data first: the supervisor waits only seconds, and the other parts may take as long.
                    kept = [] if recorder is None else [recorder.stop()]
                    kept += [] if spending is None else [spending.stop(node.accounted)]
                    kept += [self._issued.stop(), chronicle.stop()]
                    await _all(*kept)
                    await _all(
                        _ended(export_task),
                        _ended(sharing_task),
                        discovering.stop(),
                        identities.stop(),
                        tracing.stop(),
                        prober.stop(),
                        opinion.stop(),
                        loads.stop(),
                        health.stop(),
                        describing.stop(),
                        self._last_records(publisher),
                        admin.stop(),
                    )

    async def _last_records(self, publisher: Publisher) -> None:
        await publisher.stop()
        await asyncio.to_thread(self._lines.close)

    def _checks(self, asker: Asker, snapshot: Snapshot) -> tuple[HealthChecks, Describing, SecondOpinion, Loads]:
        """Return what asks targets of itself, beside the probes."""
        state, describing = self._shared_state, Describing(self._shared_state, snapshot.described, self._described)
        return HealthChecks(state), describing, SecondOpinion(state, asker.status), Loads(asker.text, state)

    def _known(self) -> Ledger:
        ledger = self._ledger.recall()
        if ledger is None:
            raise NoLedgerError("the supervisor handed over no configuration")
        return ledger

    def _compose(self, config: Config) -> Snapshot:
        cell = snapshot_cell(self._launch.snapshot_fd)
        previous = cell.recall()
        targets, routes, _ = self._shared_state.capacities
        snapshot = at_addresses(
            compile_config(
                config,
                now=clock.wall(),
                previous=previous,
                found=self._known().found if previous is None else None,
                signing=self._known().signing if previous is None else None,
                tokens=self._known().tokens if previous is None else None,
                capacity=(targets, routes),
                allowance_capacity=self._shared_state.allowance_capacity,
                peers=known_peers(previous) if previous is not None else (),
            ),
            self._launch.listeners,
        )
        if previous is not None:
            again = structs.replace(snapshot, version=previous.version, created=previous.created)
            if again == previous:  # workers need not apply the same Snapshot again
                snapshot = previous
        redact_snapshot(snapshot, clock.wall())
        logs.redact([config.admin.token])
        if snapshot is not previous:
            cell.keep(snapshot)
        return snapshot

    def _applied(self, config: Config, snapshot: Snapshot) -> None:
        """Apply those parts of a reloaded configuration that the Snapshot does not carry."""
        if self._admin is not None:
            self._admin.ask_for(config.admin.token)
        self._access.follow(config.log)
        self._follow_telemetry(config, snapshot)
        if self._chronicle is not None:
            self._chronicle.follow(config)
        if self._discovering is not None:
            self._discovering.follow(config)
        if self._identities is not None:
            self._identities.follow(config)
        if self._recorder is not None:
            self._recorder.record(config, snapshot)

    def _follow_telemetry(self, config: Config, snapshot: Snapshot) -> None:
        if self._tracing is not None:
            self._tracing.follow(config.telemetry, snapshot)
        if self._measuring is not None:
            self._measuring.follow(config.telemetry)

    def _found(self, found: Found) -> None:
        """Publish a Snapshot with the addresses that sources of discovery name, and write it to disk."""
        if self._operations is not None:
            self._keep(self._operations.set_found(found))

    def _described(self, described: Mapping[str, tuple[bytes, ...]]) -> None:
        """Publish a Snapshot with what gRPC services say of themselves, and write it to disk."""
        if self._operations is not None:
            self._operations.described = described
            self._keep(self._operations.refresh())

    def _keep(self, snapshot: Snapshot | None) -> None:
        if snapshot is not None and self._recorder is not None and self._operations is not None:
            self._recorder.record(self._operations.ledger.config, snapshot)

    def _leave(self) -> None:
        """Make the supervisor drain the node, by SIGUSR1, so that a later SIGTERM still counts as the first."""
        if not self._leave_requested:
            self._leave_requested = True
            os.kill(self._launch.supervisor, signal.SIGUSR1)

    def _supervisor_state(self) -> SupervisorState:
        return MemfdCell(self._launch.supervisor_state_fd, SupervisorState).recall() or SupervisorState({})

    async def _watch(
        self, node: Node, operations: Operations, prober: Prober, health: HealthChecks, spending: Spending | None
    ) -> None:
        """Once a second: write the heartbeat, log state changes, run probes and health checks, watch the file."""
        certificates, secrets = CertificateWatch(), FilesWatch()
        watch, output_histogram = StateWatch(), OutputHistogram(self._shared_state, clock.now_ns())
        canaries = Canaries(self._shared_state, operations, lambda: node.snapshot.targets, aborted(node, operations))
        pulse = MemfdCell(self._launch.pulse_fd, int)
        while True:
            pulse.keep(clock.now_ns())
            logs.tell_suppressed()
            try:
                self._watch_targets(node, watch, prober)
                health.tend(node.snapshot.targets, clock.now_ns(), clock.random)
                if self._describing is not None:
                    self._describing.tend(node.snapshot, clock.now_ns(), clock.random)
                output_histogram.poll(node.snapshot, clock.now_ns())
                canaries.poll(clock.now_ns())
                if self._recorder is not None:
                    self._recorder.poll(clock.now_ns())
                self._issued.poll(clock.now_ns())
                if spending is not None:
                    spending.poll(node.accounted, clock.now_ns())
            except Exception as error:  # noqa: BLE001  # one failed turn must not end the loop
                logs.say_failure("watching the targets failed", error)
            try:
                if certificates.poll(operations.ledger.config) and operations.refresh() is not None:
                    logs.say(logs.INFO, "certificate files have changed; new connections use them")
                if secrets.poll(operations.ledger.secret_files):
                    operations.reload_or_log("a file with a secret changed")
                operations.poll()
            except Exception as error:  # noqa: BLE001  # as above; the current configuration stays in force
                logs.say_failure("checking the configuration file failed", error)
            await asyncio.sleep(PERIOD_S)

    def _watch_targets(self, node: Node, watch: StateWatch, prober: Prober) -> None:
        now_ns = clock.now_ns()
        reports = node.targets(now_ns)
        for level, sentence, facts in watch.poll(reports):
            logs.say(level, sentence, **facts)
        failing = [
            target
            for target in node.snapshot.targets
            if target.id in reports and reports[target.id].state == OPEN.label
        ]
        prober.tend(failing, now_ns, clock.random)
        if self._identities is not None:
            self._identities.poll(reports)
        if self._opinion is not None:
            self._opinion.tend(node.snapshot.targets, now_ns, clock.random)
        if self._loads is not None:
            self._loads.tend(node.snapshot, now_ns, clock.random)
        if node.chronicle is not None:
            node.chronicle.poll(reports, clock.wall(), now_ns)


async def _ended(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def _all(*ends: Coroutine[Any, Any, None]) -> None:
    """Await all at once, so that their waits do not add up, and one failure does not keep the others from ending."""
    for outcome in await asyncio.gather(*ends, return_exceptions=True):
        if isinstance(outcome, Exception):
            logs.say_failure("a part of control failed to stop", outcome)


async def _run(launch: Launch, ready_fd: int) -> None:
    control = Control(
        launch, MemfdCell(launch.ledger_fd, Ledger), SharedState(launch.shared_state_fd), lambda: say_ready(ready_fd)
    )
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, control.stop)
    asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, control.reload)
    await control.run()


def main(argv: Sequence[str] | None = None) -> None:
    """Run the control process; the supervisor passes the arguments."""
    parser = argparse.ArgumentParser(prog="python -m edge.app.control", description=__doc__)
    child_arguments(parser)
    given = parser.parse_args(argv)
    launch = recall_launch(given.launch)
    die_with_parent(launch.supervisor)
    faulthandler.enable()  # a crash in compiled code prints the stack, but no data
    set_up_logs("control", launch)
    keep_memory_private(launch)
    try:
        uvloop.run(_run(launch, given.ready))
    except EdgeError as error:
        logs.say(logs.ERROR, str(error))
        sys.exit(1)


if __name__ == "__main__":
    main()
