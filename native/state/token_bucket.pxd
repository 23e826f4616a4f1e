"""Keeps a token bucket in one word (generic cell rate algorithm, GCRA), shared by all processes.

The word is the theoretical arrival time (TAT) in monotonic ns, the time when the bucket will be full again; 0 = full.
Units are requests or tokens. ``interval_ns`` is the time in which one unit is refilled, a whole number above 0, rounded up
so that the rate is never exceeded. Source: ITU-T I.371. TAT' = max(now, TAT) + cost * interval; a request is admitted if
TAT' - now is at most burst * interval."""

from libc.stdint cimport int64_t, uint64_t
from native.io.atomics cimport cas64, load64

cdef enum:
    FOREVER_NS = 100_000_000_000_000_000    # three years: longer waits are cut to this, so that sums of times cannot overflow

# Return the time in which so many units are refilled, at most FOREVER_NS.
cdef inline uint64_t span(uint64_t units, uint64_t interval_ns) noexcept nogil:
    return <uint64_t>FOREVER_NS if units > <uint64_t>FOREVER_NS // interval_ns else units * interval_ns

# Take ``cost`` units. Returns 0 = taken, else the ns until this cost would be admitted (the Retry-After). A cost above
# the burst is admitted only by a full bucket, which is in debt afterwards.
cdef inline uint64_t bucket_take(uint64_t* word, uint64_t now_ns, uint64_t cost, uint64_t interval_ns, uint64_t burst) noexcept nogil:
    cdef uint64_t full = load64(word)
    if full <= now_ns and cost <= burst and cas64(word, full, now_ns + span(cost, interval_ns)):
        return 0        # a full bucket admits what it holds
    return bucket_take_any(word, now_ns, cost, interval_ns, burst)
cdef uint64_t bucket_take_any(uint64_t* word, uint64_t now_ns, uint64_t cost, uint64_t interval_ns, uint64_t burst) noexcept nogil
cdef uint64_t bucket_wait(uint64_t* word, uint64_t now_ns, uint64_t cost, uint64_t interval_ns, uint64_t burst) noexcept nogil
# Correct an earlier cost: a positive number charges more, a negative number gives back. Never refused.
cdef void bucket_settle(uint64_t* word, uint64_t now_ns, int64_t units, uint64_t interval_ns) noexcept nogil
# Lower the bucket to ``remaining`` units, as its real owner reports; with 0 units the next comes in ``wait_ns``. Never
# raises the bucket. Returns whether it changed.
cdef bint bucket_lower(uint64_t* word, uint64_t now_ns, uint64_t remaining, uint64_t wait_ns, uint64_t interval_ns,
                       uint64_t burst) noexcept nogil
cdef uint64_t bucket_remaining(uint64_t* word, uint64_t now_ns, uint64_t interval_ns, uint64_t burst) noexcept nogil
cdef uint64_t bucket_reset_ns(uint64_t* word, uint64_t now_ns) noexcept nogil       # ns until the bucket is full
# Return ns per unit for a rate in thousandths of a unit per minute, rounded up
cdef uint64_t interval_of(uint64_t thousandths) noexcept nogil
