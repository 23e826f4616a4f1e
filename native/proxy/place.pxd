"""Holds one exchange's place in the queue of its route."""

from libc.stdint cimport uint64_t
from native.balance.queue cimport Waiter
from native.proxy.request cimport Request

cdef class Place:
    cdef Waiter waiter          # its entry in the queue; None = it does not wait
    cdef uint64_t waited_ns     # time spent in the queue so far
    # Join the queue for ``owner``. Returns the exchange that has to go for it, or None; without a place afterwards,
    # ``waiter`` is None.
    cdef object join(self, object owner, Request request, uint64_t now)
    cdef int rejoin(self, object owner, Request request, uint64_t now) except -1     # after the other one has gone
    cdef int leave(self, Request request, uint64_t now) except -1                    # idempotent
