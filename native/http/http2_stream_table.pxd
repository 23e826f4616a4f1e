"""Finds the streams of one HTTP/2 connection by their numbers."""

from libc.stdint cimport int32_t

cdef enum:
    # A power of two above MAX_STREAMS, so that consecutive streams do not collide.
    PLACES = 128

cdef class StreamTable:
    """The streams that the session knows, which are Http2Stream or Http2Call objects. A stream's number gives its place.
    If an older stream has that place, the newer stream is kept in the dict."""
    cdef list places
    cdef int32_t numbers[PLACES]    # of the streams in ``places``; 0 = the place is free
    cdef dict elsewhere             # streams that collide with an older one, by number
    cdef readonly int count
    cdef add_stream(self, int32_t number, object stream)
    cdef object remove_stream(self, int32_t number)     # returns the stream; None = there is no such stream
    cdef list streams(self)                             # a new list, oldest first
    cdef int clear(self) except -1

cdef inline object stream_at(StreamTable table, int32_t number):
    """Return the stream with this number, or None."""
    cdef int place = number >> 1 & (PLACES - 1)
    if table.numbers[place] == number:
        return table.places[place]
    return table.elsewhere.get(number) if table.elsewhere else None
