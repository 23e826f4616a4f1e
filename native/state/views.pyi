# Copies records of the shared block for Python.  The views are what ``SharedState.read_*`` return.

from typing import TypedDict

STATE_NAMES: tuple[str, str, str]

class CapabilityView(TypedDict):
    # A copy of the circuit of one capability of a target: times in monotonic ns.
    state: str  # one of STATE_NAMES
    until_ns: int  # as in TargetView
    opened_ns: int
    consecutive: int
    trip_reason: int  # native.balance.breaker.TripReason
    trips: int
    trials: int
    failures: int  # blamed on it, all time
    window: tuple[int, int, int]  # ended, failed, slow in the last 10 s
    remote: int  # see shared_state.h

class UseView(TypedDict):
    # What was counted of the requests of a target or a route whose most special need is one capability, all time.
    counts: tuple[int, ...]  # of a target by Outcome; of a route by RouteCounter, R_2XX to R_BROKEN alone
    first_hist: tuple[int, ...]  # 24, bounds in HIST_BOUNDS_S
    total_hist: tuple[int, ...]
    prompt_tokens: int
    output_tokens: int
    cost_nano: int

class TargetView(TypedDict):
    # A copy of one target's record: times in monotonic ns, latencies in ms (0.0 = no data).
    state: str  # one of STATE_NAMES
    generation: int
    until_ns: int  # open: earliest trial; half_open: when the permit expires; closed: last recovery, 0 = never opened
    opened_ns: int
    trial_ns: int
    consecutive: int
    opens: int
    trip_reason: int  # native.balance.breaker.TripReason
    quarantine_reason: int  # Outcome, 0 = not quarantined
    quarantined_until_ns: int
    rate_limited_until_ns: int
    manual: int  # 0 none, 1 drain, 2 eject
    inflight: int
    window: tuple[int, int, int]  # ended, failed, slow in the last 10 s
    ewma_ms: tuple[float, float]  # streams, complete answers
    baseline_ms: tuple[float, float]
    measured_ms: tuple[float, float]  # of the same requests, but successes only
    penalty_ms: tuple[float, float]  # the part of ewma_ms, decayed to now, that failures added
    counts: tuple[int, ...]  # by Outcome and TargetCounter
    first_hist: tuple[int, ...]  # 24, bounds in HIST_BOUNDS_S
    total_hist: tuple[int, ...]
    first_sum_us: int
    total_sum_us: int
    inflight_by_priority: tuple[int, int, int]  # high, normal, low
    limit: float  # concurrent requests, as learned; 0.0 = no limit
    limit_floor_ms: float  # time to first token without queueing
    limit_seen_ms: float  # the average time to first token of the last complete window
    spill: float  # concurrent requests that the low class may have in a later tier
    allowance: float  # concurrent requests in place of a better tier; 0.0 = never used
    remote: int  # see shared_state.h
    capabilities: dict[int, CapabilityView]  # by Capability; those that were asked lately, or have ever failed

class RouteView(TypedDict):
    # A copy of one route's record.
    budget: int
    inflight: int
    counts: tuple[int, ...]  # by RouteCounter
    first_hist: tuple[int, ...]
    total_hist: tuple[int, ...]
    first_sum_us: int
    total_sum_us: int
    queue_hist: tuple[int, ...]
    queue_sum_us: int
    overhead_sum_ns: int
    overhead_count: int
    output_hist: tuple[int, ...]
    answered: tuple[int, ...]  # by the place of the target among the route's members

class AllowanceView(TypedDict):
    # A copy of the record of one caller's key or one provider's credential.
    requests_tat: int  # monotonic ns
    tokens_tat: int
    requests_share: int  # thousandths of a request per minute; 0 = all of the Snapshot's
    tokens_share: int
    share_until_ns: int  # monotonic ns; end of the shares' validity
    share_nodes: int  # after share_until_ns this node grants 1 / share_nodes
    concurrent_share: int  # concurrent requests, plus one; 0 = all of the Snapshot's
    ceiling_month: int  # months since year 0; 0 = the whole budget is this node's
    ceiling_nano: int  # US dollars * 1e9 that this node may have spent in that month
    spent_month: int  # months since year 0
    spent_nano: int  # US dollars * 1e9
    inflight: int
    held_tokens: int  # reserved by requests in flight
    held_nano: int  # likewise, US dollars * 1e9
    counts: tuple[int, ...]

class WorkerView(TypedDict):
    # A copy of one worker's record; pid 0 = the slot is free.
    pid: int
    started_ns: int
    heartbeat_ns: int
    counts: tuple[int, ...]  # by WorkerCounter
