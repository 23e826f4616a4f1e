"""What has this node to tell of its targets?  Reads the shared state, and remembers how it was ten seconds ago."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Final

from edge.native import HIST_BOUNDS_S
from edge.regions.digest import MOST_TARGETS, State, TargetDigest, opinion, tellable

if TYPE_CHECKING:
    from collections.abc import Mapping

    from edge.native import SharedState, TargetView
    from edge.terms.snapshot import Snapshot, Target

_S: Final = 1_000_000_000
# The histograms on the shared state only ever grow: what is subtracted is at least this old, and at most twice.
KEEP_NS: Final = 10 * _S
EVERY_NS: Final = 5 * _S
_QUANTILE: Final = 0.95
# A rest that was told by another region is not told on, or two regions would keep each other's for ever.
ECHO_NS: Final = _S // 4


class Sampler:
    """Samples the targets of one shared state. ``sample`` may be called as often as wanted."""

    def __init__(self, shared_state: SharedState) -> None:
        self._shared_state = shared_state
        self._before: deque[tuple[int, dict[str, tuple[int, ...]]]] = deque()

    def sample(
        self, snapshot: Snapshot, states: Mapping[str, State], told: Mapping[str, int], now_ns: int
    ) -> tuple[TargetDigest, ...]:
        """Return each target that there is something to tell of.

        Args:
            snapshot: the targets.
            states: how each target stands (edge.balance.report), by id; others take part in no route.
            told: by id, until when (monotonic ns) other regions' rests were merged here.
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
            if digest.state != "closed" or digest.total or digest.inflight or digest.rest_ms:
                found.append(digest)
        self._remember(hists, now_ns)
        if len(found) > MOST_TARGETS:  # what is ill must be told, and then what is asked most
            found.sort(key=lambda digest: (opinion(digest) is not True, not digest.rest_ms, -digest.total, digest.id))
        return tuple(found[:MOST_TARGETS])

    def _remember(self, hists: dict[str, tuple[int, ...]], now_ns: int) -> None:
        if not self._before or now_ns - self._before[-1][0] >= EVERY_NS:
            self._before.append((now_ns, hists))
        while len(self._before) > 1 and now_ns - self._before[1][0] >= KEEP_NS:
            self._before.popleft()


def _digest(target: Target, view: TargetView, state: State, *, p95_ms: int, told_ns: int, now_ns: int) -> TargetDigest:
    total, failed, slow = view["window"]
    rest_ns = view["rest_until_ns"]
    own_rest = rest_ns > now_ns and rest_ns > told_ns + ECHO_NS
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
        rest_ms=(rest_ns - now_ns) // 1_000_000 if own_rest else 0,
        consecutive=view["consecutive"],
    )


def headroom(limit: float, cap: int, inflight: int) -> int:
    """Return how many requests a target takes beside those in flight; -1 when nothing bounds it.

    Args:
        limit: the learned concurrency limit, 0.0 = nothing learned.
        cap: the configured one, 0 = none.
        inflight: requests that it has.
    """
    bounds = [bound for bound in (int(limit), cap) if bound > 0]
    return max(min(bounds) - inflight, 0) if bounds else -1


def quantile_ms(counts: list[int]) -> int:
    """Return the upper bound of the bucket that holds the 95th of 100, in milliseconds; 0 when the buckets are empty.

    What stands in the last bucket, which has no bound, is told as twice the bound before.
    """
    total = sum(counts)
    below = 0
    for count, bound in zip(counts, (*HIST_BOUNDS_S, 2 * HIST_BOUNDS_S[-1]), strict=True):
        below += count
        if total and below >= _QUANTILE * total:
            return int(bound * 1000)
    return 0
