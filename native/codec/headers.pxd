"""Is this message head sound, and what of it may go on?  One strict reader for requests and answers, both wires.

Rules: RFC 9112 sections 2.2, 3.2, 5, 6, RFC 9113 sections 8.2 and 8.3, and RFC 9110 sections 5.5, 7.6.1, 8.6, 10.1.1. What is forwarded is written anew
from the fields kept here, never relayed raw."""

from libc.stdint cimport int64_t, uint64_t
from native.codec.head cimport Head

cdef class HeadReader:
    """Collects the fields of one head. Not reusable: take() hands the Head over and starts a new one."""
    cdef Head head
    cdef Py_ssize_t size, size_limit
    cdef int count, count_limit
    cdef int lengths, hosts
    cdef int codings            # Transfer-Encoding fields seen
    cdef bint chunked, chunked_last
    cdef bint close, keep, switch
    cdef bint hop               # a field that speaks to this hop only was seen
    cdef list nominated         # names listed in Connection
    cdef bint untouched         # nothing of the head has been changed but its list: it serves for the next
    cdef tuple latest           # the last field added, where again() may take it; None = it may not
    cdef int latest_kind
    cdef readonly str fault     # why the head was refused, None = sound so far
    cdef readonly int fault_status
    cdef void begin(self)       # forget what was added; take() of HTTP/1.1 does so itself, HTTP/2 begins each block
    cdef int refuse(self, int status, str reason)
    cdef int add(self, bytes name, bytes value)                             # 0 sound, -1 refused
    cdef int again(self, tuple pair, int kind)                              # a field that add() found sound before
    cdef int version(self, parser)      # 11, 10 or 0, at the end of the head
    cdef Head take_request(self, bytes method, bytes target, int version)   # None = refused
    cdef Head take_answer(self, int status, int version)
    # HTTP/2 (RFC 9113 8.2, 8.3): pseudo-header fields are None when they did not come; ended = no body follows
    cdef Head take_request2(self, bytes method, bytes scheme, bytes path, bytes authority, bint ended)
    cdef Head take_answer2(self, int status, bint ended, bint to_head)
    cdef list take_trailers(self)                                           # None = there are none

cdef bytes field_value(list fields, bytes name)         # first value or None; names are lower case
cdef bytes write_head(bytes first_line, list fields, bytes last)    # last: framing lines, each ending in CRLF, or b""
cdef bint plain_path(bytes path) noexcept               # no dot segments, no encoded slash, backslash, NUL or dot
cdef bytes decimal(int64_t value)
cdef int64_t parse_length(bytes value) noexcept         # digits and nothing else; -1 = not that
cdef int64_t parse_seconds(bytes value) noexcept        # 1.5, 1.5s, 200ms in ns; -1 = none of these, or not above 0
cdef bytes write_seconds(uint64_t ns)                   # as 1.500; rounded down, at least a millisecond
cdef bytes status_line(int status)                      # HTTP/1.1, ends in CRLF
cdef bytes frame_chunk(bytes held, bytes data)          # held (may be None) + one chunk, in one buffer
cdef bytes last_chunk(list trailers)
