"""May one more retry be made?  A share of recent traffic plus a small floor, in one word of the route's record.

After Finagle's RetryBudget: each request deposits ``share`` of a retry, a reserve of 10 per second comes free, nothing is
kept longer than 10 s. Shared by all workers of the node."""

from libc.stdint cimport uint64_t
from native.state.shared_state cimport RouteRec

cdef void budget_deposit(RouteRec* rec, uint64_t now_ns, double share) noexcept nogil
cdef bint budget_withdraw(RouteRec* rec, uint64_t now_ns) noexcept nogil
cdef double budget_read(RouteRec* rec, uint64_t now_ns) noexcept nogil
