"""Registers a client connection with the data plane, which counts it, limits the number and keeps its timer.

Connections without a request are kept in the order in which they became idle. Where the data plane is full, the one that
has been idle longest makes room for a new one."""

from libc.stdint cimport uint64_t
from native.http.stream cimport Acceptor
from native.io.stream_socket cimport StreamSocket
from native.io.timer_wheel cimport CallbackTimer

cdef class ConnectionSlot:
    """The slot of one connection, an object with ``retire()``, ``kill()``, ``evict()`` and ``check_deadlines(now_ns)``."""
    cdef Acceptor acceptor
    cdef object connection          # None = the slot is not taken, or was given back
    cdef StreamSocket socket
    cdef CallbackTimer timer
    cdef uint64_t accepted_ns
    cdef bint served                # a request has been opened on the connection
    cdef bint idle                  # it stands in the data plane's order of idle connections, between these two
    cdef ConnectionSlot before
    cdef ConnectionSlot after
    # A new connection, which is idle. False = the data plane has reached its limit of connections, and none is idle.
    cdef bint take(self, object connection, StreamSocket socket, uint64_t now_ns)
    cdef void pass_to(self, object connection)  # another object owns the connection from now on
    cdef void give_back(self)                   # idempotent; the timer never fires again
    cdef void rest(self)                        # the connection has become idle, or shows a sign of life
    cdef void busy(self)                        # a request is opened on it
    cdef uint64_t idle_limit(self) noexcept     # how long it may be idle: a first request is waited for less
    cdef void watch_at(self, uint64_t deadline_ns)      # call check_deadlines at that time
    # Call check_deadlines after a quarter of the shorter of header_timeout and client_idle, or after ``longest_ns``.
    cdef void watch_soon(self, uint64_t now_ns, uint64_t longest_ns)
    cdef void _leave(self)
    cdef bint _make_room(self)
    cdef bint _is_quiet(self)
