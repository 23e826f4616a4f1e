"""Which target takes this attempt?  P2C over peak-EWMA of the first token, in the best tier that has capacity."""

from libc.stdint cimport uint32_t, uint64_t
from native.board cimport Board, TargetRec
from native.breaker cimport Policy

cpdef enum Cell:
    CELL_STREAM = 0         # latency of streams: time to the first content token
    CELL_WHOLE = 1          # latency of whole answers (and of services): time to the first byte

cpdef enum Barred:          # why a target is not usable now (status, error bodies); 0 = usable
    USABLE = 0
    BARRED_OPEN = 1
    BARRED_TRIAL = 2        # half-open and the permit is taken
    BARRED_RESTING = 3      # rate limited
    BARRED_OUT = 4          # credential refused or misconfigured
    BARRED_FULL = 5         # in-flight cap reached
    BARRED_MANUAL = 6       # drained or ejected by hand
    BARRED_TRIED = 7

cdef struct Choice:
    int index               # position in the pool, -1 = none
    int admit               # enum Admit
    uint32_t generation

# Peak-EWMA of one latency cell: up at once, down with time constant tau (10 s). Never fed by fast failures: a failure
# is recorded as penalty_ns at least, or a fast-failing target would draw all traffic.
cdef void ewma_observe(uint64_t* cell, uint64_t now_ns, uint64_t latency_ns, uint64_t tau_ns) noexcept nogil
cdef double ewma_read(uint64_t* cell, uint64_t now_ns, uint64_t tau_ns) noexcept nogil   # milliseconds; 0 = no data
cdef uint32_t inflight_total(TargetRec* rec, int workers) noexcept nogil

cdef class Target:
    """One target as this worker sees it: its record on the Board and the facts needed to speak to it."""
    cdef readonly Board board       # keeps the block mapped
    cdef TargetRec* rec
    cdef readonly int slot
    cdef readonly str id            # "deepseek/deepseek-chat", "greeter/10.0.0.7:50051"
    cdef readonly uint32_t max_inflight   # 0 = no cap
    cdef public object plan         # edge.terms.snapshot.Target: what to say and where (never logged: holds the credential)
    cdef public object pool         # native.pool.ConnectionPool of this worker

cdef class Pool:
    """The targets that can answer a route, in tiers. At most 64 members."""
    cdef readonly list targets
    cdef readonly int size
    cdef int[64] tiers
    cdef double[64] weights
    cdef Policy policy
    cdef int workers
    cdef Target target_at(self, int index)
    cdef int barred(self, int index, uint64_t now_ns, uint64_t tried) noexcept
    # tried: bit per member already attempted by this exchange. last_resort is internal: used only when no member is usable.
    cdef void pick(self, uint64_t now_ns, uint64_t rnd, uint64_t tried, int cell, Choice* out) noexcept
    # Earliest monotonic ns at which some member may be usable again; 0 = now, UINT64_MAX = unknown.
    cdef uint64_t earliest_ns(self, uint64_t now_ns) noexcept
