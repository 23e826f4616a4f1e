"""Declares the outcomes of attempts and the counters of each kind of record, with their numbers."""

# How one attempt ended. edge/balance/outcomes.py has the table that maps statuses and faults to these.
cpdef enum Outcome:
    OK = 0
    FAIL_CONNECT = 1        # refused, unreachable, name or TLS failure, connect deadline
    FAIL_RESET = 2          # connection closed or reset before the answer's head
    FAIL_FIRST_BYTE = 3     # first-byte deadline
    FAIL_FIRST_TOKEN = 4    # first-content deadline
    FAIL_STALLED = 5        # stream-idle deadline
    FAIL_STATUS = 6         # 500, 502, 503, 504, 529
    FAIL_MALFORMED = 7      # not HTTP, not JSON, not an event stream
    FAIL_TRUNCATED = 8      # the answer ended before it was complete
    FAIL_INBAND = 9         # an error event or error body under a 200
    RATE_LIMITED = 10       # 429: not a failure; the target gets no traffic for a while
    REFUSED_CREDENTIAL = 11 # 401, 402, 403 from a provider: the configured credential or its balance
    MISCONFIGURED = 12      # 404 for the upstream model
    CLIENT_FAULT = 13       # 400, 413, 422 ...: the caller's error; relayed, never counted
    CANCELLED = 14          # the client left first; never counted
    DEADLINE = 15           # the exchange's total deadline passed; counted as slow, not as failed

# What a request may need of a target besides being there: the most special first. edge/terms/capabilities.py has the words.
cpdef enum Capability:
    C_VISION = 0
    C_AUDIO = 1
    C_EMBEDDINGS = 2
    C_LONG_CONTEXT = 3      # the prompt has more than native.proxy.needs.LONG_PROMPT tokens, by its size
    C_REASONING = 4
    C_JSON = 5              # the answer has to fit a schema, or to be JSON
    C_TOOLS = 6
    C_STREAMING = 7
    C_CHAT = 8

# Counters of a target: [0..15] one per Outcome, then these.
cpdef enum TargetCounter:
    T_ATTEMPTS = 16
    T_TRIPS = 17            # views read CircuitRec.trips, and the same for the next one and T_SLOW
    T_TRIALS = 18
    T_RETRIED = 19          # attempts that left this target for another
    T_CONNECTS = 20
    T_CONNECT_FAILURES = 21
    T_SLOW = 22
    T_SPILLED = 23          # attempts here because a better tier was full or down
    T_EXHAUSTED = 24        # times the target was passed over because its credential's allowance was used up
    T_PROMPT_TOKENS = 25    # as the target reported them
    T_OUTPUT_TOKENS = 26
    T_COST_NANO = 27        # US dollars * 1e9, by the configured prices
    T_FULL = 28             # times the target was passed over because its concurrency limit was reached
    T_DROPPED_EVENTS = 29   # events of its streams that were malformed, and not relayed
    T_CACHED_TOKENS = 30    # of T_PROMPT_TOKENS, those that the target had in its cache

# Counters of a route: responses by what the client saw
cpdef enum RouteCounter:
    R_REQUESTS = 0
    R_2XX = 1
    R_3XX = 2
    R_4XX = 3
    R_5XX = 4
    R_CANCELLED = 5
    R_BROKEN = 6            # ended by an error after the commit point
    R_RETRIES = 7
    R_FAILOVERS = 8         # answered by another target than the first choice
    R_UNAVAILABLE = 9       # edge's own 503: no usable target
    R_BUDGET = 10           # a retry that the budget refused
    R_KEEPALIVES = 11       # SSE comments sent while waiting
    R_STREAMS = 12
    R_SHED_HIGH = 13        # edge's own 503 because there was no room, by priority
    R_SHED_NORMAL = 14
    R_SHED_LOW = 15
    R_QUEUED = 16           # exchanges that waited for a place
    R_LIMITED = 17          # edge's own 429: the caller's allowance was used up
    R_PROMPT_TOKENS = 18
    R_OUTPUT_TOKENS = 19
    R_COST_NANO = 20
    R_SPILLED = 21          # answered by a later tier because a better one was full or down
    R_PEER = 22             # answered by another region
    R_WAITING = 23          # waiting now; views read RouteRec.waiting, which has a column per worker
    R_CACHE_HITS = 24       # answered from the cache
    R_CACHE_JOINED = 25     # answered with the answer that another exchange asked for
    R_CACHE_STALE = 26      # answered from the cache with an old answer, because no target could
    R_CACHE_MISSES = 27     # not in the cache: a target was asked
    R_RESCUES = 28          # times another target was asked to go on with an answer that broke off
    R_RESCUED = 29          # answers that broke off and were completed
    R_CACHED_TOKENS = 30    # of R_PROMPT_TOKENS, those that a target had in its cache
    R_KEPT = 31             # answered by the target that has the prompt in its cache
    R_MOVED = 32            # conversations that have moved from a target that failed or rested
    R_SAVED_NANO = 33       # US dollars * 1e9 that prefer: cost has saved; signed
    R_SAVED_US = 34         # microseconds to the first token that prefer: latency has saved; signed
    R_HEDGES_WON = 35       # hedges that answered
    R_HEDGES_LOST = 36      # hedges whose exchange the attempt beside them, or a later one, answered
    R_HEDGES_UNANSWERED = 37    # hedges of exchanges that nobody answered, or whose client left
    R_HEDGES_NO_BUDGET = 38 # hedges that were not made because the budget was spent
    R_HEDGES_NO_TARGET = 39 # hedges that were not made because no other target of the tier was well and had room
    # Of a route that copies take (native/proxy/shadow). Its other counters are those of the copies alone.
    R_SHADOW_AGREED = 40    # the copy got the status that the caller got
    R_SHADOW_DIFFERED = 41
    R_SHADOW_UNCOMPARED = 42    # the caller left, or the copy was cut off
    R_SHADOW_BUSY = 43      # dropped: too many copies in flight
    R_SHADOW_MEMORY = 44    # dropped: memory is scarce
    R_SHADOW_UNUSABLE = 45  # dropped: the target is down, full or rate-limited
    R_SHADOW_UNFIT = 46     # not copied: it may not be carried out twice, or sent to another target
    # Of pairs that agreed, microseconds at the target and output tokens: the caller's, and the copies'.
    R_SHADOW_FIRST_US = 47
    R_SHADOW_COPY_FIRST_US = 48
    R_SHADOW_TOTAL_US = 49
    R_SHADOW_COPY_TOTAL_US = 50
    R_SHADOW_OUTPUT_TOKENS = 51
    R_SHADOW_COPY_OUTPUT_TOKENS = 52

cpdef enum WorkerCounter:
    W_ACCEPTED = 0
    W_CONNECTIONS = 1       # client connections open now
    W_UPSTREAMS = 2         # upstream connections open now
    W_REQUESTS = 3
    W_MALFORMED = 4         # requests refused for their framing
    W_BYTES_IN = 5
    W_BYTES_OUT = 6
    W_LOOP_LAG_US = 7       # of the last tick
    W_UNROUTED = 8          # edge's own 404
    W_REFUSED_KEYS = 9      # edge's own 401 and 403
    W_RECORDED = 10         # exchanges recorded for tracing
    W_UNRECORDED = 11       # records that were dropped because control did not take them
    W_HOPS_REFUSED = 12     # exchanges from peers refused for their hops
    W_UNBUFFERED = 13       # refused because there was no room for their bytes (limits.max_buffered)
    W_EVICTED = 14          # idle client connections that were closed to make room for others
    W_TURNED_AWAY = 15      # client connections that were closed because there was no room
    W_UPSTREAMS_IDLE = 16   # idle upstream connections
    W_REFUSED = 17          # refused before any attempt, for other reasons than W_UNROUTED
    W_BUFFERED = 18         # bytes of requests in memory now

# Counters of an allowance
cpdef enum AllowanceCounter:
    A_REQUESTS = 0          # admitted
    A_REFUSED_REQUESTS = 1  # 429s, by the limit that refused
    A_REFUSED_TOKENS = 2
    A_REFUSED_CONCURRENT = 3
    A_REFUSED_BUDGET = 4
    A_PROMPT_TOKENS = 5     # settled
    A_OUTPUT_TOKENS = 6
    A_COST_NANO = 7         # all time, unlike spent_nano
    A_RESERVED = 8          # tokens reserved, all time
    A_RETURNED = 9          # tokens returned when an exchange was settled, all time
    A_LEARNED = 10          # times a provider's x-ratelimit fields lowered the bucket
