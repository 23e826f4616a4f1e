"""A worker process: listeners and the native data plane, independent of every other process.

It routes by the last Snapshot that control published and shares what it learns through the shared state. While control
is down it keeps serving and reconnects now and then.
"""

from __future__ import annotations

import argparse
import asyncio
import faulthandler
import gc
import os
import signal
import sys
from typing import TYPE_CHECKING, Final

from edge import clock
from edge.admission.tokens import Verifier
from edge.app.freed_memory import keep_freed_memory
from edge.app.launch import Launch, child_arguments, recall_launch, say_ready, set_up_logs, snapshot_cell
from edge.app.parent_death import die_with_parent
from edge.app.private_memory import keep_memory_private
from edge.app.reactor_loop import ReactorLoop
from edge.app.record_sink import RecordSink
from edge.app.translations import Translations
from edge.cache.answers import Answers
from edge.control import frames
from edge.control.follow import Follower
from edge.control.memfd_cell import MemfdCell
from edge.dialects import kept
from edge.errors import EdgeError
from edge.listen import reply
from edge.listen.calls import Calls
from edge.listen.certified import is_named
from edge.listen.local import Local
from edge.listen.server import open_listeners, renew_certificates, turn_away
from edge.listen.service_health import ServiceHealth
from edge.native import AnswerStore, DataPlane, Hooks, IssuedIds, Listener, Reactor, Router, SharedState, Tokens
from edge.providers.retry_after import retry_after_seconds
from edge.routing.table import model_document, models_document
from edge.telemetry import logs
from edge.telemetry.redaction import redact_snapshot
from edge.terms.public_status import PublicStatus
from edge.upstream.opener import Opener

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from edge.app.key_follower import KeyFollower
    from edge.listen.calls import Language
    from edge.terms.snapshot import Snapshot

_S: Final = 1_000_000_000
# Loop lag is the worst of four samples, written with the heartbeat once a second.
SAMPLE_S: Final = 0.25
SAMPLES: Final = 4
# Container allocations, net of deallocations, between two collections of garbage.
COLLECT_AFTER: Final = 20_000
# How often a draining worker checks whether its connections are gone.
DRAIN_POLL_S: Final = 0.02
# Wait between the last SYN let in and the close: a handshake begun before it ends within a round trip.
SETTLE_S: Final = 0.1
# How long an idle connection may still send a request after its listener is closed, and how long the last response to
# clients that are cut off may take.
LINGER_S: Final = 0.5


class Worker:
    """One worker on the running event loop, in a process of its own or beside control.

    Args:
        index: its column in the shared state.
        workers: number of columns in use on this node.
        control_path: path of the node's private socket.
        last: cell of the last Snapshot.
        grace_s: seconds that exchanges in flight get to end after :meth:`drain`.
        serving: called once, when the listeners are open.
        answers: the node's answers; None = no answer is kept.
        issued: the node's table of who issued which id; None = no id is remembered.
        ticket_secret: what the node's workers seal TLS session tickets with; None = a secret of this worker alone.
        status: cell of what clients may know of outages; None = nothing is known.
        keys_fds: cells of the cluster's keys; None = there are none.
    """

    def __init__(
        self,
        shared_state: SharedState,
        *,
        index: int,
        workers: int,
        control_path: str,
        last: MemfdCell[Snapshot],
        grace_s: float,
        serving: Callable[[], None],
        answers: AnswerStore | None = None,
        issued: IssuedIds | None = None,
        ticket_secret: bytes | None = None,
        status: MemfdCell[PublicStatus] | None = None,
        keys_fds: tuple[int, int] | None = None,
    ) -> None:
        self._shared_state = shared_state
        self._index = index
        self._workers = workers
        self._last = last
        self._grace_s = grace_s
        self._serving = serving
        self._cache = None if answers is None else Answers(answers)
        self._issued = issued
        self._snapshot: Snapshot | None = None
        self._data_plane: DataPlane | None = None
        self._open = False
        self._known = asyncio.Event()
        self._stop = asyncio.Event()
        self._ticket_secret = ticket_secret or os.urandom(32)
        self._status = status.recall if status is not None else lambda: None
        self._listeners: list[Listener] = []
        self._reactor = Reactor(asyncio.get_running_loop())
        self._opener = Opener(asyncio.get_running_loop(), self._reactor)
        self._follower = Follower(control_path, self.learn, self.status)
        self._verifier = Verifier(self._follower.want)
        self._tokens = Tokens(self._verifier)
        usable = ServiceHealth(shared_state).is_usable
        self._calls = Calls(_inference, models_document, lambda: not self._stop.is_set(), usable)
        self._keys: KeyFollower | None = None
        if keys_fds is not None:
            from edge.app.key_follower import KeyFollower  # noqa: PLC0415  # most nodes have no cluster
            from edge.control.key_cells import KeyCells  # noqa: PLC0415  # as above

            self._keys = KeyFollower(
                KeyCells(keys_fds), shared_state, workers, self._route_anew, self._follower.want_member
            )
            self._follower.keys_changed = self._keys.refresh

    def learn(self, snapshot: Snapshot) -> None:
        """Use this Snapshot from now on; exchanges in flight keep theirs."""
        if snapshot == self._snapshot:
            return
        redact_snapshot(snapshot, clock.wall())
        if self._verifier.learn(snapshot):
            self._tokens.forget_refused()
        self._calls.follow(snapshot)
        router = self._router(snapshot)
        if self._data_plane is None:
            local = Local(models_document, model_document, self._status)
            self._data_plane = DataPlane(
                self._shared_state,
                self._index,
                router,
                opener=self._opener,
                hooks=Hooks(
                    replies=reply,
                    local=local.answer,
                    retry_hint=retry_after_seconds,
                    translations=Translations(),
                    calls=self._calls,
                    peer_names_match=is_named,
                    sink=RecordSink(lambda records: self._follower.send(self._index, records)),
                    cache=self._cache,
                    issued=self._issued,
                    kept=kept,
                    tokens=self._tokens,
                ),
            )
            self._data_plane.start(self._reactor)
        else:
            self._data_plane.swap(router)
        if self._snapshot is not None and self._listeners:
            before, after = self._snapshot.listeners, snapshot.listeners
            renew_certificates(self._listeners, before, after, self._ticket_secret)
        self._snapshot = snapshot
        self._known.set()

    def _router(self, snapshot: Snapshot) -> Router:
        return Router(snapshot, self._shared_state, self._workers, None if self._keys is None else self._keys.table)

    def _route_anew(self) -> None:
        """Use another Router, because what all keys of the cluster have in common has changed."""
        if self._data_plane is not None and self._snapshot is not None:
            self._data_plane.swap(self._router(self._snapshot))

    def status(self) -> frames.Serving | None:
        """Return what this worker reports to control; None before it serves."""
        if self._snapshot is None or not self._open:
            return None
        return frames.Serving(
            worker=self._index, pid=os.getpid(), version=self._snapshot.version, draining=self._stop.is_set()
        )

    def drain(self) -> None:
        """Stop accepting, let exchanges in flight end, then make :meth:`run` return. Further calls change nothing."""
        self._stop.set()

    async def run(self) -> None:
        """Serve until :meth:`drain`, then drain.

        Raises:
            EdgeError: a listener cannot be opened.
        """
        self._shared_state.beat(self._index, os.getpid(), clock.now_ns())
        if self._keys is not None:
            self._keys.load()
        last = self._last.recall()
        if last is not None:
            self.learn(last)
        following = asyncio.create_task(self._follower.run())
        beating = asyncio.create_task(self._beat())
        try:
            await _either(self._known, self._stop)
            if self._snapshot is not None and self._data_plane is not None:
                await self._serve(self._snapshot, self._data_plane)
        finally:
            if self._data_plane is not None:
                self._data_plane.stop()  # before the follower ends, which carries the last records to control
            following.cancel()
            beating.cancel()
            await asyncio.gather(following, beating, return_exceptions=True)
            if self._keys is not None:
                self._keys.stop()
            await self._opener.stop()
            self._reactor.close()

    async def _serve(self, snapshot: Snapshot, data_plane: DataPlane) -> None:
        listeners = self._listeners = open_listeners(snapshot.listeners, data_plane, self._ticket_secret)
        self._open = True
        # Objects that exist now live as long as the process, so the collector need not traverse them. Exchanges create
        # no reference cycles; errors do, and collecting those can wait beyond each burst of requests.
        gc.collect()
        gc.freeze()
        gc.set_threshold(COLLECT_AFTER, 20, 20)
        self._follower.report()
        self._serving()
        await self._stop.wait()
        deadline_ns = clock.now_ns() + int(self._grace_s * _S)
        self._follower.report()
        await self._leave(data_plane, listeners, deadline_ns)
        data_plane.drain()
        if not await _emptied(data_plane, deadline_ns):
            logs.say(logs.WARNING, "exchanges were cut off: the grace period is over", count=data_plane.active)
            data_plane.cut()
            await _emptied(data_plane, clock.now_ns() + int(LINGER_S * _S))

    async def _leave(self, data_plane: DataPlane, listeners: list[Listener], deadline_ns: int) -> None:
        """Close the listeners without losing pending connections, and let keep-alive clients learn of the end.

        A client whose connection closes while its request is on the way sees a failure; a client that reads
        ``connection: close`` reconnects elsewhere. So each connection may carry one more request before it is closed.
        """
        data_plane.leave()
        turn_away(listener.fileno() for listener in listeners)
        await asyncio.sleep(SETTLE_S)
        self._listeners = []
        for listener in listeners:
            listener.close()
        await _emptied(data_plane, min(clock.now_ns() + int(LINGER_S * _S), deadline_ns))

    async def _beat(self) -> None:
        """Write heartbeat and loop lag to the shared state once a second."""
        while True:
            worst_ns = 0
            logs.tell_suppressed()
            for _ in range(SAMPLES):
                due_ns = clock.now_ns() + int(SAMPLE_S * _S)
                await asyncio.sleep(SAMPLE_S)
                worst_ns = max(worst_ns, clock.now_ns() - due_ns)
            self._shared_state.beat(self._index, os.getpid(), clock.now_ns(), worst_ns // 1000)


def _inference() -> Language:
    from edge.dialects import inference  # noqa: PLC0415  # protobuf, which only chats over gRPC need

    return inference


async def _emptied(data_plane: DataPlane, until_ns: int) -> bool:
    """Wait until no client is connected; return whether that happened in time."""
    while data_plane.connections:
        if clock.now_ns() >= until_ns:
            return False
        await asyncio.sleep(DRAIN_POLL_S)
    return True


async def _either(first: asyncio.Event, second: asyncio.Event) -> None:
    tasks = [asyncio.create_task(first.wait()), asyncio.create_task(second.wait())]
    await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    for task in tasks:
        task.cancel()


async def _run(launch: Launch, index: int, ready_fd: int) -> None:
    worker = Worker(
        SharedState(launch.shared_state_fd),
        index=index,
        workers=launch.workers,
        control_path=launch.control_path,
        last=snapshot_cell(launch.snapshot_fd),
        grace_s=launch.grace_s,
        serving=lambda: say_ready(ready_fd),
        answers=AnswerStore(launch.answers_fd),
        issued=IssuedIds(launch.issued_fd),
        ticket_secret=launch.ticket_secret,
        status=MemfdCell(launch.status_fd, PublicStatus),
        keys_fds=launch.keys_fds,
    )
    loop = asyncio.get_running_loop()

    def on_stop_signal() -> None:
        # If the loop hangs while it drains, the kernel ends the process (the default action of SIGALRM).
        signal.setitimer(signal.ITIMER_REAL, launch.grace_s + 5)
        worker.drain()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, on_stop_signal)
    await worker.run()


def main(argv: Sequence[str] | None = None) -> None:
    """Run one worker process; the supervisor passes the arguments."""
    parser = argparse.ArgumentParser(prog="python -m edge.app.worker", description=__doc__)
    child_arguments(parser)
    parser.add_argument("--index", type=int, required=True, help="column of the shared state")
    given = parser.parse_args(argv)
    launch = recall_launch(given.launch)
    die_with_parent(launch.supervisor)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # a SIGHUP sent to all processes of the node by name is for control
    faulthandler.enable()  # a crash in compiled code prints the stack, but no data
    set_up_logs(f"worker {given.index}", launch)
    keep_memory_private(launch)
    keep_freed_memory(os.environ)
    try:
        with asyncio.Runner(loop_factory=ReactorLoop) as runner:
            runner.run(_run(launch, given.index, given.ready))
    except EdgeError as error:
        logs.say(logs.ERROR, str(error))
        sys.exit(1)


if __name__ == "__main__":
    main()
