"""Keeps a route's retry budget in one word: a share of recent requests plus a small reserve.

After Finagle's RetryBudget: each request deposits ``share`` of a retry, 10 more per second are free, and deposits expire
after about 10 s. All workers of the node share the budget."""

from libc.stdint cimport uint64_t
from native.state.shared_state cimport RouteRec

cdef void budget_deposit(RouteRec* rec, uint64_t now_ns, double share) noexcept nogil
cdef bint budget_withdraw(RouteRec* rec, uint64_t now_ns) noexcept nogil
cdef double budget_read(RouteRec* rec, uint64_t now_ns) noexcept nogil
