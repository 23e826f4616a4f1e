from libc.stdint cimport uint32_t
from native.io.atomics cimport cas64, load64
from native.state.shared_state cimport SharedState

# Thousandths of a retry. The reserve lets a route with little traffic fail over at once. The maximum limits the retries
# that busy times can save for an outage.
cdef uint64_t RESERVE = 100_000     # 10 a second for 10 s, as Finagle's minimum; full at the start
cdef uint64_t PER_MS = 10           # 10 a second
cdef uint64_t CEILING = 4_000_000
# A clock may have been read just before another process stamped the word; such a small negative age counts as 0.
cdef uint64_t JUST_BEFORE_MS = 60_000


cdef inline uint64_t balance(uint64_t word, uint32_t now_ms, uint32_t* fresh) noexcept nogil:
    """Return the current balance: savings above the reserve decay with a 10 s half-life; below, the reserve refills."""
    cdef uint64_t tokens = word & <uint64_t>0xFFFFFFFF
    cdef uint32_t stamp = <uint32_t>(word >> 32)
    cdef uint64_t gap = <uint32_t>(now_ms - stamp)
    fresh[0] = now_ms
    if word == 0:
        return RESERVE
    if gap > <uint64_t>0xFFFFFFFF - JUST_BEFORE_MS:
        fresh[0] = stamp
        return tokens
    if tokens > RESERVE:
        if gap >= 20000:
            return RESERVE
        return tokens - (tokens - RESERVE) * gap // 20000
    tokens += gap * PER_MS
    return tokens if tokens < RESERVE else RESERVE


cdef void budget_deposit(RouteRec* rec, uint64_t now_ns, double share) noexcept nogil:
    cdef uint64_t word
    cdef uint64_t tokens
    cdef uint32_t stamp = 0
    cdef uint32_t now_ms = <uint32_t>(now_ns // 1000000)
    while True:
        word = load64(&rec.budget)
        tokens = balance(word, now_ms, &stamp) + <uint64_t>(share * 1000)
        if tokens > CEILING:
            tokens = CEILING
        if cas64(&rec.budget, word, (<uint64_t>stamp << 32) | tokens):
            return


cdef bint budget_withdraw(RouteRec* rec, uint64_t now_ns) noexcept nogil:
    cdef uint64_t word
    cdef uint64_t tokens
    cdef uint32_t stamp = 0
    cdef uint32_t now_ms = <uint32_t>(now_ns // 1000000)
    while True:
        word = load64(&rec.budget)
        tokens = balance(word, now_ms, &stamp)
        if tokens < 1000:
            return False
        # a word of 0 means "never used", so a balance never falls below one thousandth
        tokens -= 1000
        if tokens == 0:
            tokens = 1
        if cas64(&rec.budget, word, (<uint64_t>stamp << 32) | tokens):
            return True


cdef double budget_read(RouteRec* rec, uint64_t now_ns) noexcept nogil:
    cdef uint32_t stamp = 0
    return balance(load64(&rec.budget), <uint32_t>(now_ns // 1000000), &stamp) / 1000.0


cdef class Budget:
    """One route's retry budget, for tests and status. Times are monotonic nanoseconds."""

    cdef SharedState shared_state
    cdef RouteRec* rec

    def __init__(self, SharedState shared_state, int slot):
        self.shared_state = shared_state
        self.rec = shared_state.route(slot)

    def deposit(self, uint64_t now_ns, double share):
        """Deposit ``share`` of a retry for a request."""
        budget_deposit(self.rec, now_ns, share)

    def withdraw(self, uint64_t now_ns):
        """Take a retry; return False if the budget is spent."""
        return budget_withdraw(self.rec, now_ns)

    def read(self, uint64_t now_ns):
        """Return the retries that are left."""
        return budget_read(self.rec, now_ns)
