from libc.stdint cimport uint64_t
from native.io.atomics cimport cas64, load64
from native.state.shared_state cimport SharedState

# The word holds what is missing to a full budget, in millionths of a hedge, so that 0 = never used is full.
cdef uint64_t ONE = 1_000_000
cdef uint64_t FULL = HEDGE_BURST * ONE


cdef void hedge_deposit(RouteRec* rec, double share) noexcept nogil:
    cdef uint64_t missing
    cdef uint64_t paid = <uint64_t>(share * ONE + 0.5)
    while True:
        missing = load64(&rec.hedges)
        if missing == 0 or cas64(&rec.hedges, missing, missing - paid if missing > paid else 0):
            return


cdef bint hedge_withdraw(RouteRec* rec) noexcept nogil:
    cdef uint64_t missing
    while True:
        missing = load64(&rec.hedges)
        if missing + ONE > FULL:
            return False
        if cas64(&rec.hedges, missing, missing + ONE):
            return True


cdef double hedge_read(RouteRec* rec) noexcept nogil:
    cdef uint64_t missing = load64(&rec.hedges)
    return <double>(FULL - missing) / ONE if missing < FULL else 0.0


cdef class HedgeBudget:
    """One route's budget of hedges, for tests."""

    cdef SharedState shared_state
    cdef RouteRec* rec

    def __init__(self, SharedState shared_state not None, int slot):
        self.shared_state = shared_state
        self.rec = shared_state.route(slot)

    def deposit(self, double share):
        """Deposit ``share`` of a hedge for a request."""
        hedge_deposit(self.rec, share)

    def withdraw(self):
        """Take a hedge; return False if the budget is spent."""
        return hedge_withdraw(self.rec)

    def read(self):
        """Return the hedges that are left."""
        return hedge_read(self.rec)
