"""Limits the use of one key, or of one provider credential: two token buckets, concurrency, and a monthly budget."""

from libc.stdint cimport int64_t, uint64_t
from native.state.shared_state cimport AllowanceRec, SharedState, RouteRec

cpdef enum Bound:           # the limit that refuses a request; 0 = none
    UNBOUND = 0
    BOUND_REQUESTS = 1
    BOUND_TOKENS = 2
    BOUND_CONCURRENT = 3
    BOUND_BUDGET = 4
    BOUND_BUDGET_HELD = 5   # what is left of the budget is reserved by requests in flight

cdef struct Rate:
    uint64_t thousandths    # thousandths of a unit per minute; 0 = no limit
    uint64_t interval_ns
    uint64_t burst

cdef struct Grant:
    AllowanceRec* rec
    Rate requests, tokens
    bint shared             # all nodes share the limits; the shared state has this node's part

cdef struct Reservation:    # of one request
    uint64_t usual, worst   # tokens that 19 of 20 such requests need, and that this one needs at most
    uint64_t usual_nano, worst_nano     # the same in US dollars * 1e9; read for keys with a budget
    uint64_t tokens         # taken from the bucket
    uint64_t held           # of these, those that are not settled
    uint64_t nano           # held of the budget

# Return the current rate: the Snapshot's, or this node's share of it with a burst in the same proportion.
cdef Rate requests_now(const Grant* bounds, uint64_t now_ns) noexcept nogil
cdef Rate tokens_now(const Grant* bounds, uint64_t now_ns) noexcept nogil
# Take one request and ``tokens`` tokens, or nothing. Returns the Bound that refuses; ``wait_ns`` is the time until it
# admits.
cdef int bounds_take(const Grant* bounds, uint64_t now_ns, uint64_t tokens, uint64_t* wait_ns) noexcept nogil
# The same for tokens alone: the request has been taken.
cdef int bounds_take_tokens(const Grant* bounds, uint64_t now_ns, uint64_t tokens, uint64_t* wait_ns) noexcept nogil
# Take one request and the reservation's tokens, or nothing; returns the Bound that refuses. What is taken is the usual
# while sixteen such requests fit into what is left, and then the worst case. A worst case that does not fit passes only
# while no other request holds tokens: so a bucket is overdrawn by one request at most, and no request waits for ever.
# begun: the request has been taken.
cdef int bounds_reserve(const Grant* bounds, int worker, int workers, uint64_t now_ns, Reservation* reservation,
                        bint begun, uint64_t* wait_ns) noexcept nogil
# Settle the reservation's tokens to the ``used`` ones; again after that: nothing is held any more.
cdef void bounds_release(const Grant* bounds, int worker, uint64_t now_ns, Reservation* reservation, uint64_t used,
                         bint untouched) noexcept nogil
# Hold the reservation's money, by the same rule; returns the Bound that refuses.
cdef int budget_hold(AllowanceRec* rec, int worker, int workers, uint64_t budget, uint64_t month,
                     Reservation* reservation) noexcept nogil
cdef void budget_release(AllowanceRec* rec, int worker, Reservation* reservation) noexcept nogil
# Return how long until one request and one token are available; 0 = now.
cdef uint64_t bounds_wait(const Grant* bounds, uint64_t now_ns) noexcept nogil
# Correct ``reserved`` tokens to the ``used`` ones; ``untouched`` returns the request too.
cdef void bounds_settle(const Grant* bounds, uint64_t now_ns, uint64_t reserved, uint64_t used, bint untouched) noexcept nogil
# Apply what a provider reports as remaining. Without a configured limit nothing changes. Returns whether the bucket
# changed.
cdef bint bounds_learn(const Grant* bounds, uint64_t now_ns, int bound, uint64_t remaining, uint64_t wait_ns) noexcept nogil
cdef void note_usage(AllowanceRec* rec, uint64_t prompt, uint64_t output, uint64_t cost_nano) noexcept nogil

# Return the month's spending, and add to it. The first addition of a new month starts at 0. ``month`` counts from year
# 0. If the record's month is later than ``month``, both use the record's sum.
cdef uint64_t spent(AllowanceRec* rec, uint64_t month) noexcept nogil
cdef void spend(AllowanceRec* rec, uint64_t month, uint64_t nano) noexcept nogil
# Return this node's part of a monthly budget, and of a limit on concurrent requests, that all nodes share.
cdef uint64_t budget_now(const Grant* bounds, uint64_t whole, uint64_t month) noexcept nogil
cdef uint64_t concurrent_now(const Grant* bounds, uint64_t whole, uint64_t now_ns) noexcept nogil

# Convert seconds since 1970 to a month (UTC), counted from year 0 (12 * year + month - 1), and the second of its end.
cdef void month_at(uint64_t now_s, uint64_t* month, uint64_t* end_s) noexcept nogil

# Count the output tokens of a route's answer by powers of two; return the number that 19 of 20 answers stay below.
cdef void note_output(RouteRec* rec, uint64_t tokens) noexcept nogil
# known: enough answers have been counted; otherwise the number is assumed.
cdef uint64_t usual_output(RouteRec* rec, bint* known) noexcept nogil
# Return the number that all of the answers counted lately stay below.
cdef uint64_t longest_output(RouteRec* rec) noexcept nogil

cdef class Allowance:
    """One allowance record with its limits, as this worker sees them."""
    cdef readonly SharedState shared_state       # keeps the block mapped
    cdef readonly int slot
    cdef Grant bounds
