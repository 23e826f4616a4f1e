"""Writes HTTP/1.1 messages; a head goes to the socket together with the first bytes of its body.

The socket writes what a turn has queued by one system call."""

from native.io.stream_socket cimport StreamSocket

cdef class MessageWriter:
    cdef StreamSocket socket
    cdef bytes head             # a head that is not written yet, or None
    cdef bint chunked
    cdef int begin(self, bytes head, bint chunked) except -1
    cdef int write(self, bytes data) except -1       # b"" writes the head at once
    cdef int end(self, list trailers) except -1      # trailers of a chunked message, or None
    cdef int flush(self) except -1                   # write the head at once
