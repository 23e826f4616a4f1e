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

class TargetView(TypedDict):
    # A copy of one target's record: times in monotonic ns, latencies in ms (0.0 = no data).
    state: str  # one of STATE_NAMES
    generation: int
    until_ns: int  # open: earliest trial; half_open: when the permit lapses; closed: last recovery, 0 = never ill
    opened_ns: int
    trial_ns: int
    consecutive: int
    opens: int
    trip_reason: int  # native.breaker.TripReason
    out_reason: int  # Outcome, 0 = not out
    out_until_ns: int
    rest_until_ns: int
    manual: int  # 0 none, 1 drain, 2 eject
    inflight: int
    window: tuple[int, int, int]  # ended, failed, slow in the last 10 s
    ewma_ms: tuple[float, float]  # streams, whole answers
    baseline_ms: tuple[float, float]
    counts: tuple[int, ...]  # by Outcome and TargetCounter
    first_hist: tuple[int, ...]  # 24, bounds in HIST_BOUNDS_S
    total_hist: tuple[int, ...]
    first_sum_us: int
    total_sum_us: int

class RouteView(TypedDict):
    # A copy of one route's record.
    budget: int
    inflight: int
    counts: tuple[int, ...]  # by RouteCounter
    first_hist: tuple[int, ...]
    total_hist: tuple[int, ...]
    first_sum_us: int
    total_sum_us: int

class WorkerView(TypedDict):
    # A copy of one worker's record; pid 0 = nobody.
    pid: int
    started_ns: int
    heartbeat_ns: int
    counts: tuple[int, ...]  # by WorkerCounter

def bucket_of(us: int) -> int: ...

class Board:
    # Board(fd) attaches to the descriptor of another process's Board; ValueError if it is none of this build.
    def __init__(self, fd: int) -> None: ...
    @property
    def fd(self) -> int: ...
    @property
    def capacities(self) -> tuple[int, int, int]: ...
    @staticmethod
    def create(target_capacity: int, route_capacity: int, worker_capacity: int, now_ns: int = 0) -> Board: ...
    def read_target(self, slot: int, now_ns: int) -> TargetView: ...
    def read_route(self, slot: int) -> RouteView: ...
    def read_worker(self, index: int) -> WorkerView: ...
    def beat(self, index: int, pid: int, now_ns: int, lag_us: int = 0) -> None: ...
    def clear_worker(self, index: int) -> None: ...
    def clear_target(self, slot: int) -> None: ...
    def clear_route(self, slot: int) -> None: ...
    def set_manual(self, slot: int, code: int) -> None: ...
    def set_out(self, slot: int, reason: int, until_ns: int) -> None: ...
    def clear_out(self, slot: int) -> None: ...
    def hint(self, slot: int, now_ns: int) -> bool: ...
