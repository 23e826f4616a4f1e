"""Charges the caller of one exchange: reserves before the first attempt, settles when it is over."""

from libc.stdint cimport uint64_t
from native.proxy.accounting cimport Usage
from native.proxy.request cimport Request

cdef class Charge:
    cdef Request request
    cdef bint held              # a place and tokens of the caller's are held
    cdef uint64_t prompt_tokens, output_tokens, cost_nano       # of all attempts that the caller pays for
    # Take what the request asks for out of the caller's allowance: a native.state.allowance.Bound, 0 = taken; wait_ns
    # gets how long the bound stands in the way.
    cdef int reserve(self, uint64_t now, uint64_t* wait_ns) noexcept
    cdef void add(self, Usage* usage) noexcept      # of one attempt, once: it is zero afterwards
    cdef void repay(self, uint64_t now) noexcept    # what was reserved beyond what was used is there for others now
    cdef void settle(self, uint64_t now) noexcept

cdef Charge new_charge(Request request)
