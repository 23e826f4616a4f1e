"""How does ``edge run`` begin?  Read and check the configuration once, take the addresses, make what is shared, start.

Whatever is wrong with the configuration or the addresses is said here, before anything runs.
"""

from __future__ import annotations

import contextlib
import os
import sys
from pathlib import Path  # noqa: TC003  # msgspec reads the annotation at run time
from typing import TYPE_CHECKING

import uvloop
from msgspec import Struct

from edge import clock
from edge.app import announce, reserve
from edge.app.children import Child
from edge.app.launch import Launch
from edge.app.simulated import Simulated
from edge.app.single import run_single
from edge.app.supervisor import Supervisor
from edge.app.tally import Tally
from edge.config.addresses import parse_address
from edge.config.check import check
from edge.config.load import read
from edge.config.schema import Config
from edge.control.compose import checked, compile_config, from_keys
from edge.control.keepsake import Keepsake
from edge.native import Board
from edge.providers import KNOWN
from edge.routing.planner import capacities
from edge.telemetry import logs
from edge.terms.snapshot import Snapshot

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


class Options(Struct, frozen=True):
    """What ``edge run`` was asked for. None: as the configuration says."""

    config: Path | None = None
    workers: int | None = None
    grace_s: float = 30.0
    ready_file: Path | None = None
    log_level: str = "info"
    log_form: logs.Form = "auto"


def run(options: Options, environ: Mapping[str, str]) -> int:
    """Run a node until it is told to stop; return the exit status.

    Raises:
        ConfigInvalidError: the configuration cannot be used.
        AddressTakenError: an address cannot be listened on.
    """
    logs.set_up("edge", level=options.log_level, form=options.log_form)
    config = from_keys(environ) if options.config is None else _from_file(options.config)
    simulated = None
    if config is None:
        simulated = Simulated()
        config = simulated.config()
    reserve.many_files()
    workers = config.node.workers if options.workers is None else options.workers
    snapshot = compile_config(config, now=clock.wall())
    with contextlib.ExitStack() as held:
        launch, board, tally = _share(options, config, snapshot, max(workers, 1), held)
        if options.ready_file is not None:
            options.ready_file.unlink(missing_ok=True)  # of an earlier run, it would speak of addresses that are gone
            held.callback(options.ready_file.unlink, missing_ok=True)
        facts = announce.ready_facts(launch, snapshot, [] if simulated is None else simulated.urls)

        def up() -> None:
            sys.stdout.write("\n".join(announce.lines(facts, snapshot, workers)) + "\n")
            sys.stdout.flush()
            if options.ready_file is not None:
                announce.write_ready_file(options.ready_file, facts)

        others = [] if simulated is None else simulated.children()
        if workers == 0:
            uvloop.run(run_single(launch, config, board, others, up))
            return 0
        return _supervise(launch, board, tally, others, up)


def _from_file(path: Path) -> Config:
    document = read(path)
    config = checked(document)
    for problem in check(document, KNOWN):
        logs.say(logs.WARNING, problem.text(document.source))
    return config


def _share(
    options: Options, config: Config, snapshot: Snapshot, workers: int, held: contextlib.ExitStack
) -> tuple[Launch, Board, Keepsake[Tally]]:
    """Make everything that the processes share; ``held`` gives it back at the end."""
    listeners = held.enter_context(reserve.listeners(snapshot.listeners))
    admin_host, admin_port = parse_address(config.admin.address)
    admin_port = held.enter_context(reserve.port(admin_host, admin_port))
    sock = held.enter_context(reserve.control_socket())
    targets, routes = capacities(snapshot)
    board = Board.create(targets, routes, workers, clock.now_ns())
    configured = Keepsake.create("config", Config)
    last = Keepsake.create("snapshot", Snapshot)
    tally = Keepsake.create("tally", Tally)
    for keepsake in (configured, last, tally):
        held.callback(os.close, keepsake.fd)
    configured.keep(config)
    launch = Launch(
        supervisor=os.getpid(),
        workers=workers,
        listeners=listeners,
        admin_host=admin_host,
        admin_port=admin_port,
        control_path=sock.getsockname(),
        control_fd=sock.fileno(),
        board_fd=board.fd,
        snapshot_fd=last.fd,
        tally_fd=tally.fd,
        config_fd=configured.fd,
        grace_s=options.grace_s,
        log_level=options.log_level,
        log_form=options.log_form,
    )
    return launch, board, tally


def _supervise(
    launch: Launch, board: Board, tally: Keepsake[Tally], others: list[Child], up: Callable[[], None]
) -> int:
    told = Keepsake.create("launch", Launch)
    told.keep(launch)
    shared = (told.fd, launch.board_fd, launch.snapshot_fd)

    def arguments(child: Child) -> list[str]:
        given = ["--launch", str(told.fd), "--ready", str(child.ready_write)]
        if child.index < 0:
            return ["-m", "edge.app.control", *given]
        return ["-m", "edge.app.worker", *given, "--index", str(child.index)]

    control = Child("control", arguments, (*shared, launch.control_fd, launch.config_fd, launch.tally_fd))
    workers = [Child(f"worker {index}", arguments, shared, index) for index in range(launch.workers)]
    try:
        return Supervisor(board, workers, [control, *others], tally, grace_s=launch.grace_s, up=up).run()
    finally:
        os.close(told.fd)
