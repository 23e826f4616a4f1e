"""Which target takes this attempt?  P2C over peak-EWMA of the first token, in the best tier that has capacity."""

from libc.stdint cimport uint32_t, uint64_t
from native.state.allowance cimport Allowance, Grant
from native.state.shared_state cimport SharedState, TargetRec
from native.balance.breaker cimport Policy
from native.balance.capacity cimport Bounds

cpdef enum Cell:
    CELL_STREAM = 0         # latency of streams: time to the first content token
    CELL_WHOLE = 1          # latency of whole answers (and of services): time to the first byte

cpdef enum Barred:          # why a target is not usable now (status, error bodies); 0 = usable
    USABLE = 0
    BARRED_OPEN = 1
    BARRED_TRIAL = 2        # half-open and the permit is taken
    BARRED_RATE_LIMITED = 3 # it answered 429
    BARRED_QUARANTINED = 4  # credential refused or misconfigured
    BARRED_FULL = 5         # no place for this class: cap, limit or share
    BARRED_MANUAL = 6       # drained or ejected by hand
    BARRED_TRIED = 7
    BARRED_EXHAUSTED = 8    # its credential's allowance is used up
    BARRED_RAMP = 9         # as much of the low class is here as a later tier takes for now
    # From here on nothing is barred: why a usable member stood aside for another.
    ASIDE_RAMPING = 10      # it has just come back, and is given its traffic step by step
    ASIDE_REGIONS = 11      # other regions find it ill

cdef enum:
    # What to observe instead of a failure's real latency, unless that was longer (linkerd's load biaser: 5 s).
    FAILURE_PENALTY_MS = 5_000
    BASELINE_TAU_MS = 600_000

cdef struct Choice:
    int index               # position in the pool, -1 = none
    int admit               # enum Admit
    uint32_t generation
    uint64_t full           # members that were passed over because they had no place

# Peak-EWMA of one latency cell: up at once, down with time constant tau (10 s). Never fed by fast failures: a failure
# is recorded as penalty_ns at least, or a fast-failing target would draw all traffic.
cdef void ewma_observe(uint64_t* latency_cell, uint64_t now_ns, uint64_t latency_ns, uint64_t tau_ns) noexcept nogil
cdef double ewma_read(uint64_t* latency_cell, uint64_t now_ns, uint64_t tau_ns) noexcept nogil   # milliseconds; 0 = no data
# The same average without the peak: for baselines.
cdef void average_observe(uint64_t* latency_cell, uint64_t now_ns, uint64_t latency_ns, uint64_t tau_ns) noexcept nogil
# The part of a peak-EWMA that failures added, for reports; called before ewma_observe. A failure replaces what is left of
# an earlier one if it is worth more, and a success that sets a new peak ends it: the cell is a measurement again.
cdef void penalty_observe(uint64_t* penalty, uint64_t* latency_cell, uint64_t now_ns, uint64_t latency_ns,
                          bint failed) noexcept nogil
cdef uint32_t inflight_total(TargetRec* rec, int workers) noexcept nogil
cdef uint32_t inflight_of(TargetRec* rec, int priority, int workers) noexcept nogil

cdef class Target:
    """One target as this worker sees it: its record on the shared state and the facts needed to speak to it."""
    cdef readonly SharedState shared_state       # keeps the block mapped
    cdef TargetRec* rec
    cdef readonly int slot
    cdef readonly str id            # "deepseek/deepseek-chat", "greeter/10.0.0.7:50051"
    cdef readonly uint32_t max_inflight   # 0 = no cap
    cdef Bounds bounds              # of the limit that is learned; initial 0: none is
    cdef public object plan         # edge.terms.snapshot.Target: what to say and where (never logged: holds the credential)
    cdef public Allowance allowance # of its credential; None = nothing is known of it
    cdef public double input_nano, output_nano  # US dollars * 1e9 per token
    cdef public object pool         # native.http.connection_pool.ConnectionPool of this worker
    # One attempt's latency: feeds the EWMA (a failure at least FAILURE_PENALTY_MS) and, of successes, the baseline and
    # the average that is shown.
    cdef void observe(self, int latency_cell, uint64_t now_ns, uint64_t latency_ns, bint failed) noexcept

cdef class TargetPool:
    """The targets that can answer a route, in tiers. At most 64 members."""
    cdef readonly list targets
    cdef readonly int size
    cdef TargetRec* recs[64]
    cdef const Grant* allowed[64]  # of each member's credential, or NULL
    cdef uint32_t[64] caps
    cdef int[64] tiers
    cdef double[64] weights
    cdef Policy policy
    cdef int workers
    cdef Bounds[64] bounds
    cdef double[3] shares           # of a limit, by class; all zero: classes are not told apart
    cdef bint shared
    cdef int best_tier
    cdef Target target_at(self, int index)
    # priority: 0 high, 1 normal (the default), 2 low
    cdef int barred(self, int index, uint64_t now_ns, uint64_t tried, int priority=*) noexcept
    # What keeps a member from being used now (enum Barred), and through ``admit`` whether it is due for a trial.
    cdef int inspect(self, int index, uint64_t now_ns, uint64_t tried, int priority, int* admit) noexcept nogil
    cdef double limit_of(self, int index) noexcept nogil        # requests at once; 0 = no bound
    cdef int crowded(self, int index, uint64_t now_ns, int priority) noexcept nogil    # BARRED_FULL, BARRED_RAMP or USABLE
    cdef int aside(self, int index, uint64_t now_ns) noexcept nogil     # why a usable member may not take its whole share
    cdef bint spilled(self, int index) noexcept nogil           # is it of a later tier than the best?
    cdef double cost(self, int index, uint64_t now_ns, int latency_cell) noexcept nogil
    cdef int take(self, int index, uint64_t now_ns, bint last_resort, Choice* out) noexcept nogil
    # tried: bit per member already attempted by this exchange. closed: bit per member that it may not use at all.
    # last_resort is internal: used only when no member is usable.
    cdef void pick(self, uint64_t now_ns, uint64_t rnd, uint64_t tried, int latency_cell, int priority, Choice* out,
                   uint64_t closed=*) noexcept
    cdef void _pick(self, uint64_t now_ns, uint64_t rnd, uint64_t tried, int latency_cell, int priority, Choice* out,
                    uint64_t closed) noexcept
    cdef int _class(self, int priority) except -1
    cdef uint64_t _without(self, uint64_t usable, uint64_t aside) noexcept nogil
    cdef bint _take_first(self, uint64_t members, uint64_t now_ns, bint last_resort, Choice* out) noexcept nogil
    cdef int _checked(self, int index) except -1
    # Earliest monotonic ns at which some member may be usable again; 0 = now, UINT64_MAX = unknown.
    cdef uint64_t earliest_ns(self, uint64_t now_ns) noexcept
