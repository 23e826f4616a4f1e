from libc.stdint cimport int64_t, uint64_t
from native.io.atomics cimport cas64, load64
from native.state.shared_state cimport SharedState

cdef uint64_t MINUTE_THOUSANDTHS = 60_000_000_000_000ULL


cdef uint64_t interval_of(uint64_t thousandths) noexcept nogil:
    cdef uint64_t ns = MINUTE_THOUSANDTHS // thousandths
    return ns + (ns * thousandths != MINUTE_THOUSANDTHS)


cdef inline uint64_t short_by(uint64_t begin, uint64_t now_ns, uint64_t ask, uint64_t room) noexcept nogil:
    """Return the ns until a bucket that is full at ``begin`` (not before now) admits ``cost``; 0 = now."""
    if ask > room:
        return begin - now_ns
    return begin + ask - now_ns - room if begin + ask > now_ns + room else 0


cdef uint64_t bucket_take_any(uint64_t* word, uint64_t now_ns, uint64_t cost, uint64_t interval_ns, uint64_t burst) noexcept nogil:
    cdef uint64_t ask = span(cost, interval_ns)
    cdef uint64_t room = span(burst, interval_ns)
    cdef uint64_t full = load64(word)
    cdef uint64_t begin
    cdef uint64_t wait
    while True:
        begin = full if full > now_ns else now_ns
        wait = short_by(begin, now_ns, ask, room)
        if wait or cas64(word, full, begin + ask):
            return wait
        full = load64(word)


cdef uint64_t bucket_wait(uint64_t* word, uint64_t now_ns, uint64_t cost, uint64_t interval_ns, uint64_t burst) noexcept nogil:
    cdef uint64_t full = load64(word)
    if full <= now_ns and cost <= burst:
        return 0
    return short_by(full if full > now_ns else now_ns, now_ns, span(cost, interval_ns), span(burst, interval_ns))


cdef void bucket_settle(uint64_t* word, uint64_t now_ns, int64_t units, uint64_t interval_ns) noexcept nogil:
    cdef uint64_t full = load64(word)
    cdef uint64_t ns
    cdef uint64_t after
    if units == 0:
        return
    ns = span(<uint64_t>(units if units > 0 else -units), interval_ns)
    while True:
        if units > 0:
            after = (full if full > now_ns else now_ns) + ns
        else:
            # a TAT in the past is a full bucket, so the correction starts from now
            after = full - ns if full > ns else 0
        if cas64(word, full, after):
            return
        full = load64(word)


cdef bint bucket_lower(uint64_t* word, uint64_t now_ns, uint64_t remaining, uint64_t wait_ns, uint64_t interval_ns,
                       uint64_t burst) noexcept nogil:
    cdef uint64_t empty = now_ns + span(burst, interval_ns)
    cdef uint64_t least = empty - span(remaining if remaining < burst else burst, interval_ns)
    cdef uint64_t full = load64(word)
    if remaining == 0 and wait_ns > interval_ns:
        least = empty + (wait_ns if wait_ns < FOREVER_NS else FOREVER_NS) - interval_ns
    while full < least and least > now_ns:
        if cas64(word, full, least):
            return True
        full = load64(word)
    return False


cdef uint64_t bucket_remaining(uint64_t* word, uint64_t now_ns, uint64_t interval_ns, uint64_t burst) noexcept nogil:
    cdef uint64_t used = bucket_reset_ns(word, now_ns)
    cdef uint64_t room = span(burst, interval_ns)
    return (room - used) // interval_ns if room > used else 0


cdef uint64_t bucket_reset_ns(uint64_t* word, uint64_t now_ns) noexcept nogil:
    cdef uint64_t full = load64(word)
    return full - now_ns if full > now_ns else 0


cdef class Bucket:
    """One bucket of an allowance's record, for tests and measurements. Times are monotonic ns.

    Args:
        slot: the allowance's record in the shared state.
        interval_ns: the time in which one unit is refilled; at least 1.
        burst: units that a full bucket holds; at least 1.
        tokens: True = the bucket of tokens, False = the bucket of requests.
    """

    cdef SharedState shared_state
    cdef uint64_t* word
    cdef uint64_t interval_ns, burst

    def __init__(self, SharedState shared_state not None, int slot, uint64_t interval_ns, uint64_t burst, bint tokens=False):
        if not interval_ns or not burst:
            raise ValueError("interval_ns and burst are at least 1")
        self.shared_state = shared_state
        self.word = &shared_state.allowance(slot).tokens_tat if tokens else &shared_state.allowance(slot).requests_tat
        self.interval_ns = interval_ns
        self.burst = burst

    def take(self, uint64_t now_ns, uint64_t cost=1):
        """Take ``cost`` units; return 0 = taken, else the ns to wait."""
        return bucket_take(self.word, now_ns, cost, self.interval_ns, self.burst)

    def wait(self, uint64_t now_ns, uint64_t cost=1):
        """Return what :meth:`take` would return, and take nothing."""
        return bucket_wait(self.word, now_ns, cost, self.interval_ns, self.burst)

    def settle(self, uint64_t now_ns, int64_t units):
        """Charge more units, or give back units if the number is negative."""
        bucket_settle(self.word, now_ns, units, self.interval_ns)

    def lower(self, uint64_t now_ns, uint64_t remaining, uint64_t wait_ns=0):
        """Lower the bucket to ``remaining`` units; return whether it changed."""
        return bucket_lower(self.word, now_ns, remaining, wait_ns, self.interval_ns, self.burst)

    def remaining(self, uint64_t now_ns):
        """Return the whole units that are left."""
        return bucket_remaining(self.word, now_ns, self.interval_ns, self.burst)

    def reset_ns(self, uint64_t now_ns):
        """Return the ns until the bucket is full."""
        return bucket_reset_ns(self.word, now_ns)
