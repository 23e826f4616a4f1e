"""Splits a stream of server-sent events, classifies each and hands on whole events only (sans-I/O).

All that ``feed`` returned, and then ``rest``, make up the stream, byte for byte; what is said of a stream does not depend
on how it was cut into chunks. Source: WHATWG HTML 9.2; comments between events as DeepSeek sends them."""

from libc.stdint cimport int64_t

cdef class Scanner:
    cdef readonly int said          # all bits so far
    cdef readonly int fresh         # bits of the last feed
    cdef readonly bytes error       # data of the first error event, None
    cdef readonly int64_t prompt_tokens, output_tokens   # last usage seen, -1 = none
    cdef readonly int events        # content events so far
    cdef readonly Py_ssize_t limit  # bytes of one event that are held back at most
    cdef readonly Py_ssize_t error_end   # where the first error event ends in what the last feed returned; -1 = not there
    cdef bytes carry                # tail that is not a whole event yet
    cdef bint begun                 # past the place of a byte order mark
    cdef int mark                   # bytes of a byte order mark seen at the start; 3 = settled
    cdef bint within                # inside a line
    cdef bint remark                # that line is a comment
    cdef bint fields                # the open event has a line that is no comment
    cdef bint after_cr              # a line feed now would belong to the line end before it
    cdef bint raw                   # inside an event over the limit, already handed on in part
    # Returns the whole events of carry + chunk (the chunk itself when nothing had to be cut: no copy), b"" if none is
    # whole yet. A tail over limit bytes is handed on raw (SAID_GARBAGE is not set) so that memory stays bounded;
    # such an event is content, and an error or the end if its first limit bytes (or its event name) say so.
    cdef bytes feed(self, bytes chunk)
    cdef bytes rest(self)           # the unfinished tail; forgets it
    cdef int _scan(self, const char* start, Py_ssize_t held, Py_ssize_t size, Py_ssize_t* border) except -1
    cdef int _judge(self, const char* p, const char* end) except -1
