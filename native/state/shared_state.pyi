# What do all processes of this node know together?

from enum import IntEnum
from typing import TypedDict

LAYOUT: int
HIST_BOUNDS_S: tuple[float, ...]
STATE_NAMES: tuple[str, str, str]

class Outcome(IntEnum):
    OK = 0
    FAIL_CONNECT = 1
    FAIL_RESET = 2
    FAIL_FIRST_BYTE = 3
    FAIL_FIRST_TOKEN = 4
    FAIL_STALLED = 5
    FAIL_STATUS = 6
    FAIL_MALFORMED = 7
    FAIL_TRUNCATED = 8
    FAIL_INBAND = 9
    RATE_LIMITED = 10
    REFUSED_CREDENTIAL = 11
    MISCONFIGURED = 12
    CLIENT_FAULT = 13
    CANCELLED = 14
    DEADLINE = 15

class TargetCounter(IntEnum):
    T_ATTEMPTS = 16
    T_TRIPS = 17
    T_TRIALS = 18
    T_RETRIED = 19
    T_CONNECTS = 20
    T_CONNECT_FAILURES = 21
    T_SLOW = 22
    T_SPILLED = 23
    T_EXHAUSTED = 24
    T_PROMPT_TOKENS = 25
    T_OUTPUT_TOKENS = 26
    T_COST_NANO = 27
    T_FULL = 28

class RouteCounter(IntEnum):
    R_REQUESTS = 0
    R_2XX = 1
    R_3XX = 2
    R_4XX = 3
    R_5XX = 4
    R_CANCELLED = 5
    R_BROKEN = 6
    R_RETRIES = 7
    R_FAILOVERS = 8
    R_UNAVAILABLE = 9
    R_BUDGET = 10
    R_KEEPALIVES = 11
    R_STREAMS = 12
    R_SHED_HIGH = 13
    R_SHED_NORMAL = 14
    R_SHED_LOW = 15
    R_QUEUED = 16
    R_LIMITED = 17
    R_PROMPT_TOKENS = 18
    R_OUTPUT_TOKENS = 19
    R_COST_NANO = 20
    R_SPILLED = 21
    R_PEER = 22
    R_WAITING = 23

class WorkerCounter(IntEnum):
    W_ACCEPTED = 0
    W_CONNECTIONS = 1
    W_UPSTREAMS = 2
    W_REQUESTS = 3
    W_MALFORMED = 4
    W_BYTES_IN = 5
    W_BYTES_OUT = 6
    W_LOOP_LAG_US = 7
    W_UNROUTED = 8
    W_REFUSED_KEYS = 9
    W_RECORDED = 10
    W_UNRECORDED = 11
    W_HOPS_REFUSED = 12
    W_UNBUFFERED = 13
    W_UPSTREAMS_IDLE = 16
    W_REFUSED = 17
    W_BUFFERED = 18

class AllowanceCounter(IntEnum):
    A_REQUESTS = 0
    A_REFUSED_REQUESTS = 1
    A_REFUSED_TOKENS = 2
    A_REFUSED_CONCURRENT = 3
    A_REFUSED_BUDGET = 4
    A_PROMPT_TOKENS = 5
    A_OUTPUT_TOKENS = 6
    A_COST_NANO = 7
    A_RESERVED = 8
    A_RETURNED = 9
    A_LEARNED = 10

class TargetView(TypedDict):
    # A copy of one target's record: times in monotonic ns, latencies in ms (0.0 = no data).
    state: str  # one of STATE_NAMES
    generation: int
    until_ns: int  # open: earliest trial; half_open: when the permit lapses; closed: last recovery, 0 = never ill
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
    ewma_ms: tuple[float, float]  # streams, whole answers
    baseline_ms: tuple[float, float]
    measured_ms: tuple[float, float]  # the same cells, an average of successes only
    penalty_ms: tuple[float, float]  # the part of ewma_ms, decayed to now, that failures added
    counts: tuple[int, ...]  # by Outcome and TargetCounter
    first_hist: tuple[int, ...]  # 24, bounds in HIST_BOUNDS_S
    total_hist: tuple[int, ...]
    first_sum_us: int
    total_sum_us: int
    inflight_class: tuple[int, int, int]  # high, normal, low
    limit: float  # requests at once, as learned; 0.0 = nothing learned
    limit_floor_ms: float  # a first token when nothing waits
    limit_seen_ms: float  # the average first token of the last whole window
    spill: float
    remote: int  # see shared_state.h

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
    own_sum_ns: int
    own_count: int
    output_hist: tuple[int, ...]

class AllowanceView(TypedDict):
    # A copy of the record of one caller's key or one provider's credential.
    requests_tat: int  # monotonic ns
    tokens_tat: int
    requests_share: int  # thousandths of a request per minute; 0 = all of the Snapshot's
    tokens_share: int
    share_until_ns: int  # monotonic ns; the shares hold until then
    share_nodes: int  # afterwards this node grants one part in so many
    concurrent_share: int  # requests at once, plus one; 0 = all of the Snapshot's
    ceiling_month: int  # months since year 0; 0 = the whole budget is this node's
    ceiling_nano: int  # US dollars * 1e9 that this node may have spent in that month
    spent_month: int  # months since year 0
    spent_nano: int  # US dollars * 1e9
    inflight: int
    counts: tuple[int, ...]

class WorkerView(TypedDict):
    # A copy of one worker's record; pid 0 = nobody.
    pid: int
    started_ns: int
    heartbeat_ns: int
    counts: tuple[int, ...]  # by WorkerCounter

def bucket_of(us: int) -> int: ...

class SharedState:
    # SharedState(fd) attaches to the descriptor of another process's shared state; ValueError if it is none of this
    # build.
    def __init__(self, fd: int) -> None: ...
    @property
    def fd(self) -> int: ...
    @property
    def created_ns(self) -> int: ...
    @property
    def capacities(self) -> tuple[int, int, int]: ...
    @property
    def allowance_capacity(self) -> int: ...
    @staticmethod
    def create(
        target_capacity: int, route_capacity: int, worker_capacity: int, now_ns: int = 0, allowance_capacity: int = 0
    ) -> SharedState: ...
    def read_target(self, slot: int, now_ns: int) -> TargetView: ...
    def read_route(self, slot: int) -> RouteView: ...
    def read_worker(self, index: int) -> WorkerView: ...
    def beat(self, index: int, pid: int, now_ns: int, lag_us: int = 0) -> None: ...
    def clear_worker(self, index: int) -> None: ...
    def clear_target(self, slot: int) -> None: ...
    def clear_route(self, slot: int) -> None: ...
    def read_allowance(self, slot: int) -> AllowanceView: ...
    def clear_allowance(self, slot: int) -> None: ...
    def set_spent(self, slot: int, month: int, nano: int) -> bool: ...
    def raise_spent(self, slot: int, month: int, nano: int) -> None: ...
    def turn_back(self, slot: int, month: int) -> None: ...
    def set_ceiling(self, slot: int, month: int, nano: int) -> None: ...
    def halve_outputs(self, slot: int) -> None: ...
    def set_manual(self, slot: int, code: int) -> None: ...
    def set_quarantine(self, slot: int, reason: int, until_ns: int) -> None: ...
    def clear_quarantine(self, slot: int) -> None: ...
    def set_rate_limited(self, slot: int, until_ns: int) -> None: ...
    def set_remote(self, slot: int, weight: float, failure_threshold: int, now_ns: int) -> None: ...
    def clear_remote(self, slot: int) -> None: ...
    def set_shares(
        self,
        slot: int,
        requests: int,
        tokens: int,
        *,
        until_ns: int,
        nodes: int,
        now_ns: int,
        windows_ns: tuple[int, int] = (0, 0),
        concurrent: int | None = None,
    ) -> None: ...
    def hint(self, slot: int, now_ns: int) -> bool: ...
