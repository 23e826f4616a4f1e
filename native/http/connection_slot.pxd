"""Registers a client connection with the data plane, which counts it, limits the number and keeps its timer."""

from libc.stdint cimport uint64_t
from native.http.stream cimport Acceptor
from native.io.timer_wheel cimport CallbackTimer

cdef class ConnectionSlot:
    """The slot of one connection, an object with ``retire()``, ``kill()`` and ``check_deadlines(now_ns)``."""
    cdef Acceptor acceptor
    cdef object connection          # None = the slot is not taken, or was given back
    cdef CallbackTimer timer
    cdef bint take(self, object connection)     # False = the data plane has reached its limit of connections
    cdef void give_back(self)                   # idempotent; the timer never fires again
    cdef void watch_at(self, uint64_t deadline_ns)      # call check_deadlines at that time
    # Call check_deadlines after a quarter of the shorter of header_timeout and client_idle, or after ``longest_ns``.
    cdef void watch_soon(self, uint64_t now_ns, uint64_t longest_ns)
