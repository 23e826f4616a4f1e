"""Tells the client of one exchange its answer: from an attempt, from a cache entry, or from edge itself."""

from libc.stdint cimport int64_t, uint64_t
from native.codec.head cimport Head
from native.http.stream cimport ServerStream
from native.proxy.attempt cimport Attempt
from native.proxy.request cimport Request
from native.proxy.runtime cimport Runtime

cdef enum Source:
    NO_SOURCE = 0
    FROM_ATTEMPT = 1            # or several, one after the other: the client sees one answer
    FROM_CACHE = 2
    FROM_EDGE = 3

cdef class Response:
    cdef Runtime runtime
    cdef Request request
    cdef ServerStream stream    # None once the exchange is over
    cdef int source
    cdef bint stream_begun      # the head of an event stream went out before any answer: comments keep the client waiting
    cdef bint committed         # a byte of real answer has gone out: nothing is tried again
    cdef bint tunnel            # bytes in both directions, until one side ends
    cdef bint events            # it is an event stream in the client's own dialect
    cdef int grpc_status        # that the client got, -1 = none
    cdef uint64_t last_sent_ns  # when a comment, or nothing yet, was sent last
    cdef object translator      # of a stream that is told in another dialect
    # The head of an attempt's answer. attempts: begun so far; reason: why not the first choice answers, None = it does.
    cdef commit(self, Attempt attempt, int64_t length, int attempts, str reason)
    cdef bytes translate(self, Attempt attempt, bytes content, int attempts)    # a whole answer; ValueError
    # More of the body, in the target's dialect. ValueError: it cannot be said in the client's.
    cdef relay(self, bytes data)
    cdef finish(self, list trailers, bytes tail)            # the answer is complete
    cdef broken(self, str detail, str target, bint deadline, bint say)  # after the commit point: an honest end
    cdef list own_fields(self, list fields, int attempts)   # of a reply to a request that had a route
    # A whole reply of edge's own (or a target's words about the caller's fault): how it is sent, before it is.
    cdef list prepare(self, int status, list fields, bytes content)
    cdef send(self, int status, list fields, bytes content) # what prepare() gave
    cdef send_keepalive(self, uint64_t now)
    cdef answer_call(self, list answers)                    # a gRPC call that edge answers itself: messages
    cdef end_call(self, list trailers)
