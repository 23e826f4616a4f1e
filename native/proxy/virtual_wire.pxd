"""Runs exchanges in virtual time and without sockets, for drills: real exchanges, attempts and kernels, and a Python
model in place of clients and upstreams."""

from libc.stdint cimport int64_t, uint64_t
from native.http.connection_pool cimport PooledConnection
from native.http.stream cimport ServerStream
from native.proxy.data_plane cimport DataPlane

cdef class VirtualWire

cdef class Call(ServerStream):
    """One request of a client, and what the client sees of the answer. Times are virtual ns, 0 = not yet."""
    cdef VirtualWire wire
    cdef readonly uint64_t number   # by which the model knows it
    cdef readonly int status        # 0 = no head has come
    cdef readonly list fields       # of the head
    cdef readonly bytes last        # the content that came last; None = none has come
    cdef readonly uint64_t begun_ns, first_ns, ended_ns     # first_ns: of the first content, comments left out
    cdef readonly bint complete     # the answer has ended as announced
    cdef int over(self) except -1

cdef class VirtualConnection(PooledConnection):
    """An upstream connection. The model answers the request that it carries."""
    cdef VirtualWire wire
    cdef public object owner        # for the model, which may keep here what it knows of the request
    cdef bint alive, busy, heard
    cdef object __weakref__
    cdef list parts
    cdef readonly bytes path        # of the request, with the query
    cdef readonly bytes body
    cdef int drop(self, bint told) except -1

cdef class VirtualWire:
    """One data plane, its clock, and the model of everything outside."""
    cdef DataPlane plane
    cdef object model               # see virtual_wire.pyi
    cdef object policy              # a ListenPolicy
    cdef readonly uint64_t now_ns
    cdef uint64_t tick_ns           # of the next tick
    cdef int64_t wall_ns            # the wall clock, less the monotonic time
    cdef list dead                  # connections that have ended, and that their pool does not know of yet
    cdef list over                  # calls that have ended, and that the model does not know of yet
    cdef bint freed                 # a place has become free while exchanges wait
    cdef bint called                # the model has been called
    cdef void move(self, uint64_t now_ns) noexcept
    cdef settle(self)
