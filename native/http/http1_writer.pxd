"""Writes one HTTP/1.1 message after another: a head shares one write with the first bytes behind it.

Each write is a system call, and a copy is much cheaper."""

from native.http.transport cimport Transport

cdef class MessageWriter:
    cdef Transport transport
    cdef bytes head             # not written yet; None = there is none
    cdef bint chunked
    cdef void begin(self, bytes head, bint chunked)
    cdef void write(self, bytes data)       # with b"" the head is written now
    cdef void end(self, list trailers)      # of a chunked message; trailers may be None
    cdef void flush(self)                   # write the head now
