"""Holds the attempts of one exchange: the one or two that run, and those before them."""

from libc.stdint cimport uint64_t
from native.proxy.attempt cimport Attempt
from native.proxy.charge cimport Charge
from native.proxy.steps cimport Facts

cdef class LiveAttempts:
    cdef Attempt first          # the one that answers, or the older of two
    cdef Attempt second         # the newer of two; None = there is one at most
    cdef list past              # attempts that are over, or run on elsewhere, in their order; None = there are none
    cdef int begun              # how many there have been
    cdef void add(self, Attempt attempt)
    cdef void drop(self, Attempt attempt)           # it is over
    cdef void let_go(self, Attempt attempt, uint64_t deadline_ns)   # it runs on to be learned from, or is cancelled
    cdef void keep_only(self, Attempt attempt, uint64_t deadline_ns)    # it answers: let go of the other one
    cdef void stop(self, int outcome, Charge charge)        # the client waits for none of them any more
    cdef uint64_t running(self) noexcept            # a bit per member of the pool that is being asked
    cdef void gather(self, Facts* facts, Attempt about) noexcept    # what runs beside ``about``, which may be None
    cdef list all(self)                             # in their order
    cdef str late_reason(self)                      # of an attempt that was late, and answered by another; None = there is none
