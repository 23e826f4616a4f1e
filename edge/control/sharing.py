"""Sharing with other nodes: publishes this node's digest and applies what other nodes publish, four times a second.

Nothing that serves requests waits for the store, and neither does this loop: heartbeats and grants run as tasks, one of
each at a time. While the store is down, the last known state is used until it expires.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Final

from edge import clock as real
from edge.balance.report import states_of
from edge.cluster.follow import Follower
from edge.config.schema import MOST_MEMBERS
from edge.control.budgets import Budgets
from edge.control.grants import Grants
from edge.control.heartbeat import Heartbeat
from edge.control.issued_sharing import IssuedSharing
from edge.control.membership import Membership, askable
from edge.control.name_conflict import NameConflict
from edge.control.past_sharing import PastSharing
from edge.control.shared_steps import SharedSteps
from edge.control.sharing_deps import SharingDeps, SharingState
from edge.errors import EdgeError
from edge.regions import digest as digests
from edge.regions import verdicts, view
from edge.regions.budgets import encode as encode_told
from edge.regions.digest import FRESH_NS, Digest, TargetDigest
from edge.regions.keeper import ShareKeeper
from edge.regions.sampler import Sampler
from edge.telemetry import logs
from edge.telemetry.sharing import SharingFacts
from edge.terms import capabilities
from edge.terms.ports import Write
from edge.version import VERSION

if TYPE_CHECKING:
    from collections.abc import Coroutine, Mapping, Sequence

    from edge.clock import Clock
    from edge.control.spend import Spending
    from edge.native import IssuedIds, SharedState
    from edge.regions.budgets import Part, Told
    from edge.regions.verdicts import Verdict
    from edge.regions.view import Heard, Peer, RegionPicture
    from edge.terms import places
    from edge.terms.ports import Store
    from edge.terms.snapshot import Snapshot

_S: Final = 1_000_000_000
PERIOD_S: Final = 0.25
ALONE_S: Final = 1.0  # without a store only /api/regions shows the result
# Remote weights in the shared state expire after 15 s; they are renewed well before.
REWRITE_NS: Final = 5 * _S
# With a copy of the store that is older than this, no grants are moved.
SEEING_S: Final = 5.0
LEAVE_S: Final = 1.0
_FOLLOWING: Final = "following the store"


class Sharing:
    """Shares with other nodes through a store; without a store it knows only this node.

    Args:
        shared_state: receives weights, failure thresholds, rate-limit times and shares.
        deps: callbacks into the rest of control.
        store: the store; None: there is no cluster.
        region: region of this node.
        node: name of this node.
        instance: unique identity of this control process.
        peers: edges of other regions that are known already.
        spending: persistent spending of keys; None: not kept.
        issued: who issued which id; None: nothing is told of that.
        clock: source of time and randomness.
    """

    def __init__(
        self,
        shared_state: SharedState,
        deps: SharingDeps,
        store: Store | None,
        *,
        region: str,
        node: str,
        instance: str,
        peers: Sequence[places.Peer] = (),
        spending: Spending | None = None,
        issued: IssuedIds | None = None,
        clock: Clock = real,
    ) -> None:
        self._shared_state = shared_state
        self._deps = deps
        self._store = store
        self._region, self._node, self._instance = region, node, instance
        self._me = digests.name_of(region, node)
        self._clock = clock
        self._sampler = Sampler(shared_state)
        self._known = Membership(self._me)
        self._follower = None if store is None else Follower(store, "", self._changed, clock=clock)
        self._keeper = None if store is None else ShareKeeper(store, region, node, clock)
        self._grants = None if self._keeper is None else Grants(shared_state, self._keeper)
        self._beat: Heartbeat | None = None
        if store is not None and self._follower is not None and self._keeper is not None:
            follower, key = self._follower, digests.node_key(region, node)
            self._beat = Heartbeat(store, key, clock, on_write=self._keeper.beat, connected=lambda: follower.connected)
        self._spending = spending
        remembered = {} if spending is None else spending.elsewhere
        self._budgets = None if store is None else Budgets(shared_state, self._me, remembered, clock)
        self.past = None if store is None else PastSharing(store, region, node, instance, clock)
        self._issued = None
        if store is not None and issued is not None:
            self._issued = IssuedSharing(issued, store, region, node, clock)
        self._own = Digest(region, node, instance, VERSION, (), 0)
        self._ending = False
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._remote_rate_limits: dict[str, int] = {}
        self._weighed: dict[str, tuple[Verdict, int]] = {}
        self._peers = tuple(peers)
        self._seeing_ns: int | None = None  # since when the copy of the store is current
        self.by_hand = SharedSteps(store, self._follower, deps, region)
        self._name_conflict = NameConflict(self._me, instance)
        self.verdicts: dict[str, Verdict] = {}
        self.pictures: dict[str, RegionPicture] = {}
        self.peers: tuple[Peer, ...] = ()

    async def run(self) -> None:
        """Share until cancelled."""
        self.follow()
        try:
            while True:
                try:
                    self.tick()
                except Exception as error:  # noqa: BLE001  # one failed turn must not end the loop
                    logs.say_failure("sharing with other regions failed", error)
                await self._clock.sleep(PERIOD_S if self.shared else ALONE_S)
        finally:
            await self._end()

    def follow(self) -> None:
        """Start to follow the store."""
        if self._follower is not None:
            self._start(_FOLLOWING, self._follower.run())

    def cancel_tasks(self) -> None:
        """Cancel the tasks beside the loop."""
        self._ending = True
        for task in self._tasks.values():
            task.cancel()

    def tick(self) -> None:
        """Do what is due: publish, weigh targets, update peers and grants. Returns at once."""
        now_ns = self._clock.now_ns()
        snapshot = self._deps.snapshot()
        states = states_of(self._deps.reports(now_ns))
        self._own = Digest(
            region=self._region,
            node=self._node,
            instance=self._instance,
            version=VERSION,
            addresses=self._deps.addresses(),
            load=self._deps.load(),
            targets=self._sampler.sample(snapshot, states, self._remote_rate_limits, now_ns),
            draining=self._deps.draining(),
        )
        heard = self._known.heard(now_ns)
        mine = view.Heard(self._own, 0)
        self.pictures = view.survey([mine, *heard])
        self.peers = view.peers([mine, *heard], self.pictures)
        self._weigh(snapshot, heard, now_ns)
        self._update_peers()
        if self._beat is None or self._follower is None or self._grants is None or self._budgets is None:
            return
        if self._follower.relists:
            self.by_hand.begin()
        if self.by_hand.pending:
            self._start("telling of a canary", self.by_hand.tell())
        name_conflict = self._name_conflict.detected(now_ns)
        seeing = self._follower.relists > 0 and self._follower.age_s() <= SEEING_S and not name_conflict
        if self._keeper is not None:
            self._keeper.name_conflict = name_conflict
            if seeing:
                self._keeper.saw()
        self._budgets.update(snapshot, heard, self._follower.held, seeing=seeing)
        if self._spending is not None:
            self._spending.elsewhere = self._budgets.remembered()
        replaced = self._own.draining and self._name_conflict.has_successor(now_ns)
        if not replaced and self._beat.due(self._own, now_ns, urgent=seeing and self._budgets.urgent):
            spent = self._budgets.document(snapshot, heard) if seeing else None
            self._start("the heartbeat", self._send(self._beat, self._budgets, self._own, spent, now_ns))
        self._tell(now_ns, len(heard) + 1, seeing=seeing)
        self._grants.update(snapshot, now_ns)
        if seeing:
            self._start("grants", self._grants.move(snapshot, self._follower.held, self._known, now_ns))

    def _tell(self, now_ns: int, nodes: int, *, seeing: bool) -> None:
        """Tell the others what is due of the history and of ids."""
        if self.past is not None and self.past.due(now_ns):
            self._start("telling the history", self.past.write(now_ns))
        if self._issued is not None and seeing and self._issued.due(now_ns, nodes):
            self._start("telling of ids", self._issued.write(nodes))

    def spending(self) -> dict[str, tuple[float | None, dict[str, Part]]]:
        """Return what other nodes have published: seconds since a heartbeat (None: there is none), and parts by key."""
        if self._budgets is None:
            return {}
        now_ns = self._clock.now_ns()
        ages = {digests.name_of(at.digest.region, at.digest.node): at.age_ns / _S for at in self._known.heard(now_ns)}
        return {name: (ages.get(name), parts) for name, parts in self._budgets.nodes().items()}

    async def forget(self, name: str) -> None:
        """Make all nodes forget what a node has published this month.

        Raises:
            StoreUnavailableError: the store cannot be reached; nothing has changed.
            StoreRefusedError: the store denies the write.
        """
        if self._store is None or self._budgets is None:
            return
        key, document = self._budgets.forget(name)
        await self._store.txn((), (Write(key, encode_told(document)),))
        self._budgets.forgot(name, document)

    def state(self) -> SharingState:
        """Return the state of the sharing, for the status."""
        follower, keeper, beat = self._follower, self._keeper, self._beat
        age_s = follower.age_s() if follower is not None and follower.relists else None
        readers = (self._budgets, self.past, self._issued)
        return SharingState(
            connected=follower is not None and follower.connected,
            view_age_s=None if age_s is None else round(age_s, 3),
            error="" if follower is None else follower.error,
            relists=0 if follower is None else follower.relists,
            errors=0 if follower is None else follower.errors,
            writes=self.writes,
            write_failures=0 if beat is None else beat.failures,
            unwritten="" if beat is None else beat.unwritten,
            grant_moves=0 if keeper is None else keeper.moves,
            grant_conflicts=0 if keeper is None else keeper.conflicts,
            regions_fresh=sum(picture.fresh for picture in self.pictures.values()),
            suspect=tuple(name for name, picture in self.pictures.items() if picture.suspect),
            name_conflict=self._name_conflict.detected(self._clock.now_ns()),
            unread=self._known.unread + sum(part.unread for part in readers if part is not None),
        )

    def facts(self) -> SharingFacts:
        """Return the facts for the metrics."""
        state = self.state()
        shares = self.shares()
        return SharingFacts(
            connected=state.connected,
            view_age_s=state.view_age_s,
            regions_fresh=state.regions_fresh,
            writes=state.writes,
            write_failures=state.write_failures,
            relists=state.relists,
            grant_moves=state.grant_moves,
            name_conflict=state.name_conflict,
            suspect={name: picture.suspect for name, picture in self.pictures.items()},
            shares={name: (share["requests_per_minute"], share["tokens_per_minute"]) for name, share in shares.items()},
            places={name: share["concurrent"] for name, share in shares.items() if share["of_concurrent"]},
        )

    @property
    def writes(self) -> int:
        """Number of successful writes of this node's digest."""
        return 0 if self._beat is None else self._beat.writes

    @property
    def store(self) -> Store | None:
        """The shared store; None: there is none."""
        return self._store

    @property
    def shared(self) -> bool:
        """Whether there is a store."""
        return self._store is not None

    def shares(self) -> dict[str, dict[str, float]]:
        """Return this node's share of each shared allowance."""
        return {} if self._grants is None else self._grants.shares(self._deps.snapshot())

    def budgets(self) -> dict[str, dict[str, float]]:
        """Return the state of each shared budget, in US dollars."""
        return {} if self._budgets is None else self._budgets.report(self._deps.snapshot())

    def _weigh(self, snapshot: Snapshot, heard: list[Heard], now_ns: int) -> None:
        """Write the effect of other nodes' observations on each target to the shared state."""
        here: dict[str, TargetDigest] = {target.id: target for target in self._own.targets}
        beside = [node for node in heard if node.digest.region == self._region]
        edges = {target.id: target.provider for target in snapshot.targets if target.kind == "region"}
        self.verdicts = verdicts.of_pages(snapshot.targets, self._deps.dark_pages())
        self.verdicts |= verdicts.judge(self._region, here, self.pictures, beside)
        self.verdicts |= verdicts.elsewhere(edges, self.pictures)
        slots = {target.id: target.slot for target in snapshot.targets}
        for name in self._weighed.keys() - self.verdicts.keys():
            target, part = capabilities.split(name)
            if target in slots:
                self._shared_state.clear_remote(slots[target], part)
            del self._weighed[name]
        for name, verdict in self.verdicts.items():
            before, when_ns = self._weighed.get(name, (None, 0))
            target, part = capabilities.split(name)
            if target in slots and (before != verdict or now_ns - when_ns >= REWRITE_NS):
                threshold = verdict.failure_threshold
                self._shared_state.set_remote(slots[target], verdict.weight, threshold, now_ns, part)
                self._weighed[name] = (verdict, now_ns)
        common = {place for place, limited in enumerate(snapshot.credentials) if limited.allowance.shared}
        shared = {target.id for target in snapshot.targets if target.credential in common}
        for name, left_ms in verdicts.rate_limits(heard, shared).items():
            until_ns = now_ns + left_ms * 1_000_000
            self._remote_rate_limits[name] = max(self._remote_rate_limits.get(name, 0), until_ns)
            self._shared_state.set_rate_limited(slots[name], until_ns)

    def _update_peers(self) -> None:
        """Pass changed edges of other regions to control; while the store is silent, the known ones stay."""
        now_ns = self._clock.now_ns()
        if self._follower is None or self._follower.age_s() > SEEING_S:
            self._seeing_ns = None
            return
        if self._seeing_ns is None:
            self._seeing_ns = now_ns
        found = askable(self.peers, self._region)
        if now_ns - self._seeing_ns < FRESH_NS:  # nodes that look silent may only have lost the store, as this one had
            found = tuple(dict.fromkeys((*found, *self._peers)))[:MOST_MEMBERS]
        if found != self._peers:
            self._peers = found
            self._deps.peers_changed(found)

    def _changed(self, changed: Mapping[str, object]) -> None:
        follower = self._follower
        if follower is None:
            return
        found = {key: follower.held.get(key) for key in changed}
        self._known.take(found)
        if self._budgets is not None:
            self._budgets.take(found)
        if self.past is not None:
            self.past.take(found)
        if self._issued is not None:
            self._issued.take(found)
        now_ns = self._clock.now_ns()
        mine, digest = follower.held.get(digests.NODES + self._me), self._known.digest(self._me)
        if digests.NODES + self._me in changed and mine is not None and digest is not None and self._beat is not None:
            leaving = self._deps.draining()
            self._name_conflict.observe(digest, mine.revision, self._beat.first, now_ns, leaving=leaving)
        self.by_hand.take(found)

    async def _send(self, beat: Heartbeat, budgets: Budgets, digest: Digest, spent: Told | None, now_ns: int) -> None:
        """Write the digest and the spending once."""
        held = {} if self._follower is None else self._follower.held
        if await beat.write(digest, now_ns, budgets.writes(spent, held)):
            budgets.acknowledged(spent)

    def _start(self, name: str, work: Coroutine[object, object, None]) -> None:
        """Run ``work`` as a task, unless the previous task of that name still runs."""
        if name in self._tasks:
            work.close()
            return
        task = asyncio.get_running_loop().create_task(work)
        self._tasks[name] = task
        task.add_done_callback(lambda done: self._done(name, done))

    def _done(self, name: str, task: asyncio.Task[None]) -> None:
        self._tasks.pop(name, None)
        error = None if task.cancelled() else task.exception()
        if isinstance(error, Exception):
            logs.say_failure(f"{name} failed", error)
            if name == _FOLLOWING and not self._ending:
                self.follow()

    async def _end(self) -> None:
        """Say goodbye to the other nodes, for at most LEAVE_S seconds, and close the store."""
        tasks = list(self._tasks.values())
        self.cancel_tasks()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self._store is None:
            return
        with contextlib.suppress(TimeoutError, EdgeError):
            async with asyncio.timeout(LEAVE_S):
                replaced = self._name_conflict.has_successor(self._clock.now_ns())
                if self._beat is not None and self._deps.draining() and not replaced:
                    await self._leave(self._store, self._beat, self._deps.snapshot())
        await self._store.close()

    async def _leave(self, store: Store, beat: Heartbeat, snapshot: Snapshot) -> None:
        """Publish the last ids and the final spending, then give back what other nodes can use."""
        if self._issued is not None:
            await self._issued.leave()
        last = () if self._budgets is None else self._budgets.farewell(snapshot)
        if last:
            await store.txn((), last)
        await beat.end()
        if self._grants is not None:
            await self._grants.leave(snapshot)
