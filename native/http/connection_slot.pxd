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
    cdef bint announces             # its protocol can say that no further request is taken (HTTP/2)
    cdef bint aged                  # no further request is taken: the connection is as old as it may become
    cdef uint64_t retire_ns, cut_ns     # when it is, and when the requests on it end; 0 = never
    cdef bint idle                  # it stands in the data plane's order of idle connections, between these two
    cdef ConnectionSlot before
    cdef ConnectionSlot after
    # A new connection, which is idle. False = the data plane has reached its limit of connections, and none is idle.
    cdef bint take(self, object connection, StreamSocket socket, uint64_t now_ns)
    # Bound the age of the connection: after ``age_ns`` it is told to end, ``grace_ns`` later it is cut. 0 = never.
    cdef int limit_age(self, uint64_t now_ns, uint64_t age_ns, uint64_t grace_ns) except -1
    cdef bint retires(self) noexcept            # the response that begins now is the connection's last
    cdef int pass_to(self, object connection) except -1  # another object owns the connection from now on
    cdef int give_back(self) except -1                   # idempotent; the timer never fires again
    cdef int rest(self) except -1                        # the connection has become idle, or shows a sign of life
    cdef int busy(self) except -1                        # a request is opened on it
    cdef uint64_t idle_limit(self) noexcept     # how long it may be idle: a first request is waited for less
    cdef int watch_at(self, uint64_t deadline_ns) except -1      # call check_deadlines at that time
    # Call check_deadlines after a quarter of the shorter of header_timeout and client_idle, or after ``longest_ns``.
    cdef int watch_soon(self, uint64_t now_ns, uint64_t longest_ns) except -1
    cdef int _leave(self) except -1
    cdef bint _make_room(self)
    cdef bint _is_quiet(self)
