from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.string cimport memchr, memcmp
from native.codec.json_walk cimport Scan, Text, at_end, begin, is_empty, skip_space, text_is, walk_members, walk_value

cdef struct Seen:               # in the data of one event
    const char* at              # the value of its usage, if that is an object
    const char* end
    bint choices                # it has choices


cdef const char* _visit_member(const char* p, Scan* scan, const Text* key, int depth, void* into) noexcept nogil:
    cdef Seen* seen = <Seen*>into
    cdef const char* after = walk_value(p, scan, depth)
    if after != NULL:
        if p[0] == c"{" and text_is(key, b"usage", 5):
            seen.at = p
            seen.end = after
        elif text_is(key, b"choices", 7):
            seen.choices = not is_empty(p, after)
    return after


cdef const char* _event_end(const char* p, const char* end) noexcept nogil:
    """Return the end of the event at p: behind its empty line."""
    cdef const char* line = p
    while line < end:
        if line[0] == c"\n" or line[0] == c"\r":
            return line + (2 if line[0] == c"\r" and line + 1 < end and line[1] == c"\n" else 1)
        while line < end and line[0] != c"\n" and line[0] != c"\r":
            line += 1
        if line < end:
            line += 2 if line[0] == c"\r" and line + 1 < end and line[1] == c"\n" else 1
    return end


cdef void _look(const char* p, const char* end, Seen* seen) noexcept nogil:
    """Read the one line of data of an event; one that has more, or that is not JSON, stays as it is."""
    cdef Scan scan
    cdef const char* stop
    seen.at = NULL
    seen.choices = False
    while p < end:
        stop = p
        while stop < end and stop[0] != c"\n" and stop[0] != c"\r":
            stop += 1
        if stop - p > 5 and memcmp(p, b"data:", 5) == 0:
            p = skip_space(p + 5, stop)
            begin(&scan, p, stop - p)
            if p == stop or p[0] != c"{" or not at_end(walk_members(p, &scan, 0, _visit_member, seen), &scan):
                seen.at = NULL
            return
        p = stop + 1


cdef bint _mentions(const char* p, const char* end) noexcept nogil:
    while True:
        p = <const char*>memchr(p, c"u", end - p) if p < end else NULL
        if p == NULL or end - p < 5:
            return False
        if memcmp(p, b"usage", 5) == 0:
            return True
        p += 1


cdef bytes hide_usage(bytes events):
    cdef const char* start = PyBytes_AS_STRING(events)
    cdef const char* end = start + PyBytes_GET_SIZE(events)
    cdef const char* p = start
    cdef const char* kept = start
    cdef const char* stop
    cdef list pieces = None
    cdef Seen seen
    if not _mentions(start, end):
        return events
    while p < end:
        stop = _event_end(p, end)
        _look(p, stop, &seen)
        if seen.at != NULL:
            pieces = [] if pieces is None else pieces
            if seen.choices:
                pieces.append(PyBytes_FromStringAndSize(kept, seen.at - kept))
                pieces.append(b"null")
                kept = seen.end
            else:
                pieces.append(PyBytes_FromStringAndSize(kept, p - kept))
                kept = stop
        p = stop
    if pieces is None:
        return events
    pieces.append(PyBytes_FromStringAndSize(kept, end - kept))
    return b"".join(pieces)


def without_usage(bytes events not None):
    """Return whole events without their usage."""
    return hide_usage(events)
