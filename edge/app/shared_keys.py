"""Construction of what a node needs for its cluster's keys: memory for workers, the last good set, the follower."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from edge import clock
from edge.admission.key_documents import secret_of
from edge.cluster.open import open_store
from edge.config.shared_keys import shares_keys
from edge.control.kept_file import StateUnusableError
from edge.control.key_book import KeyBook
from edge.control.key_cells import KeyCells, KeyFile
from edge.control.members import Members
from edge.control.shared_keys import ROOT, SharedKeys
from edge.control.spend import SpendFile
from edge.telemetry import logs

if TYPE_CHECKING:
    from edge.app.launch import Launch
    from edge.control.ledger import Ledger
    from edge.control.operations import Operations
    from edge.control.publish import Publisher
    from edge.control.spend import Spending, Spent
    from edge.native import SharedState


def stored_keys(ledger: Ledger, state_dir: str, shared_state: SharedState) -> tuple[int, int]:
    """Return the descriptors of new cells with the keys of the node's last run, before any worker serves.

    Their spending is restored too, so that no budget is spent twice.
    """
    cells = KeyCells.create()
    if not state_dir:
        return cells.fds
    try:
        entries = KeyFile(Path(state_dir), ledger.source).read()
    except StateUnusableError as error:
        logs.say(logs.WARNING, "the cluster's keys of the last run are lost; the store has them", error=str(error))
        return cells.fds
    if entries is None:
        return cells.fds
    spent = SpendFile(Path(state_dir), ledger.source).read_or_warn()

    def restore(name: str, slot: int) -> None:
        _restore(shared_state, spent.get(name), slot)

    book = KeyBook(cells, shared_state, restore)
    book.yield_to({key.name for key in ledger.config.keys}, clock.wall())
    book.restore(entries, clock.wall())
    return cells.fds


def follow_keys(
    launch: Launch, operations: Operations, publisher: Publisher, shared_state: SharedState, spending: Spending | None
) -> SharedKeys | None:
    """Return the follower of the cluster's keys, not started; None: there are none."""
    if launch.keys_fds is None:
        return None
    config = operations.ledger.config

    def restore(name: str, slot: int) -> None:
        _restore(shared_state, None if spending is None else spending.of(name), slot)

    book = KeyBook(KeyCells(launch.keys_fds), shared_state, restore)
    book.recall()
    folder = Path(launch.state_dir) if launch.state_dir and operations.ledger.source else None
    return SharedKeys(
        book,
        open_store(config, beside=ROOT) if shares_keys(config) else None,
        members=Members(book, shared_state, lambda: operations.ledger.config, clock),
        secret=lambda: secret_of(operations.ledger.config),
        config=lambda: operations.ledger.config,
        told=publisher.tell_keys,
        file=None if folder is None else KeyFile(folder, operations.ledger.source),
    )


def _restore(shared_state: SharedState, spent: Spent | None, slot: int) -> None:
    if spent is not None:
        shared_state.set_spent(slot, spent.month, spent.nano)
