"""Start-up of a node (``edge run``): reads the configuration, binds addresses, creates shared memory, hands over.

Problems with the configuration or the addresses are reported before any process is started.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec import Struct, structs

from edge import clock
from edge.app import banner, bindings, command_line
from edge.app.bootstrap import Bootstrap, from_file
from edge.app.handover import Handover, hand_over
from edge.app.launch import Launch, set_up_logs
from edge.app.private_memory import keep_memory_private
from edge.app.simulated import Simulated
from edge.app.supervisor_state import SupervisorState
from edge.config.addresses import parse_address
from edge.config.schema import Node
from edge.config.shared_keys import MOST_SHARED_KEYS, has_members, shares_keys
from edge.config.units import NS_PER_S
from edge.control.compose import compile_config, from_keys
from edge.control.issued import IssuedFile, restore_ids
from edge.control.ledger import Ledger
from edge.control.memfd_cell import MemfdCell
from edge.control.spend import SpendFile, put_back
from edge.native import AnswerStore, IssuedIds, SharedState
from edge.routing.planner import allowance_capacity, capacities
from edge.telemetry import logs
from edge.terms.public_status import PublicStatus
from edge.terms.snapshot import Snapshot

if TYPE_CHECKING:
    from collections.abc import Mapping


class Options(Struct, frozen=True):
    """Options of ``edge run``. None: as the configuration says."""

    config: Path | None = None
    workers: int | None = None
    grace_s: float = 30.0
    drain_grace_s: float | None = None
    state_dir: str | None = None  # "" = store nothing on disk
    ready_file: Path | None = None
    log_level: str | None = None
    log_form: logs.Form | None = None


def run(options: Options, environ: Mapping[str, str]) -> int:
    """Run a node until it is stopped; return the exit status.

    Raises:
        ConfigInvalidError: the configuration cannot be used.
        AddressTakenError: an address cannot be bound.
        StateTakenError: another node of this file keeps its state in the same folder.
        ReadyFileError: the ready file cannot be written.
    """
    banner.hold_standard_streams()
    logs.set_up("edge", level=options.log_level or "info", form=options.log_form or "auto")
    simulated = None
    if options.config is not None:
        begun = from_file(options.config.absolute(), options.state_dir, environ)
    else:
        config = from_keys(environ)
        if config is None:
            simulated = Simulated()
            config = structs.replace(simulated.config(), node=Node(drain_grace=0))
        begun = Bootstrap(Ledger(config), compile_config(config, now=clock.wall()))
    config, snapshot = begun.ledger.config, begun.snapshot
    bindings.many_files()
    workers = config.node.workers if options.workers is None else options.workers
    with contextlib.ExitStack() as held:
        launch, shared_state = _share(options, begun, max(workers, 1), held)
        set_up_logs("edge", launch)
        keep_memory_private(launch)
        if options.ready_file is not None:
            banner.clear_ready_file(options.ready_file)
            held.callback(options.ready_file.unlink, missing_ok=True)
        facts = banner.ready_facts(launch, snapshot, [] if simulated is None else simulated.urls)
        lines = (*begun.notices, *banner.lines(facts, snapshot, workers))
        if workers == 0:
            # Control and a worker in this process. A supervisor imports neither, nor what they need.
            from edge.app.single import run_single  # noqa: PLC0415

            def up() -> None:
                banner.show(lines)
                if options.ready_file is not None:
                    banner.write_ready_file(options.ready_file, facts)
                banner.notify(environ)

            others = [] if simulated is None else simulated.children()
            return run_single(launch, MemfdCell(launch.ledger_fd, Ledger), shared_state, others, up)
        return hand_over(
            Handover(
                launch=launch,
                words=tuple(command_line.words()),
                banner=lines,
                facts=facts,
                ready_file=None if options.ready_file is None else str(options.ready_file.absolute()),
                others=() if simulated is None else simulated.commands(),
            )
        )


def _share(options: Options, begun: Bootstrap, workers: int, held: contextlib.ExitStack) -> tuple[Launch, SharedState]:
    """Create everything that the processes share; ``held`` releases it at the end."""
    config, snapshot = begun.ledger.config, begun.snapshot
    if begun.state_dir:
        held.enter_context(bindings.state(begun.state_dir, begun.ledger.source))
    listeners = held.enter_context(bindings.listeners(snapshot.listeners))
    admin_host, admin_port = parse_address(config.admin.address)
    admin_port = held.enter_context(bindings.port(admin_host, admin_port))
    sock = held.enter_context(bindings.control_socket())
    targets, routes = capacities(snapshot, config)
    with_keys = shares_keys(config) or has_members(config)
    shared_state = SharedState.create(
        targets,
        routes,
        workers,
        clock.now_ns(),
        allowance_capacity(snapshot),
        MOST_SHARED_KEYS if with_keys else 0,
        snapshot.limits.affinity,
    )
    if begun.state_dir:  # before any worker serves, so that no budget is spent twice
        spent = SpendFile(Path(begun.state_dir), begun.ledger.source).read_or_warn()
        put_back(shared_state, snapshot, spent)
    keys_fds = None
    if with_keys:
        from edge.app.shared_keys import stored_keys  # noqa: PLC0415  # most nodes have no cluster

        keys_fds = stored_keys(begun.ledger, begun.state_dir, shared_state)
        for fd in keys_fds:
            held.callback(os.close, fd)
    answers = AnswerStore.create(config.limits.cache)  # held until its descriptor is copied: it closes its own
    answers_fd = os.dup(answers.fd)
    held.callback(os.close, answers_fd)
    issued = IssuedIds.create(config.limits.issued_ids)
    issued_fd = os.dup(issued.fd)
    held.callback(os.close, issued_fd)
    if begun.state_dir:
        restore_ids(issued, IssuedFile(Path(begun.state_dir), begun.ledger.source))
    ledger = MemfdCell.create("ledger", Ledger)
    last = MemfdCell.create("snapshot", Snapshot)
    supervisor_state = MemfdCell.create("supervisor_state", SupervisorState)
    pulse = MemfdCell.create("pulse", int)
    status = MemfdCell.create("status", PublicStatus)
    for cell in (ledger, last, supervisor_state, pulse, status):
        held.callback(os.close, cell.fd)
    ledger.keep(begun.ledger)
    # Version numbers continue from a stored Snapshot, and workers need not wait for control to say what the file says.
    if begun.ledger.started_from is not None or begun.is_whole:
        last.keep(structs.replace(snapshot, listeners=listeners))
    launch = Launch(
        supervisor=os.getpid(),
        workers=workers,
        listeners=listeners,
        admin_host=admin_host,
        admin_port=admin_port,
        control_path=sock.getsockname(),
        control_fd=sock.fileno(),
        shared_state_fd=shared_state.fd,
        answers_fd=answers_fd,
        issued_fd=issued_fd,
        snapshot_fd=last.fd,
        supervisor_state_fd=supervisor_state.fd,
        ledger_fd=ledger.fd,
        pulse_fd=pulse.fd,
        status_fd=status.fd,
        keys_fds=keys_fds,
        grace_s=options.grace_s,
        ticket_secret=os.urandom(32),
        drain_grace_s=config.node.drain_grace / NS_PER_S if options.drain_grace_s is None else options.drain_grace_s,
        state_dir=begun.state_dir,
        log_level=options.log_level or config.log.level,
        log_form=options.log_form or config.log.format,
        log_lines=config.log.lines_per_second,
    )
    return launch, shared_state
