"""Holds a request that opens a WebSocket of Responses, which edge itself serves."""

from native.codec.head cimport Head
from native.proxy.request cimport Refusal, Request

cdef class SocketRequest(Request):
    cdef bytes accepted         # the value of Sec-WebSocket-Accept
    cdef Refusal prepare(self)  # why no WebSocket is opened; None = one is

cdef bint asks_for_socket(Head head) noexcept
