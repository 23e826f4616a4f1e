# The numbers of outcomes and counters; counters.pxd says what each counts.

from enum import IntEnum

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

class Capability(IntEnum):
    C_VISION = 0
    C_AUDIO = 1
    C_EMBEDDINGS = 2
    C_LONG_CONTEXT = 3
    C_REASONING = 4
    C_JSON = 5
    C_TOOLS = 6
    C_STREAMING = 7
    C_CHAT = 8

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
    T_DROPPED_EVENTS = 29
    T_CACHED_TOKENS = 30

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
    R_CACHE_HITS = 24
    R_CACHE_JOINED = 25
    R_CACHE_STALE = 26
    R_CACHE_MISSES = 27
    R_RESCUES = 28
    R_RESCUED = 29
    R_CACHED_TOKENS = 30
    R_KEPT = 31
    R_MOVED = 32
    R_SAVED_NANO = 33
    R_SAVED_US = 34
    R_HEDGES_WON = 35
    R_HEDGES_LOST = 36
    R_HEDGES_UNANSWERED = 37
    R_HEDGES_NO_BUDGET = 38
    R_HEDGES_NO_TARGET = 39

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
    W_EVICTED = 14
    W_TURNED_AWAY = 15
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
