"""Writes HTTP/1.1 messages; a head goes to the socket together with the first bytes of its body.

The socket writes what a turn has queued by one system call."""

from libc.stdint cimport int64_t
from native.io.stream_socket cimport StreamSocket

cdef class MessageWriter:
    cdef StreamSocket socket
    cdef bytes head             # a head that is not written yet, or None
    cdef bint chunked
    cdef int begin(self, bytes head, bint chunked) except -1
    cdef int write(self, bytes data) except -1       # b"" writes the head at once
    cdef int end(self, list trailers) except -1      # trailers of a chunked message, or None
    cdef int flush(self) except -1                   # write the head at once

# The native.codec.head_writer.Framing of a response of this length (native.codec.head.Length). bodiless: it has no body.
# FRAME_NONE where there is a body: it ends with the connection, because HTTP/1.0 has no chunks.
cdef int framing_of(int status, int64_t length, bint bodiless, int version) noexcept
