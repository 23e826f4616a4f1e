"""Runs a worker's data path: accepts requests, ticks deadlines, swaps Snapshots, keeps the pools of connections."""

from libc.stdint cimport uint64_t
from native.codec.head cimport Head
from native.http.grpc_web cimport GrpcWebStream
from native.http.stream cimport Acceptor, ServerEvents
from native.proxy.exchange cimport Exchange
from native.proxy.runtime cimport Runtime
from native.proxy.shadow cimport ShadowCopy

cdef class DataPlane(Acceptor):
    cdef readonly Runtime runtime
    cdef object opener                  # native.http.connection_pool.Opener
    cdef dict pools                     # target id -> ConnectionPool, kept over a swap when the plan is the same
    cdef uint64_t due_ns                # when the next tick is due
    cdef bint late                      # the tick came far too late: sockets are read before deadlines are judged
    cdef uint64_t swept_ns, flushed_ns
    cdef bint takes_web(self, Head head)
    cdef ServerEvents open_web(self, GrpcWebStream stream, ServerEvents events, Exchange exchange)
    cdef int begin_copies(self, uint64_t now) except -1
    cdef int begin_copy(self, ShadowCopy copy, uint64_t now) except -1
    cdef int end_copies(self) except -1
    cdef flush(self, uint64_t now)      # give the records to the sink
    cdef serve(self, uint64_t now_ns)   # start queued exchanges while there are places
    cdef int tick(self) except -1
    cdef int work(self, uint64_t now) except -1      # what a tick does, apart from the reactor's timer
    cdef int tick_in(self, uint64_t delay_ns) except -1
