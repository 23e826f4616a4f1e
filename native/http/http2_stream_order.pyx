cdef enum:
    DATA = 0
    HEADERS = 1
    PRIORITY = 2
    RST_STREAM = 3
    END_STREAM = 1
    PROTOCOL_ERROR = 1
    STREAM_CLOSED = 5


cdef class StreamOrder:
    """The streams of one client connection."""

    def __init__(self):
        self.elsewhere = set()
        self.closed_by_us = []

    cdef uint32_t judge(self, int kind, int flags, uint32_t stream):
        if kind == HEADERS:
            if stream > self.highest:
                if not stream & 1:
                    return 0                    # the session refuses a number that only a server may use
                self.highest = stream
                if not flags & END_STREAM:
                    self._add(stream)
                return 0
            if stream and not self.may_send(stream):
                return PROTOCOL_ERROR           # lower than one that was opened, or used again (5.1.1)
            if flags & END_STREAM:
                self._remove(stream)            # trailers
        elif kind == DATA:
            if stream > self.highest:
                return PROTOCOL_ERROR           # idle (5.1)
            if stream and not self.may_send(stream):
                return STREAM_CLOSED            # 5.1, 6.1
            if flags & END_STREAM:
                self._remove(stream)
        elif kind == PRIORITY:
            if stream == 0:
                return PROTOCOL_ERROR           # 6.3
        elif kind == RST_STREAM:
            self._remove(stream)
        return 0

    cdef bint may_send(self, uint32_t stream):
        return self.places[stream >> 1 & (PLACES - 1)] == stream or stream in self.elsewhere

    cdef int _add(self, uint32_t stream) except -1:
        cdef uint32_t place = stream >> 1 & (PLACES - 1)
        if self.places[place]:
            self.elsewhere.add(stream)
        else:
            self.places[place] = stream

    cdef int _remove(self, uint32_t stream) except -1:
        cdef uint32_t place = stream >> 1 & (PLACES - 1)
        if self.places[place] == stream:
            self.places[place] = 0
        elif self.elsewhere:
            self.elsewhere.discard(stream)

    cdef int close(self, uint32_t stream) except -1:
        if self.may_send(stream):
            self.closed_by_us.append(stream)
            if len(self.closed_by_us) > <int>CLOSED_BY_US:
                self._remove(<uint32_t>self.closed_by_us.pop(0))

    def judge_frame(self, int kind, int flags, uint32_t stream):
        """Take a frame into account; return 0, or the code of the connection error that it is."""
        return self.judge(kind, flags, stream)

    def close_stream(self, uint32_t stream):
        """Take into account that the server has closed a stream."""
        self.close(stream)

    def count(self):
        """Return the number of streams that the client may still send on."""
        return len([place for place in self.places if place]) + len(self.elsewhere)
