cimport cython
from native.balance.queue cimport Queue
from native.state.callers cimport LOW


@cython.freelist(16)
cdef class Place:
    """One exchange's place in the queue of its route.

    The low priority is shed at once, and so is a request of another region: that region has its own queue, and one
    request must not wait in two.
    """

    def __repr__(self):
        return f"<Place {self.waiter!r} {self.waited_ns} ns>"

    cdef object join(self, object owner, Request request, uint64_t now):
        cdef Queue queue = request.route.queue
        cdef Waiter other
        if request.identity.priority == LOW or request.identity.peer:
            return None
        self.rejoin(owner, request, now)
        if self.waiter is not None:
            return None
        other = queue.evict(request.identity.priority)
        return None if other is None else other.owner

    cdef int rejoin(self, object owner, Request request, uint64_t now) except -1:
        self.waiter = request.route.queue.join(owner, request.identity.priority, request.runtime.worker, now)

    cdef int leave(self, Request request, uint64_t now) except -1:
        if self.waiter is not None:
            self.waited_ns += now - self.waiter.since_ns
            request.route.queue.leave(self.waiter, now)
            self.waiter = None
