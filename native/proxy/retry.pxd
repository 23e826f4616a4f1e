"""Decides whether an exchange may be retried, and takes the retry from the route's budget."""

from libc.stdint cimport uint64_t
from native.proxy.attempt cimport Attempt
from native.proxy.request cimport Request

# Return whether another attempt is allowed: the deadline has not passed, ``begun`` is below the route's attempts,
# and the request may be sent again.
cdef bint repeatable(Request request, Attempt attempt, int outcome, int begun, uint64_t now) noexcept
# How long to wait before the same targets are asked again: as the server says, else longer each time, with jitter.
cdef uint64_t pause_ns(Attempt attempt, int begun, uint64_t chance) noexcept
# Take a retry from the budget; False = the budget is spent.
cdef bint pay_for_retry(Request request, Attempt attempt, int outcome, uint64_t now) noexcept
