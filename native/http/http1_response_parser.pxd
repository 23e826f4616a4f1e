"""Parses the responses of one HTTP/1.1 connection strictly, and bounds what they may cost.

Rules: RFC 9112 2 to 7 and 9. A response that nobody asked for, or that does not end where its head says, is refused."""

from libc.stdint cimport int64_t
from native.codec.chunked cimport ChunkDecoder
from native.codec.head cimport Head
from native.codec.head_reader cimport HeadReader
from native.codec.http1_head cimport HeadScanner

cdef class ResponseEvents:
    """Receives the parts of each response. A subclass overrides every method; tests/native/test_contract.py checks it."""
    cdef bint awaits_response(self)         # a request has been assigned and its response is not complete
    cdef int on_interim_head(self, int status) except -1
    cdef int on_response_head(self, Head head) except -1
    cdef int on_body_data(self, bytes data) except -1        # of a body, or of a tunnel
    cdef int on_complete(self) except -1

cdef class ResponseParser:
    cdef ResponseEvents events      # None = closed
    cdef HeadScanner scanner
    cdef HeadReader reader
    cdef ChunkDecoder chunks
    cdef int phase
    cdef int heads                  # complete heads so far, up to 2: from then on each is kept for the next
    cdef int64_t left               # bytes of a body with a length that are still to come
    cdef bint to_head               # the request is HEAD: the response has no body
    cdef bint upgrade_requested
    cdef bint in_response           # the final head has come, and the end has not
    cdef bint tunnel                # 101 was accepted: no framing any more
    cdef int interims
    cdef str refusal                # why the response was refused
    cdef int begin(self) except -1           # of the next request; to_head and upgrade_requested are set with its head
    # Why the response is refused; None = it is not. The bytes are borrowed for the call; what is kept is copied once.
    cdef str feed(self, const char* data, Py_ssize_t size)
    cdef int close(self) except -1                   # drop all references
    cdef int refuse(self, str reason)       # -1
    # Each reads what belongs to one phase, and returns how many bytes that was; -1 = refused.
    cdef Py_ssize_t read_head(self, const char* data, Py_ssize_t size) except? -1
    cdef Py_ssize_t read_length(self, const char* data, Py_ssize_t size) except? -1
    cdef Py_ssize_t read_chunks(self, const char* data, Py_ssize_t size) except? -1
    cdef int take_interim(self, Head head) except? -1
    cdef int take_final(self, Head head) except -1
    cdef int end_response(self) except -1
