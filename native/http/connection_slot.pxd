"""Keeps a client connection's place in the data plane: counted, bounded in number, and watched by one timer."""

from libc.stdint cimport uint64_t
from native.http.stream cimport Acceptor
from native.io.timer_wheel cimport CallbackTimer

cdef class ConnectionSlot:
    """The slot of one connection, which has ``retire()``, ``kill()`` and ``check_deadlines(now_ns)`` for Python."""
    cdef Acceptor acceptor
    cdef object connection          # None = not taken, or given back
    cdef CallbackTimer timer
    cdef bint take(self, object connection)     # False = the data plane has as many connections as it may have
    cdef void give_back(self)                   # idempotent; the timer never fires again
    cdef void watch_at(self, uint64_t deadline_ns)      # check_deadlines runs then
    # ... runs after a quarter of the shortest bound on a head or a stall, or after ``longest_ns``.
    cdef void watch_soon(self, uint64_t now_ns, uint64_t longest_ns)
