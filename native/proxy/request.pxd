"""What does this request ask for, and for whom?  From its first byte to the route that can answer it."""

from libc.stdint cimport int64_t, uint64_t
from native.proxy.attempt cimport Attempt
from native.proxy.data_plane cimport DataPlaneCore
from native.proxy.accounting cimport ExchangeCore
from native.http.stream cimport ServerStream

cdef enum ResponseFormat:
    PLAIN = 0                   # HTTP, in the caller's own JSON dialect
    CHAT = 1                    # edge.v1.Inference/Chat: one message
    CHAT_STREAM = 2             # edge.v1.Inference/ChatStream
    LOCAL = 3                   # a method that edge answers itself: health, reflection, the list of models

cdef enum:
    MOST_HOPS = 2               # how often a request may go on to another region

cdef class Intake(ExchangeCore):
    """The first part of an exchange: it reads, asks for the key, and finds the route. ``begin`` goes on from there."""
    cdef Attempt attempt
    cdef int code               # the gRPC status the client got, -1 = none
    cdef int response_format              # enum ResponseFormat: in which language the client is answered
    cdef bytes unread           # of a local call: the beginning of a message
    cdef admit(self)
    cdef bint hear_peer(self)
    cdef bint identify(self)
    cdef admit_model(self)
    cdef route_model(self)
    cdef read_call(self)
    cdef hear_local(self, bytes data)
    cdef overfull(self)
    cdef route_service(self)
    cdef bint bind(self, int64_t timeout_ns, str kind, bytes value)     # False: refused
    cdef follow(self)
    cdef bint enter(self)
    cdef repay(self, uint64_t now)
    # what the other parts do
    cdef begin(self)
    cdef refuse(self, str kind, str detail, list extra)
    cdef answer_problem(self, tuple problem)
    cdef answer(self, int status, list fields, bytes content)
    cdef close(self, int status)
