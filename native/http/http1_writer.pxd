"""Writes HTTP/1.1 messages; a head goes to the socket together with the first bytes of its body.

The socket writes what a turn has queued by one system call."""

from native.io.stream_socket cimport StreamSocket

cdef class MessageWriter:
    cdef StreamSocket socket
    cdef bytes head             # a head that is not written yet, or None
    cdef bint chunked
    cdef void begin(self, bytes head, bint chunked)
    cdef void write(self, bytes data)       # b"" writes the head at once
    cdef void end(self, list trailers)      # trailers of a chunked message, or None
    cdef void flush(self)                   # write the head at once
