"""Holds a request to an internal service, whose body is streamed."""

from native.http.stream cimport ClientStream
from native.proxy.request cimport Refusal, Request

cdef class ServiceRequest(Request):
    cdef bint replayable        # its body is kept from the beginning
    cdef bint asked             # an upstream is being sent this request
    cdef ClientStream upstream  # ... on this stream
    cdef Refusal prepare(self)
    cdef Refusal collect_fields(self)
