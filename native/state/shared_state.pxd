"""What do all processes of this node know together?  See shared_state.h for the layout, shared_state.pyx for the words."""

from libc.stdint cimport int64_t, uint32_t, uint64_t

cdef extern from "native/state/shared_state.h" nogil:
    const uint64_t EDGE_STATE_MAGIC
    const uint32_t EDGE_STATE_LAYOUT
    const int EDGE_MAX_WORKERS
    const int EDGE_WINDOW_BUCKETS
    const int EDGE_HIST_BUCKETS
    const int EDGE_TARGET_COUNTERS
    const int EDGE_ROUTE_COUNTERS
    const int EDGE_WORKER_COUNTERS
    const int EDGE_ALLOWANCE_COUNTERS
    const int EDGE_LATENCY_BUCKETS
    const int EDGE_CLASSES
    const uint64_t EDGE_EWMA_TAU_NS
    ctypedef struct SharedStateHeader "edge_state_header":
        uint64_t magic
        uint32_t layout, target_capacity, route_capacity, worker_capacity
        uint64_t created_ns
        uint32_t allowance_capacity
    ctypedef struct TargetRec "edge_target_rec":
        uint64_t circuit, opened_ns, trial_ns
        uint32_t consecutive, opens, trip_reason, quarantine_reason
        uint64_t quarantined_until_ns, rate_limited_until_ns, manual
        uint64_t[2] ewma
        uint64_t[2] baseline
        uint64_t keys_epoch, keys_active, keys_failing, keys_before
        uint64_t[10] window
        uint64_t[10] slow
        uint64_t keys_active_before, hint_ns
        uint64_t[2] measured
        uint64_t[32] count
        uint64_t[24] first_hist
        uint64_t[24] total_hist
        uint64_t first_sum_us, total_sum_us
        uint64_t[2] penalty
        uint64_t limit, limit_floor, limit_sum_us, limit_count, spill, remote, limit_seen
        uint32_t[2][64] latency_count
        uint32_t[2] latency_samples
        uint32_t[2] latency_p99_ms
        uint32_t late_in_a_row
        uint32_t[64] inflight
        uint32_t[3][64] inflight_class
    ctypedef struct RouteRec "edge_route_rec":
        uint64_t budget
        uint64_t[48] count
        uint64_t[24] first_hist
        uint64_t[24] total_hist
        uint64_t first_sum_us, total_sum_us
        uint64_t[24] queue_hist
        uint64_t queue_sum_us, own_sum_ns, own_count
        uint64_t[24] output_hist
        uint32_t[64] inflight
        uint32_t[64] waiting
    ctypedef struct AllowanceRec "edge_allowance_rec":
        uint64_t requests_tat, tokens_tat, requests_share, tokens_share, spent_month, spent_nano
        uint64_t share_until_ns, share_nodes, concurrent_share, ceiling_month, ceiling_nano
        uint64_t[16] count
        uint32_t[64] inflight
    ctypedef struct WorkerRec "edge_worker_rec":
        uint64_t pid, started_ns, heartbeat_ns
        uint64_t[32] count
    # words taken apart and put together
    ctypedef struct WindowSum "edge_tally":
        uint64_t total, failed, slow
    const uint32_t EDGE_CIRCUIT_GENERATION_MASK
    const uint32_t EDGE_BUCKET_STAMP_MASK
    const uint32_t EDGE_BUCKET_COUNT_MASK
    int edge_circuit_state(uint64_t word)
    uint32_t edge_circuit_generation(uint64_t word)
    uint64_t edge_circuit_until_ms(uint64_t word)
    uint64_t edge_circuit(int state, uint32_t generation, uint64_t until_ms)
    uint32_t edge_stamp_of(uint64_t second)
    uint32_t edge_bucket_stamp(uint64_t word)
    uint32_t edge_bucket_first(uint64_t word)
    uint32_t edge_bucket_second(uint64_t word)
    uint64_t edge_bucket(uint64_t second, uint32_t first_count, uint32_t second_count)
    WindowSum edge_window_sum(TargetRec* rec, uint64_t now_s, int seconds)
    uint64_t edge_remote(uint32_t thousandths, uint32_t failure_threshold, uint64_t now_ms)
    double edge_remote_weight(uint64_t word, uint64_t now_ms)   # 0..1; 1.0 = nothing is said, or it is stale
    uint32_t edge_remote_failure_threshold(uint64_t word, uint64_t now_ms)   # failures in a row that open; 0 = the policy's
    uint64_t edge_share(AllowanceRec* rec, uint64_t* word, uint64_t whole, uint64_t now_ns)
    uint64_t edge_concurrent(AllowanceRec* rec, uint64_t whole, uint64_t now_ns)
    uint64_t edge_ceiling(AllowanceRec* rec, uint64_t budget, uint64_t month)
    float edge_cell_ms(uint64_t word)
    uint64_t edge_cell(float ms, uint64_t now_ms)
    uint32_t edge_cell_age_ms(uint64_t word, uint64_t now_ms)
    double edge_cell_weight(uint64_t word, uint64_t now_ms, uint64_t tau_ns)
    double edge_penalty_left(uint64_t word, uint64_t now_ms)
    double edge_penalty_in(uint64_t ewma, uint64_t penalty, uint64_t now_ms)


# How one attempt ended. The table that maps statuses and faults to these stands in edge/balance/outcomes.py.
cpdef enum Outcome:
    OK = 0
    FAIL_CONNECT = 1        # refused, unreachable, name or TLS failure, connect deadline
    FAIL_RESET = 2          # connection closed or reset before the answer's head
    FAIL_FIRST_BYTE = 3     # first-byte deadline
    FAIL_FIRST_TOKEN = 4    # first-content deadline
    FAIL_STALLED = 5        # the stream-idle deadline
    FAIL_STATUS = 6         # 500, 502, 503, 504, 529
    FAIL_MALFORMED = 7      # not HTTP, not JSON, not an event stream
    FAIL_TRUNCATED = 8      # the answer ended before it was complete
    FAIL_INBAND = 9         # an error event or error body under a 200
    RATE_LIMITED = 10       # 429: not a failure, the target gets nothing for a while
    REFUSED_CREDENTIAL = 11 # 401, 402, 403 from a provider: our key or balance
    MISCONFIGURED = 12      # 404 for the upstream model
    CLIENT_FAULT = 13       # 400, 413, 422 ...: the caller's own, relayed, never counted
    CANCELLED = 14          # the client left first; never counted
    DEADLINE = 15           # the exchange's own total ran out; counted as slow, not as failed

# Counters of a target: [0..15] one per Outcome, then:
cpdef enum TargetCounter:
    T_ATTEMPTS = 16
    T_TRIPS = 17
    T_TRIALS = 18
    T_RETRIED = 19          # attempts that left this target for another
    T_CONNECTS = 20
    T_CONNECT_FAILURES = 21
    T_SLOW = 22
    T_SPILLED = 23          # attempts here because a better tier was full or down
    T_EXHAUSTED = 24        # times it was passed over because its credential's allowance was used up
    T_PROMPT_TOKENS = 25    # as the target reported them
    T_OUTPUT_TOKENS = 26
    T_COST_NANO = 27        # US dollars * 1e9, by the configured prices
    T_FULL = 28             # times it was passed over because its concurrency limit was reached

# Counters of a route: answers by what the client saw
cpdef enum RouteCounter:
    R_REQUESTS = 0
    R_2XX = 1
    R_3XX = 2
    R_4XX = 3
    R_5XX = 4
    R_CANCELLED = 5
    R_BROKEN = 6            # ended by an honest error after the commit point
    R_RETRIES = 7
    R_FAILOVERS = 8         # answered by another than the first choice
    R_UNAVAILABLE = 9       # our own 503: nothing usable
    R_BUDGET = 10           # a retry that the budget refused
    R_KEEPALIVES = 11       # SSE comments sent while waiting
    R_STREAMS = 12
    R_SHED_HIGH = 13        # our own 503 because there was no room, by priority class
    R_SHED_NORMAL = 14
    R_SHED_LOW = 15
    R_QUEUED = 16           # exchanges that waited for a place
    R_LIMITED = 17          # our own 429: the caller's allowance was used up
    R_PROMPT_TOKENS = 18
    R_OUTPUT_TOKENS = 19
    R_COST_NANO = 20
    R_SPILLED = 21          # answered by a later tier because a better one was full or down
    R_PEER = 22             # answered by another region
    R_WAITING = 23          # waiting now; not counted here but read from RouteRec.waiting, a column per worker

cpdef enum WorkerCounter:
    W_ACCEPTED = 0
    W_CONNECTIONS = 1       # open now, clients
    W_UPSTREAMS = 2         # open now, upstream
    W_REQUESTS = 3
    W_MALFORMED = 4         # refused framing
    W_BYTES_IN = 5
    W_BYTES_OUT = 6
    W_LOOP_LAG_US = 7       # of the last tick
    W_UNROUTED = 8          # 404 of our own
    W_REFUSED_KEYS = 9      # 401 and 403 of our own
    W_RECORDED = 10         # exchanges recorded for tracing
    W_UNRECORDED = 11       # such records that were dropped because nobody took them
    W_HOPS_REFUSED = 12     # exchanges from peers refused for their hops
    W_UNBUFFERED = 13       # refused because there was no room for their bytes (limits.max_buffered)
    W_UPSTREAMS_IDLE = 16   # of those upstream, waiting for a request
    W_REFUSED = 17          # refused before anything was tried, for another reason than being unrouted
    W_BUFFERED = 18         # bytes of requests held now

# Counters of an allowance
cpdef enum AllowanceCounter:
    A_REQUESTS = 0          # admitted
    A_REFUSED_REQUESTS = 1  # 429s by what was used up
    A_REFUSED_TOKENS = 2
    A_REFUSED_CONCURRENT = 3
    A_REFUSED_BUDGET = 4
    A_PROMPT_TOKENS = 5     # settled
    A_OUTPUT_TOKENS = 6
    A_COST_NANO = 7         # all time, unlike spent_nano
    A_RESERVED = 8          # tokens reserved, all time
    A_RETURNED = 9          # tokens given back at settling, all time
    A_LEARNED = 10          # times a provider's x-ratelimit fields lowered the bucket


cdef class SharedState:
    cdef SharedStateHeader* header
    cdef TargetRec* targets
    cdef RouteRec* routes
    cdef AllowanceRec* allowances
    cdef WorkerRec* workers
    cdef readonly int fd
    cdef bint owns_fd       # created here: closed with the shared state; an attached one borrows it
    cdef size_t size
    cdef TargetRec* target(self, int slot) except NULL
    cdef RouteRec* route(self, int slot) except NULL
    cdef WorkerRec* worker(self, int index) except NULL
    cdef AllowanceRec* allowance(self, int slot) except NULL


cdef int hist_bucket(uint64_t us) noexcept nogil   # index of the bucket that holds this many microseconds
# A free probe answered: an open circuit may be tried from now on, but not before rec.hint_ns. True if that moved it.
cdef bint circuit_hint(TargetRec* rec, uint64_t now_ns) noexcept nogil
