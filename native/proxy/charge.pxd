"""Charges the caller of one exchange: reserves before the first attempt, settles when it is over."""

from libc.stdint cimport uint64_t
from native.proxy.accounting cimport Usage
from native.proxy.request cimport Request
from native.state.allowance cimport Reservation

cdef class Charge:
    cdef Request request
    cdef bint held              # the caller's allowance holds a place, tokens and money for it
    cdef Reservation reservation
    cdef uint64_t prompt_tokens, output_tokens, cost_nano       # of all attempts that the caller pays for
    # Reserve the request's estimate in the caller's allowance. Returns the Bound (native.state.allowance) that refuses
    # it, 0 = reserved; wait_ns receives the time until that bound admits it.
    cdef int reserve(self, uint64_t now, uint64_t* wait_ns) noexcept
    cdef void add(self, Usage* usage) noexcept      # add what one attempt used, and zero it
    cdef void repay(self, uint64_t now) noexcept    # give back the reserved tokens that were not used
    cdef void settle(self, uint64_t now) noexcept

cdef Charge new_charge(Request request)
