"""Says whether an exchange may try again, and takes the retry from the route's budget."""

from libc.stdint cimport uint64_t
from native.proxy.attempt cimport Attempt
from native.proxy.request cimport Request

# Before the deadline, with attempts left (``begun`` so far), and only what may be sent twice.
cdef bint repeatable(Request request, Attempt attempt, int outcome, int begun, uint64_t now) noexcept
# False: the budget refuses it.
cdef bint pay_for_retry(Request request, Attempt attempt, int outcome, uint64_t now) noexcept
