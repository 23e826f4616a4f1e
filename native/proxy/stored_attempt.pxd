"""Reads the answers to requests for what a provider keeps."""

from libc.stdint cimport uint64_t
from native.codec.head cimport Head
from native.proxy.attempt cimport Attempt
from native.proxy.stored_request cimport StoredRequest

cdef class StoredAttempt(Attempt):
    cdef bint relays            # the answer is relayed as it comes
    cdef int _take_session(self, StoredRequest request, Head head) except -1
    cdef bytes _local(self, bytes content)
    cdef int _begin_relay(self, uint64_t now) except -1
    cdef int _judge(self, int reading, uint64_t now) except -1
    cdef int _offer(self, uint64_t now) except -1
    cdef bytes _learn(self, bytes content)      # remember the ids in a good answer; return what the client gets
