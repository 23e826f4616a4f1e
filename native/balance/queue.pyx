"""Keeps the exchanges of one route and worker that wait for a place.

Higher priorities are served first, and within a priority the exchange that came first. The queue is bounded, because a
long queue helps no client: all waiters wait longer, and many have left by the time of their turn. Waiters are counted in
this worker's column of the shared state, so that a killed worker's waiters are cleared with it.
"""

from collections import OrderedDict

from libc.stdint cimport uint64_t
from native.io.atomics cimport add32, add64
from native.state.shared_state cimport EDGE_PRIORITIES, EDGE_MAX_WORKERS, SharedState, R_QUEUED, hist_bucket


cdef class Waiter:
    def __repr__(self):
        return f"<Waiter priority={self.priority}>"


cdef class Queue:
    """The queue of one route in one worker.

    Args:
        slot: the route's record in the shared state.
        limit: how many exchanges may wait; 0 = none.
        wait_ns: how long each of them may wait.
    """

    def __init__(self, SharedState shared_state not None, int slot, int limit, uint64_t wait_ns):
        self.rec = shared_state.route(slot)
        self.shared_state = shared_state
        self.limit = limit
        self.wait_ns = wait_ns
        self.lines = [OrderedDict() for _ in range(EDGE_PRIORITIES)]

    def __repr__(self):
        return f"<Queue {self.count} of {self.limit}>"

    cdef Waiter join(self, object owner, int priority, int worker, uint64_t now_ns):
        cdef Waiter waiter
        if self.count >= self.limit:
            return None
        waiter = Waiter.__new__(Waiter)
        waiter.owner = owner
        waiter.queue = self
        waiter.priority = priority
        waiter.worker = worker
        waiter.since_ns = now_ns
        waiter.until_ns = now_ns + self.wait_ns
        self.lines[priority][waiter] = None
        self.count += 1
        add32(&self.rec.waiting[worker], 1)
        add64(&self.rec.count[<int>R_QUEUED], 1)
        return waiter

    cdef int leave(self, Waiter waiter, uint64_t now_ns) except -1:
        cdef uint64_t us
        if waiter.owner is None:
            return 0
        waiter.owner = None
        del self.lines[waiter.priority][waiter]
        self.count -= 1
        us = (now_ns - waiter.since_ns) // 1000 if now_ns > waiter.since_ns else 0
        add32(&self.rec.waiting[waiter.worker], -1)
        add64(&self.rec.queue_hist[hist_bucket(us)], 1)
        add64(&self.rec.queue_sum_us, us)

    cdef Waiter first(self):
        if self.count:
            for line in self.lines:
                if line:
                    return <Waiter>next(iter(line))
        return None

    cdef bint ahead(self, int priority):
        cdef int place
        if self.count:
            for place in range(priority + 1):
                if self.lines[place]:
                    return True
        return False

    cdef Waiter evict(self, int priority):
        cdef int place
        for place in range(EDGE_PRIORITIES - 1, priority, -1):
            if self.lines[place]:
                return <Waiter>next(reversed(self.lines[place]))
        return None

    def add(self, owner, int priority, int worker, uint64_t now_ns):
        """Add an exchange; return its waiter, or None if the queue is full."""
        if not 0 <= priority < EDGE_PRIORITIES or not 0 <= worker < EDGE_MAX_WORKERS:
            raise IndexError(f"there is no priority {priority} or no worker {worker}")
        return self.join(owner, priority, worker, now_ns)

    def remove(self, Waiter waiter not None, uint64_t now_ns):
        """Remove a waiter."""
        self.leave(waiter, now_ns)

    def next(self):
        """Return the owner of the waiter that is served next, or None."""
        cdef Waiter waiter = self.first()
        return None if waiter is None else waiter.owner

    def blocked(self, int priority):
        """Return whether there is a waiter that this priority must not overtake."""
        return self.ahead(priority)

    def push_out(self, int priority, uint64_t now_ns):
        """Evict a waiter for this priority; returns its owner, or None."""
        cdef Waiter waiter = self.evict(priority)
        if waiter is None:
            return None
        owner = waiter.owner
        self.leave(waiter, now_ns)
        return owner
