"""What does this node tell the others, and what does it make of what they tell?  Four times a second, beside all else.

Nothing that serves waits for the store, and this loop does not either: heartbeats and grants are tasks of their own,
one at a time. When the store is gone, everything here goes on by what was heard, until it is too old to be believed.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Final

from edge import clock as real
from edge.cluster.follow import Follower
from edge.config.schema import MOST_MEMBERS
from edge.control.budgets import Budgets
from edge.control.grants import Grants
from edge.control.heartbeat import Heartbeat
from edge.control.membership import Membership, askable, overrides
from edge.control.name_conflict import NameConflict
from edge.control.sharing_deps import NothingSharedError, SharingDeps, SharingState
from edge.errors import EdgeError
from edge.regions import digest as told
from edge.regions import verdicts, view
from edge.regions.digest import FRESH_NS, OVERRIDES, Digest, ManualOverride, TargetDigest
from edge.regions.keeper import ShareKeeper
from edge.regions.sampler import Sampler
from edge.telemetry import logs
from edge.telemetry.sharing import SharingFacts
from edge.terms.ports import Write
from edge.version import VERSION

if TYPE_CHECKING:
    from collections.abc import Coroutine, Mapping, Sequence

    from edge.clock import Clock
    from edge.control.spend import Spending
    from edge.native import SharedState
    from edge.regions.budgets import Told
    from edge.regions.verdicts import Verdict
    from edge.regions.view import Heard, Peer, RegionPicture
    from edge.terms import places
    from edge.terms.ports import Store
    from edge.terms.snapshot import Snapshot

_S: Final = 1_000_000_000
PERIOD_S: Final = 0.25
ALONE_S: Final = 1.0  # only who looks at /api/regions would notice
# What is on the shared state of the others holds for 15 s; it is written again well before.
REWRITE_NS: Final = 5 * _S
# A copy of the store that was not confirmed for this long is good enough to look at, not to move grants by.
SEEING_S: Final = 5.0
LEAVE_S: Final = 1.0
_FOLLOWING: Final = "following the store"


class Sharing:
    """Shares with the others through a store, and knows nobody without one.

    Args:
        shared_state: where weights, fuses, rests and shares go.
        deps: the rest of control.
        store: None: this node is by itself.
        region: ours.
        node: this one.
        instance: of this control; no two are alike.
        peers: edges of other regions that were known before.
        spending: what keys spent is remembered there; None: nobody does.
        clock: time and chance.
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
        clock: Clock = real,
    ) -> None:
        self._shared_state = shared_state
        self._deps = deps
        self._store = store
        self._region, self._node, self._instance = region, node, instance
        self._me = told.name_of(region, node)
        self._clock = clock
        self._sampler = Sampler(shared_state)
        self._known = Membership(self._me)
        self._follower = None if store is None else Follower(store, "", self._changed, clock=clock)
        self._keeper = None if store is None else ShareKeeper(store, region, node, clock)
        self._grants = None if self._keeper is None else Grants(shared_state, self._keeper)
        self._beat: Heartbeat | None = None
        if store is not None and self._follower is not None and self._keeper is not None:
            follower, key = self._follower, told.node_key(region, node)
            self._beat = Heartbeat(store, key, clock, proof=self._keeper.beat, connected=lambda: follower.connected)
        self._spending = spending
        remembered = {} if spending is None else spending.elsewhere
        self._budgets = None if store is None else Budgets(shared_state, self._me, remembered, clock)
        self._own = Digest(region, node, instance, VERSION, (), 0)
        self._ending = False
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._told_rests: dict[str, int] = {}
        self._weighed: dict[str, tuple[Verdict, int]] = {}
        self._peers = tuple(peers)
        self._seeing_ns: int | None = None  # since when the copy of the store is alive
        self._hands: dict[str, ManualOverride] | None = None  # None: nobody has said yet
        self._twin = NameConflict(self._me, instance)
        self.verdicts: dict[str, Verdict] = {}
        self.pictures: dict[str, RegionPicture] = {}
        self.peers: tuple[Peer, ...] = ()

    async def run(self) -> None:
        """Share until cancelled."""
        self.follow()
        try:
            while True:
                try:
                    self.look()
                except Exception as error:  # noqa: BLE001  # one bad look must not end all later ones
                    logs.say_failure("sharing with other regions failed", error)
                await self._clock.sleep(PERIOD_S if self.shared else ALONE_S)
        finally:
            await self._end()

    def follow(self) -> None:
        """Begin to follow the store."""
        if self._follower is not None:
            self._start(_FOLLOWING, self._follower.run())

    def run_no_more(self) -> None:
        """Give up what runs beside the loop."""
        self._ending = True
        for task in self._tasks.values():
            task.cancel()

    def look(self) -> None:
        """Tell, weigh, meet: whatever is due. Returns at once."""
        now_ns = self._clock.now_ns()
        snapshot = self._deps.snapshot()
        states = {name: report.state for name, report in self._deps.reports(now_ns).items()}
        self._own = Digest(
            region=self._region,
            node=self._node,
            instance=self._instance,
            version=VERSION,
            addresses=self._deps.addresses(),
            load=self._deps.load(),
            targets=self._sampler.sample(snapshot, states, self._told_rests, now_ns),
            draining=self._deps.draining(),
        )
        heard = self._known.heard(now_ns)
        mine = view.Heard(self._own, 0)
        self.pictures = view.survey([mine, *heard])
        self.peers = view.peers([mine, *heard], self.pictures)
        self._weigh(snapshot, heard, now_ns)
        self._meet()
        if self._beat is None or self._follower is None or self._grants is None or self._budgets is None:
            return
        if self._follower.relists and self._hands is None:
            self._hand_on(overrides(self._follower.held))
        name_conflict = self._twin.here(now_ns)
        seeing = self._follower.relists > 0 and self._follower.age_s() <= SEEING_S and not name_conflict
        if self._keeper is not None:
            self._keeper.name_conflict = name_conflict
            if seeing:
                self._keeper.saw()
        self._budgets.look(snapshot, heard, self._follower.held, seeing=seeing)
        if self._spending is not None:
            self._spending.elsewhere = self._budgets.remembered()
        replaced = self._own.draining and self._twin.follows(now_ns)
        if not replaced and self._beat.due(self._own, now_ns, urgent=seeing and self._budgets.urgent):
            said = self._budgets.document(snapshot, heard) if seeing else None
            self._start("the heartbeat", self._tell(self._beat, self._budgets, self._own, said, now_ns))
        self._grants.look(snapshot, now_ns)
        if seeing:
            self._start("grants", self._grants.move(snapshot, self._follower.held, self._known, now_ns))

    async def hand(self, target: str, hand: ManualOverride | None) -> None:
        """Take a target out in all regions, or give it back (None).

        Raises:
            NothingSharedError: there is no cluster.
            StoreUnavailableError: it cannot be told now; nothing has changed.
            StoreRefusedError: the store does not let us.
        """
        if self._store is None:
            sentence = "this node shares nothing: name a cluster in its configuration, or leave out the wish for all"
            raise NothingSharedError(sentence)
        value = None if hand is None else told.encode(hand)
        revision = await self._store.txn((), (Write(OVERRIDES + target, value),))
        if self._follower is not None and revision is not None and self._follower.revision >= revision:
            return  # the watch was faster, and what it told holds: this, or what somebody made of it since
        standing = {name: done for name, done in (self._hands or {}).items() if name != target}
        self._hand_on(standing if hand is None else {**standing, target: hand})

    def state(self) -> SharingState:
        """Return how it stands."""
        follower, keeper, beat = self._follower, self._keeper, self._beat
        age_s = follower.age_s() if follower is not None and follower.relists else None
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
            name_conflict=self._twin.here(self._clock.now_ns()),
            unread=self._known.unread + (0 if self._budgets is None else self._budgets.unread),
        )

    def facts(self) -> SharingFacts:
        """Return what the metrics show."""
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
        """How often this node's digest was written."""
        return 0 if self._beat is None else self._beat.writes

    @property
    def shared(self) -> bool:
        """Whether there is a cluster."""
        return self._store is not None

    def shares(self) -> dict[str, dict[str, float]]:
        """Return what this node may grant of each shared allowance."""
        return {} if self._grants is None else self._grants.shares(self._deps.snapshot())

    def budgets(self) -> dict[str, dict[str, float]]:
        """Return how each shared budget stands, in US dollars."""
        return {} if self._budgets is None else self._budgets.report(self._deps.snapshot())

    def _weigh(self, snapshot: Snapshot, heard: list[Heard], now_ns: int) -> None:
        """Write to the shared state what the others' word means here."""
        here: dict[str, TargetDigest] = {target.id: target for target in self._own.targets}
        beside = [each for each in heard if each.digest.region == self._region]
        edges = {target.id: target.provider for target in snapshot.targets if target.kind == "region"}
        self.verdicts = verdicts.judge(self._region, here, self.pictures, beside)
        self.verdicts |= verdicts.elsewhere(edges, self.pictures)
        slots = {target.id: target.slot for target in snapshot.targets}
        for name in self._weighed.keys() - self.verdicts.keys():
            if name in slots:
                self._shared_state.clear_remote(slots[name])
            del self._weighed[name]
        for name, verdict in self.verdicts.items():
            before, when_ns = self._weighed.get(name, (None, 0))
            if name in slots and (before != verdict or now_ns - when_ns >= REWRITE_NS):
                self._shared_state.set_remote(slots[name], verdict.weight, verdict.fuse, now_ns)
                self._weighed[name] = (verdict, now_ns)
        common = {place for place, each in enumerate(snapshot.credentials) if each.allowance.shared}
        shared = {target.id for target in snapshot.targets if target.credential in common}
        for name, left_ms in verdicts.rests(heard, shared).items():
            until_ns = now_ns + left_ms * 1_000_000
            self._told_rests[name] = max(self._told_rests.get(name, 0), until_ns)
            self._shared_state.rest(slots[name], until_ns)

    def _meet(self) -> None:
        """Let control know the edges of other regions that may be asked; while the store is silent they stay."""
        now_ns = self._clock.now_ns()
        if self._follower is None or self._follower.age_s() > SEEING_S:
            self._seeing_ns = None
            return
        if self._seeing_ns is None:
            self._seeing_ns = now_ns
        found = askable(self.peers, self._region)
        if now_ns - self._seeing_ns < FRESH_NS:  # who is silent now may be as blind as we were
            found = tuple(dict.fromkeys((*found, *self._peers)))[:MOST_MEMBERS]
        if found != self._peers:
            self._peers = found
            self._deps.met(found)

    def _changed(self, changed: Mapping[str, object]) -> None:
        follower = self._follower
        if follower is None:
            return
        found = {key: follower.held.get(key) for key in changed}
        self._known.take(found)
        if self._budgets is not None:
            self._budgets.take(found)
        now_ns = self._clock.now_ns()
        mine, stands = follower.held.get(told.NODES + self._me), self._known.digest(self._me)
        if told.NODES + self._me in changed and mine is not None and stands is not None and self._beat is not None:
            self._twin.look(stands, mine.revision, self._beat.first, now_ns, leaving=self._deps.draining())
        if any(key.startswith(OVERRIDES) for key in changed):
            self._hand_on(overrides(follower.held))

    def _hand_on(self, found: dict[str, ManualOverride]) -> None:
        if found != self._hands:
            self._hands = found
            self._deps.handed(found)

    async def _tell(self, beat: Heartbeat, budgets: Budgets, digest: Digest, said: Told | None, now_ns: int) -> None:
        """Write the digest once, and what was spent beside it."""
        held = {} if self._follower is None else self._follower.held
        if await beat.write(digest, now_ns, budgets.writes(said, held)):
            budgets.acknowledged(said)

    def _start(self, name: str, work: Coroutine[object, object, None]) -> None:
        """Run it beside the loop, unless the last one of that name still runs."""
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
        """Say goodbye, as long as that takes no time."""
        tasks = list(self._tasks.values())
        self.run_no_more()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self._store is None:
            return
        with contextlib.suppress(TimeoutError, EdgeError):
            async with asyncio.timeout(LEAVE_S):
                replaced = self._twin.follows(self._clock.now_ns())
                if self._beat is not None and self._deps.draining() and not replaced:
                    await self._leave(self._store, self._beat, self._deps.snapshot())
        await self._store.close()

    async def _leave(self, store: Store, beat: Heartbeat, snapshot: Snapshot) -> None:
        """Tell the last of what was spent, and give back what others can use."""
        last = () if self._budgets is None else self._budgets.farewell(snapshot)
        if last:
            await store.txn((), last)
        await beat.end()
        if self._grants is not None:
            await self._grants.leave(snapshot)
