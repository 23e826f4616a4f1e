"""Who waits for a place, and who is next?  One queue per route and worker: higher classes first, in order within one."""

from libc.stdint cimport uint64_t
from native.state.shared_state cimport SharedState, RouteRec

cdef class Waiter:
    """One exchange's place in a queue."""
    cdef object owner           # the exchange; None when it waits no more
    cdef Queue queue
    cdef int priority, worker
    cdef uint64_t since_ns, until_ns

cdef class Queue:
    cdef SharedState shared_state            # keeps the record mapped
    cdef RouteRec* rec
    cdef list lines             # a deque per class
    cdef readonly int limit     # waiters of all classes together
    cdef readonly int count
    cdef readonly uint64_t wait_ns
    # None when it is full; evict() may make room for a higher class.
    cdef Waiter join(self, object owner, int priority, int worker, uint64_t now_ns)
    cdef void leave(self, Waiter waiter, uint64_t now_ns)       # idempotent; counts how long it waited
    cdef Waiter first(self)                                     # who is served next; None = nobody waits
    cdef bint ahead(self, int priority)                            # does anybody wait whom this class must not overtake?
    cdef Waiter evict(self, int priority)                          # the last of the lowest class under this one, or None
