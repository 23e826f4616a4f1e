"""May so much be used now?  A token bucket in one word: the generic cell rate algorithm, shared by all processes.

The word is the theoretical arrival time in monotonic ns: when the bucket will be full again; 0 is a full one. Units are
requests or tokens. ``interval_ns`` is what one unit takes to come back, a whole number above 0: a rate is rounded so that
it is never exceeded. Source: ITU-T I.371; as TAT' = max(now, TAT) + cost * interval, admitted when TAT' - now is at most
burst * interval."""

from libc.stdint cimport int64_t, uint64_t

# Take ``cost`` units; 0 = taken, else how many ns to wait until just this would be admitted (the Retry-After). A cost
# above the burst is admitted by a full bucket only, which then is in debt for as long as the cost is worth.
cdef uint64_t bucket_take(uint64_t* word, uint64_t now_ns, uint64_t cost, uint64_t interval_ns, uint64_t burst) noexcept nogil
cdef uint64_t bucket_wait(uint64_t* word, uint64_t now_ns, uint64_t cost, uint64_t interval_ns, uint64_t burst) noexcept nogil
# What was taken was not the right number: above 0 charges so much more, below 0 gives back. Never refused.
cdef void bucket_settle(uint64_t* word, uint64_t now_ns, int64_t units, uint64_t interval_ns) noexcept nogil
# Somebody who knows better says that only ``remaining`` units are left, and where that is none, that the next comes in
# ``wait_ns``. Only ever lowers; True if it did.
cdef bint bucket_lower(uint64_t* word, uint64_t now_ns, uint64_t remaining, uint64_t wait_ns, uint64_t interval_ns,
                       uint64_t burst) noexcept nogil
cdef uint64_t bucket_remaining(uint64_t* word, uint64_t now_ns, uint64_t interval_ns, uint64_t burst) noexcept nogil
cdef uint64_t bucket_reset_ns(uint64_t* word, uint64_t now_ns) noexcept nogil       # until it is full
# ns per unit of so many thousandths of a unit per minute, rounded up
cdef uint64_t interval_of(uint64_t thousandths) noexcept nogil
