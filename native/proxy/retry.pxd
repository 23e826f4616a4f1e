"""Decides whether an exchange may be retried, and takes the retry from the route's budget."""

from libc.stdint cimport uint64_t
from native.proxy.attempt cimport Attempt
from native.proxy.request cimport Request

# Return whether another attempt is allowed: the deadline has not passed, ``begun`` is below the route's attempts,
# and the request may be sent again.
cdef bint repeatable(Request request, Attempt attempt, int outcome, int begun, uint64_t now) noexcept
# Take a retry from the budget; False = the budget is spent.
cdef bint pay_for_retry(Request request, Attempt attempt, int outcome, uint64_t now) noexcept
