"""Operations on a running node: reload, manual overrides of targets, peers, drain.

A reload is atomic: the file is read, checked and compiled before one Snapshot is published. An invalid file changes
nothing; each problem is reported with its position. Exchanges in flight keep their Snapshot.
"""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING

from msgspec import Struct, structs

from edge import clock
from edge.config.addresses import is_private, parse_address
from edge.config.check import check
from edge.config.load import read
from edge.config.problems import errors
from edge.control import overriding
from edge.control.acts import ActsForMany
from edge.control.compose import at_addresses, compile_config, moved_targets
from edge.control.file_watch import FileWatch, mark_of
from edge.control.fixed_fields import unchangeable
from edge.control.store_trust import say_ignored, trusted
from edge.control.weighing import apply_weights
from edge.errors import ConfigInvalidError, EdgeError
from edge.providers import KNOWN
from edge.routing import slots as records
from edge.telemetry import logs
from edge.telemetry.redaction import redact_snapshot

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from edge.config.schema import Config
    from edge.control.ledger import ByHand, Ledger, Mark, WeightByHand
    from edge.control.memfd_cell import MemfdCell
    from edge.control.publish import Publisher
    from edge.control.reasons import Action
    from edge.control.spend import Spending
    from edge.native import SharedState
    from edge.regions.digest import ManualOverride, SharedWeight
    from edge.terms.credentials import ProviderToken
    from edge.terms.places import Endpoint, Peer
    from edge.terms.snapshot import SigningKeys, Snapshot, Target


class NoSourceError(EdgeError):
    """A reload was requested, but the configuration does not come from a file."""

    kind = "no_source"


class UnknownTargetError(EdgeError):
    """No route has a target of that name."""

    kind = "unknown_target"
    source = "client"


class Reloaded(Struct, frozen=True):
    """Result of a reload: the version in force, and whether it differs from the previous one."""

    version: int
    changed: bool


class Operations:
    """The operations on one node.

    Args:
        shared_state: the node's shared state.
        publisher: publishes new Snapshots.
        ledger: cell of the configuration in force; only this object writes it.
        last: cell of the last Snapshot, for processes that start.
        applied: called with each configuration and Snapshot that take effect.
        leave: makes the node drain.
        environ: variables for ``${NAME}``; None: the environment of this process.
        spending: spending of keys before this run; None: unknown.
        peers: edges of other regions in the current Snapshot.
    """

    def __init__(
        self,
        shared_state: SharedState,
        publisher: Publisher,
        ledger: MemfdCell[Ledger],
        last: MemfdCell[Snapshot],
        *,
        applied: Callable[[Config, Snapshot], None],
        leave: Callable[[], None],
        environ: Mapping[str, str] | None = None,
        spending: Spending | None = None,
        peers: Sequence[Peer] = (),
    ) -> None:
        kept = ledger.recall()
        if kept is None:
            raise ValueError("the ledger is empty")
        self.ledger = kept
        self._shared_state = shared_state
        self._publisher = publisher
        self._cell = ledger
        self._last = last
        self._applied = applied
        self._leave = leave
        self._environ = environ
        self._spending = spending
        self._watch = FileWatch()
        self._peers = tuple(peers)
        self.acted: Callable[[str, str, str], object] = lambda _what, _subject, _reason: None
        """Called with each thing that an operator did: what, the target or "", and the reason."""
        self.for_many = ActsForMany()
        self._found: Mapping[str, Sequence[Endpoint]] = dict(publisher.snapshot.found)
        self._signing: Mapping[str, SigningKeys] = dict(publisher.snapshot.signing)
        self.tokens: Mapping[str, ProviderToken] = dict(publisher.snapshot.tokens)  # refresh() publishes them
        self.described: Mapping[str, tuple[bytes, ...]] = dict(publisher.snapshot.described)  # likewise
        self._weights: Mapping[str, SharedWeight] | None = None  # that the store has; None: it was not heard yet
        self._overrides: dict[str, ManualOverride] | None = None  # for all regions; None: the store was not heard yet

    def drain(self) -> None:
        """Begin to drain the node: not ready, later no new connections, exit when all is answered. Idempotent."""
        self.acted("leave", "", "")
        self._leave()

    def poll(self) -> None:
        """Reload if the file has changed and is stable. Called once a second; problems are logged."""
        source = self.ledger.source
        if source and self._watch.poll(mark_of(source), self.ledger.mark):
            self.reload_or_log("the file changed")

    def reload_or_log(self, cause: str) -> None:
        """Reload without a caller to answer; the log has the outcome."""
        try:
            self.reload(cause)
        except NoSourceError as error:
            logs.say(logs.WARNING, str(error), cause=cause)
        except ConfigInvalidError:
            return  # each problem is in the log

    def reload(self, cause: str) -> Reloaded:
        """Read the file again and apply it, completely or not at all.

        Raises:
            NoSourceError: the configuration does not come from a file.
            ConfigInvalidError: with every problem; nothing has changed.
        """
        source = self.ledger.source
        if not source:
            sentence = "there is no file to reload: this node was started from the environment; start it with -c"
            raise NoSourceError(sentence)
        mark = mark_of(source)
        previous = self._publisher.snapshot
        try:
            document = read(source, self._environ)
            found = check(document, KNOWN)
            if not errors(found):
                found += unchangeable(document, self.ledger.config)
            if errors(found):
                raise ConfigInvalidError([problem.text(source) for problem in errors(found)])  # noqa: TRY301  # as below
            snapshot = self._compile(document.config, previous)
        except ConfigInvalidError as error:
            raise self._refused(error.problems, mark, cause) from error
        except Exception as error:
            logs.say_failure("checking the configuration failed", error)
            sentence = f"{source}: edge failed to check this file ({type(error).__name__}); the log has the cause"
            raise self._refused([sentence], mark, cause) from error
        logs.redact([document.config.admin.token])  # the Snapshot lacks it, so _publish() would not redact it
        for problem in found:
            logs.say(logs.WARNING, problem.text(source))
        reloads = self.ledger.reloads
        reloads = structs.replace(reloads, applied=reloads.applied + 1, last_applied=clock.wall(), problems=())
        ledger = structs.replace(self.ledger, config=document.config, secret_files=document.secret_files)
        self._note(structs.replace(ledger, mark=mark, started_from=None, reloads=reloads))
        if snapshot is not previous:
            self._publish(snapshot, previous)
            self.take_shared()
        self._applied(document.config, snapshot)
        self.acted("reload", f"version {snapshot.version}", cause)
        logs.say(
            logs.INFO,
            "the configuration was reloaded"
            if snapshot is not previous
            else "reloaded: the configuration is unchanged",
            cause=cause,
            version=snapshot.version,
        )
        return Reloaded(snapshot.version, snapshot is not previous)

    def steer(self, name: str, action: Action, reason: str) -> Target:
        """Drain, eject or restore a target on this node.

        Args:
            name: the target's id.
            action: ``drain``: the target finishes its requests and gets no new ones; ``eject``: the same, for a target
                that misbehaves; ``restore``: it is in rotation again, with its circuit as it is.
            reason: for later readers; may be empty only for ``restore``.

        Raises:
            UnknownTargetError: no route has such a target.
            NoReasonError: the reason is missing or not one line of text.
        """
        return overriding.steer(self, name, action, reason)

    def checked_override(self, name: str, action: Action, reason: str) -> ManualOverride | None:
        """Return the override to publish; None: ``restore``, so it is to be deleted. Raises as :meth:`steer`."""
        return overriding.checked(self, name, action, reason)

    def apply_overrides(self, overrides: Mapping[str, ManualOverride]) -> None:
        """Apply the overrides that the store has for this node, by target, also to targets that come later."""
        self._overrides = dict(overrides)
        overriding.apply(self, overrides)

    def set_by_hand(self, by_hand: dict[str, ByHand], overruled: dict[str, float]) -> None:
        """Use these overrides; ``edge.control.overriding`` decides them."""
        slots = {target.id: target.slot for target in self._publisher.snapshot.targets}
        for name in self.ledger.by_hand.keys() | by_hand.keys():
            done = by_hand.get(name)
            if name in slots and done != self.ledger.by_hand.get(name):
                self._shared_state.set_manual(slots[name], 0 if done is None else done.code)
        self._note(structs.replace(self.ledger, by_hand=by_hand, overruled=overruled))

    def apply_weights(self, shared: Mapping[str, SharedWeight]) -> None:
        """Apply the weights that the store has for this node, by target; they also hold for targets that come later."""
        self._weights = dict(shared)
        apply_weights(self, shared)

    def set_weights(self, weights: dict[str, WeightByHand], unweighed: dict[str, float]) -> None:
        """Use these weights that were set by hand; ``edge.control.weighing`` decides them.

        Raises:
            ConfigInvalidError: the Snapshot cannot be made; nothing has changed.
        """
        before = self.ledger
        self._note(structs.replace(before, weights=weights, unweighed=unweighed))
        try:
            self.refresh()
        except BaseException:
            self._note(before)
            raise

    @property
    def snapshot(self) -> Snapshot:
        """The Snapshot in force."""
        return self._publisher.snapshot

    def take_shared(self) -> None:
        """Apply what the store has to targets that are new here."""
        if self._overrides is not None:
            self.apply_overrides(self._overrides)
        if self._weights is not None:
            apply_weights(self, self._weights)

    def set_peers(self, peers: Sequence[Peer]) -> None:
        """Publish a Snapshot with these edges of other regions, which the store has revealed.

        If the shared state has too few records for all of them, the first are used.
        """
        self._peers, previous = tuple(peers), self._publisher.snapshot
        written = self.ledger.config.peers
        if written is None:
            return
        say_ignored(self.ledger.config, peers)
        peers = self._peers = trusted(self.ledger.config, peers)
        own = sum(target.kind != "region" for target in previous.targets)
        room = self._shared_state.capacities[0] - own - sum(len(node.addresses) for node in written.nodes)
        if len(peers) > room:
            self._peers = self._peers[: max(room, 0)]
            sentence = "the shared state has too few records for all edges of other regions; a restart makes room"
            logs.say(logs.WARNING, sentence, met=len(peers), room=max(room, 0))
        public = [peer.address for peer in self._peers if not is_private(parse_address(peer.address)[0])]
        if public and written.tls is None:
            sentence = "edges from the store get the token and prompts unencrypted across the internet; set peers.tls"
            logs.say(logs.WARNING, sentence, addresses=public)
        snapshot = self.refresh()
        if snapshot is not None:
            logs.say(logs.INFO, "the edges of other regions changed", peers=len(peers), version=snapshot.version)

    def set_found(self, found: Mapping[str, Sequence[Endpoint]]) -> Snapshot | None:
        """Publish a Snapshot with the addresses that sources of discovery name, by URL; None: nothing has changed.

        If the shared state has too few records for all of them, those before stay in use.
        """
        before, self._found = self._found, found
        try:
            snapshot = self.refresh()
        except ConfigInvalidError as error:
            self._found = before
            logs.say(logs.ERROR, "new addresses cannot be used", problem="; ".join(error.problems))
            return None
        if snapshot is not None:
            logs.say(logs.INFO, "discovered addresses changed", targets=len(snapshot.targets), version=snapshot.version)
        return snapshot

    def set_signing(self, signing: Mapping[str, SigningKeys]) -> Snapshot | None:
        """Publish a Snapshot with these signing keys of issuers, by source; None: nothing has changed."""
        self._signing = signing
        return self.refresh()

    def refresh(self) -> Snapshot | None:
        """Publish the configuration in force with what files, sources and the store hold now; None: as it was.

        Raises:
            ConfigInvalidError: the shared state has too few records; nothing has changed.
        """
        previous = self._publisher.snapshot
        snapshot = self._compile(self.ledger.config, previous)
        if snapshot is previous:
            return None
        self._publish(snapshot, previous)
        self.take_shared()
        return snapshot

    def named(self, name: str) -> Target:
        """Return the target of this name.

        Raises:
            UnknownTargetError: no route has it.
        """
        targets = self._publisher.snapshot.told_targets
        target = next((known for known in targets if known.id == name), None)
        if target is None:
            close = difflib.get_close_matches(name, [known.id for known in targets], n=1, cutoff=0.6)
            raise UnknownTargetError(f"there is no target {name}" + (f"; did you mean {close[0]}?" if close else ""))
        return target

    def _compile(self, config: Config, previous: Snapshot) -> Snapshot:
        targets, routes, _ = self._shared_state.capacities
        now = clock.wall()

        def compiled(before: Snapshot) -> Snapshot:
            return compile_config(
                config,
                now=now,
                previous=before,
                capacity=(targets, routes),
                allowance_capacity=self._shared_state.allowance_capacity,
                peers=trusted(config, self._peers),
                found=self._found,
                signing=self._signing,
                tokens=self.tokens,
                described=self.described,
                weights={name: done.weight for name, done in self.ledger.weights.items()},
            )

        snapshot = compiled(previous)
        moved = moved_targets(snapshot, previous)
        if moved:  # they get new records: exchanges in flight to the old targets still write to the old ones
            slots = {name: slot for name, slot in previous.slots.items() if name not in moved}
            slots |= {f"{name} before {snapshot.version}": previous.slots[name] for name in moved}
            snapshot = compiled(structs.replace(previous, slots=slots))
        snapshot = at_addresses(snapshot, previous.listeners)
        same = structs.replace(snapshot, version=previous.version, created=previous.created) == previous
        return previous if same else snapshot

    def _publish(self, snapshot: Snapshot, previous: Snapshot) -> None:
        redact_snapshot(snapshot, clock.wall())
        self._clear(snapshot, previous)
        self._last.keep(snapshot)
        self._publisher.publish(snapshot)

    def _clear(self, snapshot: Snapshot, previous: Snapshot) -> None:
        """Clear the shared-state records that have new owners, and those of targets that changed."""
        moved = moved_targets(snapshot, previous)
        for name, slot in records.taken_over(snapshot.slots, previous.slots).items():
            if name.startswith(records.ROUTE):
                self._shared_state.clear_route(slot)
            elif name.startswith(records.ALLOWANCE):
                self._shared_state.clear_allowance(slot)
            else:
                moved.add(name)
        for target in snapshot.targets:
            if target.id in moved:
                self._shared_state.clear_target(target.slot)
        if self._spending is not None:
            self._spending.put_back(snapshot)
        by_hand = {name: done for name, done in self.ledger.by_hand.items() if name in snapshot.slots}
        for name, done in by_hand.items():
            self._shared_state.set_manual(snapshot.slots[name], done.code)
        known = {target.id for target in snapshot.targets}
        weights = {name: done for name, done in self.ledger.weights.items() if name in known}
        if (by_hand, weights) != (self.ledger.by_hand, self.ledger.weights):
            self._note(structs.replace(self.ledger, by_hand=by_hand, weights=weights))

    def _refused(self, problems: Sequence[str], mark: Mark | None, cause: str) -> ConfigInvalidError:
        """Record a refused reload; return the error to raise."""
        for problem in problems:
            logs.say(logs.ERROR, problem)
        logs.say(logs.ERROR, "the reload was refused: nothing has changed", cause=cause, problems=len(problems))
        reloads = self.ledger.reloads
        reloads = structs.replace(
            reloads, refused=reloads.refused + 1, last_refused=clock.wall(), problems=tuple(problems)
        )
        self._note(structs.replace(self.ledger, mark=mark, reloads=reloads))
        self.acted("reload_refused", "", cause)
        return ConfigInvalidError(problems)

    def _note(self, ledger: Ledger) -> None:
        self._cell.keep(ledger)
        self.ledger = ledger
