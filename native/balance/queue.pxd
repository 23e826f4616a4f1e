"""Keeps the exchanges of one route and worker that wait for a place: higher priorities first, then by arrival."""

from libc.stdint cimport uint64_t
from native.state.shared_state cimport SharedState, RouteRec

cdef class Waiter:
    """One exchange's place in a queue."""
    cdef object owner           # the exchange, whose class belongs to a later package; None = it no longer waits
    cdef Queue queue
    cdef int priority, worker
    cdef uint64_t since_ns, until_ns

cdef class Queue:
    cdef SharedState shared_state   # keeps the record mapped
    cdef RouteRec* rec
    cdef list lines             # an OrderedDict of Waiters for each priority
    cdef readonly int limit     # maximum number of waiters, of all priorities together
    cdef readonly int count
    cdef readonly uint64_t wait_ns
    # Add an exchange. Returns None if the queue is full; evict() may make room for a higher priority.
    cdef Waiter join(self, object owner, int priority, int worker, uint64_t now_ns)
    cdef int leave(self, Waiter waiter, uint64_t now_ns) except -1  # idempotent; records how long the exchange waited
    cdef Waiter first(self)                     # the waiter that is served next, or None
    cdef bint ahead(self, int priority)         # whether there is a waiter that this priority must not overtake
    cdef Waiter evict(self, int priority)       # the last waiter of the lowest priority below this one, or None
