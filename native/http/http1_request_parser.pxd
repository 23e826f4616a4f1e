"""Parses the requests of one HTTP/1.1 connection strictly, and bounds what they may cost.

A fault ends the parsing for good: nothing that follows can be trusted. Rules: RFC 9110 7.8, RFC 9112 2 to 7."""

from libc.stdint cimport int64_t
from native.codec.chunked cimport ChunkDecoder
from native.codec.head cimport Head
from native.codec.head_reader cimport HeadReader
from native.codec.http1_head cimport HeadScanner

cdef class RequestEvents:
    """Receives the parts of each request. A subclass overrides every method; tests/native/test_contract.py checks it."""
    cdef int on_head_begin(self) except -1
    cdef bint on_head(self, Head head)      # False = stop parsing
    cdef bint on_body(self, bytes data)     # False = stop parsing
    cdef int on_complete(self) except -1
    # Behind a request with Upgrade. True = these bytes (maybe b"") are kept for a tunnel, and not parsed.
    cdef bint on_upgrade(self, bytes rest)

cdef class RequestParser:
    cdef RequestEvents events       # None = closed
    cdef HeadScanner scanner
    cdef HeadReader reader
    cdef ChunkDecoder chunks
    cdef int phase
    cdef int heads                  # complete heads so far, up to 2: from then on each is kept for the next
    cdef int64_t left               # bytes of a body with a length that are still to come
    cdef bint in_head
    cdef bint keep_alive            # of the present request
    cdef bint upgrades              # ... behind which bytes may wait for a tunnel
    cdef bint stopped
    cdef int fault_status           # why the parser has stopped by itself
    cdef str fault                  # None = it has not
    # The bytes are borrowed for the call; what must be kept is copied once.
    cdef int feed(self, const char* data, Py_ssize_t size) except -1
    cdef int stop(self) except -1            # nothing more is parsed
    cdef int close(self) except -1           # drop all references
    cdef int refuse(self, int status, str reason)
    # Each reads what belongs to one phase, and returns how many bytes that was.
    cdef Py_ssize_t read_head(self, const char* data, Py_ssize_t size) except -1
    cdef Py_ssize_t take_head(self, const char* data, Py_ssize_t size) except -1
    cdef Py_ssize_t read_length(self, const char* data, Py_ssize_t size) except -1
    cdef Py_ssize_t read_chunks(self, const char* data, Py_ssize_t size) except -1
    cdef Py_ssize_t read_ended(self, const char* data, Py_ssize_t size) except -1
    cdef int end_request(self) except -1
