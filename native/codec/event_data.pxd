"""Takes the data out of server-sent events (sans-I/O; WHATWG HTML 9.2.6)."""

cdef class EventData:
    cdef readonly Py_ssize_t held       # bytes of the incomplete event
    cdef list line                      # pieces of the current line
    cdef list lines                     # the data lines of the current event, without their names
    cdef bint after_cr                  # the last byte was a CR: a line feed now belongs to the same line end
    cdef bint begun                     # past the place of a byte order mark
    # Returns the data of each event that is complete, its lines joined with line feeds; events without data have none.
    cdef list feed(self, bytes chunk)
    cdef int _end_line(self, const char* p, Py_ssize_t size, list found) except -1
