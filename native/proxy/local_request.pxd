"""Holds requests that edge answers itself: gRPC calls of its own methods, and queries over HTTP."""

from native.proxy.request cimport Request

cdef class LocalCall(Request):
    cdef bytes unread           # the beginning of an incomplete message
    cdef list messages          # complete messages that are not answered yet
    cdef list answer(self, list answers)    # answer them; returns the trailers that end the call, or None

cdef class LocalQuery(Request):
    cdef tuple answer(self)     # (status, fields, content)
