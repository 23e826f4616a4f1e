"""Who calls, and as whom edge calls: control follows issuers, the cluster's keys and providers' tokens."""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING

from edge.control.issuers import Issuers
from edge.control.provider_tokens import ProviderTokens
from edge.native import Outcome

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from edge.app.launch import Launch
    from edge.balance.report import TargetReport
    from edge.config.schema import Config
    from edge.control.issuers import Signing
    from edge.control.node import Node
    from edge.control.operations import Operations
    from edge.control.provider_tokens import Tokens
    from edge.control.publish import Publisher
    from edge.control.spend import Spending
    from edge.native import SharedState
    from edge.terms.snapshot import Snapshot


class Identities:
    """The identities of a node; nothing is followed before :meth:`start`.

    Args:
        launch: how the node was started.
        node: is told who follows what.
        operations: publishes Snapshots with what was found.
        publisher: passes on what workers ask for.
        shared_state: the node's shared state.
        spending: spending of keys before this run; None: unknown.
        keep: writes a new Snapshot to disk; None: nothing has changed.
    """

    def __init__(
        self,
        launch: Launch,
        node: Node,
        operations: Operations,
        publisher: Publisher,
        *,
        shared_state: SharedState,
        spending: Spending | None,
        keep: Callable[[Snapshot | None], None],
    ) -> None:
        self._operations = operations
        self._publisher = publisher
        self._shared_state = shared_state
        self._keep = keep
        node.issuers = self._issuers = Issuers(self._signed, publisher.snapshot.signing)
        node.provider_tokens = self._tokens = ProviderTokens(self._granted, publisher.snapshot.tokens, os.environ)
        publisher.wanted = self._issuers.want
        if launch.keys_fds is not None:
            from edge.app.shared_keys import follow_keys  # noqa: PLC0415  # most nodes have no cluster

            node.shared_keys = follow_keys(launch, operations, publisher, shared_state, spending)
        self._keys = node.shared_keys
        if self._keys is not None:
            publisher.wanted_member = self._keys.want

    async def start_keys(self) -> None:
        """Follow the cluster's keys; before a worker serves for the first time."""
        if self._keys is not None:
            await self._keys.start()

    async def start(self, config: Config) -> None:
        """Follow issuers and providers; return when each has said something, or after a bounded time."""
        await asyncio.gather(self._issuers.start(config), self._tokens.start(config))

    def follow(self, config: Config) -> None:
        """Follow what this configuration names from now on."""
        self._issuers.follow(config)
        self._tokens.follow(config)
        if self._keys is not None:
            self._keys.follow()

    def poll(self, reports: Mapping[str, TargetReport]) -> None:
        """Do what is due. Called once a second.

        Args:
            reports: of each target, by its id.
        """
        if self._keys is not None:
            self._keys.poll()
        self._tokens.poll()
        for target in self._publisher.snapshot.targets:
            report = reports.get(target.id) if target.renewed else None
            if report is not None and report.state == "quarantined" and self._is_refused(target.slot):
                self._tokens.refused(target.provider)

    async def stop(self) -> None:
        """Stop following."""
        await asyncio.gather(
            self._issuers.stop(),
            self._tokens.stop(),
            *([] if self._keys is None else [self._keys.stop()]),
        )

    def _signed(self, signing: Signing) -> None:
        """Publish a Snapshot with the signing keys of issuers, and write it to disk."""
        self._keep(self._operations.set_signing(signing))

    def _granted(self, tokens: Tokens) -> None:
        """Publish a Snapshot with the tokens of providers, and write it to disk.

        A target that is out because the token before was refused is asked again.
        """
        before = {target.id: (target.fields, target.signing) for target in self._publisher.snapshot.targets}
        self._operations.tokens = tokens
        snapshot = self._operations.refresh()
        self._keep(snapshot)
        for target in () if snapshot is None else snapshot.targets:
            is_new = before.get(target.id) != (target.fields, target.signing)
            if target.renewed and is_new and self._is_refused(target.slot):
                self._shared_state.clear_quarantine(target.slot)

    def _is_refused(self, slot: int) -> bool:
        """Return whether a target is out because its provider refuses edge's credential."""
        return self._shared_state.read_target(slot, 0)["quarantine_reason"] == Outcome.REFUSED_CREDENTIAL
