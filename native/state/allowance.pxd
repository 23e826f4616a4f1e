"""What may one key, or one credential of ours, still use?  Two buckets, a number at once, a month's money: one record."""

from libc.stdint cimport int64_t, uint64_t
from native.state.shared_state cimport AllowanceRec, SharedState, RouteRec

cpdef enum Bound:           # what stands in the way; 0 = nothing
    UNBOUND = 0
    BOUND_REQUESTS = 1
    BOUND_TOKENS = 2
    BOUND_CONCURRENT = 3
    BOUND_BUDGET = 4

cdef struct Rate:
    uint64_t thousandths    # of a unit per minute; 0 = no bound
    uint64_t interval_ns
    uint64_t burst

cdef struct Grant:
    AllowanceRec* rec
    Rate requests, tokens
    bint shared             # the shared state says which share of them is this node's

# The rate that holds now: the Snapshot's, or this node's share of it with a burst in the same proportion.
cdef Rate requests_now(const Grant* bounds, uint64_t now_ns) noexcept nogil
cdef Rate tokens_now(const Grant* bounds, uint64_t now_ns) noexcept nogil
# One request and ``tokens`` from both buckets, or from none: a Bound, and in ``wait_ns`` how long it stands in the way.
cdef int bounds_take(const Grant* bounds, uint64_t now_ns, uint64_t tokens, uint64_t* wait_ns) noexcept nogil
# How long until there is one request and one token; 0 = now.
cdef uint64_t bounds_wait(const Grant* bounds, uint64_t now_ns) noexcept nogil
# ``reserved`` tokens were taken and ``used`` are right; with ``untouched`` the request comes back too.
cdef void bounds_settle(const Grant* bounds, uint64_t now_ns, uint64_t reserved, uint64_t used, bint untouched) noexcept nogil
# A provider says what is left of its own bounds. Nothing is learned where none is configured; True if that was news.
cdef bint bounds_learn(const Grant* bounds, uint64_t now_ns, int bound, uint64_t remaining, uint64_t wait_ns) noexcept nogil
cdef void note_usage(AllowanceRec* rec, uint64_t prompt, uint64_t output, uint64_t cost_nano) noexcept nogil

# This month's spending, and adding to it; the first of a new month starts from nothing. Months since year 0. While a
# record is ahead of the clock, both go by what stands there.
cdef uint64_t spent(AllowanceRec* rec, uint64_t month) noexcept nogil
cdef void spend(AllowanceRec* rec, uint64_t month, uint64_t nano) noexcept nogil
# What this node may have spent in a month, and how many requests at once it may grant, of so much for all nodes.
cdef uint64_t budget_now(const Grant* bounds, uint64_t whole, uint64_t month) noexcept nogil
cdef uint64_t concurrent_now(const Grant* bounds, uint64_t whole, uint64_t now_ns) noexcept nogil

# Which month (UTC) it is in so many seconds since 1970, as months since year 0 (12 * year + month - 1), and its last second + 1.
cdef void month_at(uint64_t now_s, uint64_t* month, uint64_t* end_s) noexcept nogil

# What answers of a route were long: noted by powers of two, and the tokens that 19 of 20 stayed under.
cdef void note_output(RouteRec* rec, uint64_t tokens) noexcept nogil
cdef uint64_t usual_output(RouteRec* rec) noexcept nogil

cdef class Allowance:
    """One record with its bounds, as this worker sees it."""
    cdef readonly SharedState shared_state       # keeps the block mapped
    cdef readonly int slot
    cdef Grant bounds
