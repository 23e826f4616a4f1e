"""Parses the responses of one HTTP/1.1 connection with llhttp (httptools), strictly, and bounds what they may cost.

Rules: RFC 9112 2 to 7 and 9. A response that nobody asked for, or that does not end where its head says, is refused."""

from native.codec.head cimport Head
from native.codec.head_reader cimport HeadReader

cdef class ResponseEvents:
    """Receives the parts of each response. A subclass overrides every method; tests/native/test_contract.py checks it."""
    cdef bint awaits_response(self)         # a request has been assigned and its response is not complete
    cdef void on_interim_head(self, int status)
    cdef void on_response_head(self, Head head)
    cdef void on_body_data(self, bytes data)        # of a body, or of a tunnel
    cdef void on_complete(self)

cdef class ResponseParser:
    cdef ResponseEvents events
    cdef object parser              # None = closed
    cdef HeadReader reader
    cdef bint to_head               # the request is HEAD: the response has no body
    cdef bint upgrade_requested
    cdef bint in_response           # the final head has come, and the end has not
    cdef bint tunnel                # 101 was accepted: no framing any more
    cdef int interims
    cdef Py_ssize_t head_bytes      # that have come and are neither a body's nor of a head that is complete
    cdef void begin(self)           # of the next request; to_head and upgrade_requested are set with its head
    cdef str feed(self, bytes data)         # why the response is refused; None = it is not
    cdef void close(self)                   # let go of everything
