"""Keeps a route's budget of hedges in one word: a share of its requests, and a burst that is full at the start.

Each request deposits ``share`` of a hedge. Nothing else is deposited, so that a route makes at most ``share`` x requests
+ HEDGE_BURST hedges, however long all its targets are slow. All workers of the node share the budget."""

from native.state.shared_state cimport RouteRec

cpdef enum:
    HEDGE_BURST = 10        # hedges that a route may make at once

cdef void hedge_deposit(RouteRec* rec, double share) noexcept nogil
cdef bint hedge_withdraw(RouteRec* rec) noexcept nogil      # False = the budget is spent
cdef double hedge_read(RouteRec* rec) noexcept nogil        # hedges that are left
