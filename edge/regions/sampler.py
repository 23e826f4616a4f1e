"""Sampler of the shared state: it makes the target digests of this node, with latencies of the last ten seconds."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Final

from edge.native import HIST_BOUNDS_S
from edge.regions.digest import CAPABILITY, MOST_TARGETS, TargetDigest, opinion, tellable
from edge.telemetry.reading import quantile_bucket
from edge.terms.capabilities import NAMES, part_of
from edge.terms.target_state import USABLE

if TYPE_CHECKING:
    from collections.abc import Mapping

    from edge.native import SharedState, TargetView
    from edge.terms.snapshot import Snapshot, Target
    from edge.terms.target_state import Label

_S: Final = 1_000_000_000
# The histograms in the shared state only grow; the earlier sample that is subtracted is KEEP_NS to twice that old.
KEEP_NS: Final = 10 * _S
EVERY_NS: Final = 5 * _S
_QUANTILE: Final = 0.95
_COMMON: Final = ("streaming", "chat")
# A rate limit learned from another region is not published, or two regions would keep each other's alive forever.
ECHO_NS: Final = _S // 4


class Sampler:
    """Samples the targets of one shared state. ``sample`` may be called at any rate."""

    def __init__(self, shared_state: SharedState) -> None:
        self._shared_state = shared_state
        self._before: deque[tuple[int, dict[str, tuple[int, ...]]]] = deque()

    def sample(
        self, snapshot: Snapshot, states: Mapping[str, Label], told: Mapping[str, int], now_ns: int
    ) -> tuple[TargetDigest, ...]:
        """Return a digest for each target that has something to report.

        Args:
            snapshot: the targets.
            states: the state of each target (edge.balance.report) by id; targets without one are in no route. The state
                of a capability is there too (edge.terms.capabilities.part_of), unless it is usable.
            told: by target id, until when (monotonic ns) rate limits from other regions were merged here.
            now_ns: monotonic nanoseconds.
        """
        hists: dict[str, tuple[int, ...]] = {}
        found = []
        earlier = self._before[0][1] if self._before else {}
        for target in snapshot.targets:
            state = states.get(target.id)
            if state is None or target.kind == "region" or not tellable(target.id):
                continue
            view = self._shared_state.read_target(target.slot, now_ns)
            hists[target.id] = view["first_hist"]
            since = earlier.get(target.id, (0,) * len(view["first_hist"]))
            p95_ms = quantile_ms([now - then for now, then in zip(view["first_hist"], since, strict=True)])
            digest = _digest(target, view, state, p95_ms=p95_ms, told_ns=told.get(target.id, 0), now_ns=now_ns)
            if digest.state != USABLE.label or digest.total or digest.inflight or digest.rate_limited_ms:
                found.append(digest)
            found += _parts(target, view, states)
        self._remember(hists, now_ns)
        if len(found) > MOST_TARGETS:  # failing targets come first, then those with the most requests
            found.sort(
                key=lambda digest: (opinion(digest) is not True, not digest.rate_limited_ms, -digest.total, digest.id)
            )
        return tuple(found[:MOST_TARGETS])

    def _remember(self, hists: dict[str, tuple[int, ...]], now_ns: int) -> None:
        if not self._before or now_ns - self._before[-1][0] >= EVERY_NS:
            self._before.append((now_ns, hists))
        while len(self._before) > 1 and now_ns - self._before[1][0] >= KEEP_NS:
            self._before.popleft()


def _digest(target: Target, view: TargetView, state: Label, *, p95_ms: int, told_ns: int, now_ns: int) -> TargetDigest:
    total, failed, slow = view["window"]
    limited_ns = view["rate_limited_until_ns"]
    own = limited_ns > now_ns and limited_ns > told_ns + ECHO_NS
    return TargetDigest(
        id=target.id,
        kind=target.kind,
        state=state,
        total=total,
        failed=failed,
        slow=slow,
        p95_ms=p95_ms,
        inflight=view["inflight"],
        headroom=headroom(view["limit"], target.max_inflight, view["inflight"]),
        rate_limited_ms=(limited_ns - now_ns) // 1_000_000 if own else 0,
        consecutive=view["consecutive"],
    )


def _parts(target: Target, view: TargetView, states: Mapping[str, Label]) -> list[TargetDigest]:
    """Return a digest for each capability of a target about which there is something to say."""
    found = []
    for number, part in view["capabilities"].items():
        (total, failed, slow), name = part["window"], part_of(target.id, NAMES[number])
        state = states.get(name, USABLE.label)
        # What nearly every request needs is told only when it fails: the target's own digest tells the rest.
        if state != USABLE.label or failed or (total and NAMES[number] not in _COMMON and tellable(name)):
            found.append(TargetDigest(name, CAPABILITY, state, total, failed, slow, 0, 0, -1, 0, part["consecutive"]))
    return found


def headroom(limit: float, cap: int, inflight: int) -> int:
    """Return how many requests a target can take besides those in flight; -1 if it has no limit.

    Args:
        limit: the learned concurrency limit; 0.0: none was learned.
        cap: the configured limit; 0: none.
        inflight: requests in flight.
    """
    bounds = [bound for bound in (int(limit), cap) if bound > 0]
    return max(min(bounds) - inflight, 0) if bounds else -1


def quantile_ms(counts: list[int]) -> int:
    """Return the upper bound of the bucket that holds the 95th percentile, in milliseconds; 0 without data.

    The last bucket has no upper bound; twice its lower bound is used.
    """
    place = quantile_bucket(_QUANTILE, counts)
    return 0 if place is None else int((*HIST_BOUNDS_S, 2 * HIST_BOUNDS_S[-1])[place] * 1000)
