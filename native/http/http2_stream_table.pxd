"""Finds the streams of one HTTP/2 connection by their numbers."""

from libc.stdint cimport int32_t

cdef enum:
    # Streams found without a dict: a power of two above MAX_STREAMS, so that consecutive streams have each its own place.
    PLACES = 128

cdef class StreamTable:
    """Streams, as long as the session knows them. Each stands in the place that its number gives, or in the dict where an
    older stream has that place."""
    cdef list places
    cdef int32_t numbers[PLACES]    # of the streams in ``places``; 0 = the place is free
    cdef dict elsewhere             # by number
    cdef readonly int count
    cdef add_stream(self, int32_t number, object stream)
    cdef object remove_stream(self, int32_t number)     # None = it is not there
    cdef list streams(self)                             # a new list, oldest first
    cdef void clear(self)

cdef inline object stream_at(StreamTable table, int32_t number):
    """Return the stream of this number, or None."""
    cdef int place = number >> 1 & (PLACES - 1)
    if table.numbers[place] == number:
        return table.places[place]
    return table.elsewhere.get(number) if table.elsewhere else None
