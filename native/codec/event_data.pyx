from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from libc.string cimport memchr


cdef class EventData:
    """The data of one event stream, however it is cut into chunks. The caller bounds ``held``."""

    def __cinit__(self):
        self.line = []
        self.lines = []

    def push(self, bytes chunk not None):
        """Feed a chunk; return the data of each event that is complete."""
        return self.feed(chunk)

    cdef list feed(self, bytes chunk):
        cdef const char* p = PyBytes_AS_STRING(chunk)
        cdef const char* end = p + PyBytes_GET_SIZE(chunk)
        cdef const char* stop
        cdef const char* turn = NULL        # the next CR, so that it is searched for only once
        cdef list found = []
        while p < end:
            if self.after_cr:
                self.after_cr = False
                if p[0] == c"\n":
                    p += 1
                    continue
            stop = <const char*>memchr(p, c"\n", end - p)
            if stop == NULL:
                stop = end
            if turn < p:
                turn = <const char*>memchr(p, c"\r", end - p)
                if turn == NULL:
                    turn = end
            if turn < stop:
                stop = turn
                self.after_cr = True
            if stop == end:
                self.line.append(p[:end - p])
                self.held += end - p
                break
            self._end_line(p, stop - p, found)
            p = stop + 1
        return found

    cdef int _end_line(self, const char* p, Py_ssize_t size, list found) except -1:
        cdef bytes line = p[:size]
        if self.line:
            self.line.append(line)
            line = b"".join(self.line)
            self.line = []
        if not self.begun:
            self.begun = True
            line = line.removeprefix(b"\xef\xbb\xbf")
        if not line:
            if self.lines:
                found.append(b"\n".join(self.lines))
                self.lines = []
            self.held = 0
        elif line.startswith(b"data:"):
            line = line[6:] if line.startswith(b"data: ") else line[5:]
            self.lines.append(line)
            self.held += size
        elif line == b"data":
            self.lines.append(b"")
        elif not self.lines:
            self.held = 0
