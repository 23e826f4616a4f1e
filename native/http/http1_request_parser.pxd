"""Parses the requests of one HTTP/1.1 connection with llhttp (httptools), strictly, and bounds what they may cost.

A fault ends the parsing for good: nothing that follows can be trusted. Rules: RFC 9110 7.8, RFC 9112 2 to 7."""

from native.codec.head cimport Head
from native.codec.head_reader cimport HeadReader

cdef class RequestEvents:
    """Receives the parts of each request. A subclass overrides every method; tests/native/test_contract.py checks it."""
    cdef void on_head_begin(self)
    cdef bint on_head(self, Head head)      # False = stop parsing
    cdef bint on_body(self, bytes data)     # False = stop parsing
    cdef void on_complete(self)
    # Behind a request with Upgrade. True = these bytes (maybe b"") are kept for a tunnel, and not parsed.
    cdef bint on_upgrade(self, bytes rest)

cdef class RequestParser:
    cdef RequestEvents events
    cdef object parser              # None = closed
    cdef HeadReader reader
    cdef bytes url
    cdef bytes reframed             # a head that says again how the body is framed that follows an Upgrade
    cdef Py_ssize_t head_bytes      # that have come of a head which is not complete
    cdef Py_ssize_t overhead        # bytes of framing beyond what the body may cost
    cdef bint in_head, in_body
    cdef bint stopped
    cdef int fault_status           # why the parser has stopped by itself
    cdef str fault                  # None = it has not
    cdef void feed(self, bytes data)
    cdef void stop(self)            # nothing more is parsed
    cdef void close(self)           # let go of everything
    cdef int refuse(self, int status, str reason)
    cdef bytes _feed(self, bytes data)
