from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from native.codec.json_walk cimport (
    Scan, Text, begin, fail, skip_space, text_is, walk_members, walk_string, walk_value, WALK_OK,
)

# What stopped a walk: the member is found. It is none of the faults of a walk.
cdef int FOUND = 100

cdef struct Sought:
    const char* outer
    Py_ssize_t outer_size   # 0 = the member is in the object itself
    const char* name
    Py_ssize_t name_size
    Py_ssize_t at, end      # of its text; at < 0 = it was not found


cdef const char* _visit_inner(const char* p, Scan* scan, const Text* key, int depth, void* into) noexcept nogil:
    cdef Sought* sought = <Sought*>into
    cdef bint escaped = False
    cdef const char* after
    if p[0] != c'"' or not text_is(key, sought.name, sought.name_size):
        return walk_value(p, scan, depth)
    after = walk_string(p, scan, &escaped)
    if after == NULL:
        return NULL
    sought.at = p + 1 - scan.start
    sought.end = after - 1 - scan.start
    return fail(scan, p, FOUND)


cdef const char* _visit_outer(const char* p, Scan* scan, const Text* key, int depth, void* into) noexcept nogil:
    cdef Sought* sought = <Sought*>into
    if p[0] == c"{" and text_is(key, sought.outer, sought.outer_size):
        return walk_members(p, scan, depth, _visit_inner, into)
    return walk_value(p, scan, depth)


cdef bytes member_text(bytes content, Py_ssize_t start, bytes outer, bytes name):
    cdef Scan scan
    cdef Sought sought
    cdef const char* p
    begin(&scan, PyBytes_AS_STRING(content) + start, PyBytes_GET_SIZE(content) - start)
    sought.outer_size = 0 if outer is None else PyBytes_GET_SIZE(outer)
    sought.outer = NULL if outer is None else PyBytes_AS_STRING(outer)
    sought.name = PyBytes_AS_STRING(name)
    sought.name_size = PyBytes_GET_SIZE(name)
    sought.at = sought.end = -1
    p = skip_space(scan.start, scan.end)
    if p >= scan.end or p[0] != c"{":
        return None
    walk_members(p, &scan, 0, _visit_outer if sought.outer_size else _visit_inner, &sought)
    if sought.at < 0 or (scan.fault != WALK_OK and scan.fault != FOUND):
        return None
    return content[start + sought.at:start + sought.end]


cdef bytes response_of_events(bytes events):
    cdef Py_ssize_t at = 0
    cdef bytes found
    while True:
        at = events.find(b"data:", at)
        if at < 0:
            return None
        at += 5
        found = member_text(events, at, b"response", b"id")
        if found is not None:
            return found


def find_member(bytes content not None, bytes outer, bytes name not None):
    """Return the text of the string member ``name`` of an object, or of the object in its member ``outer``."""
    return member_text(content, 0, outer, name)


def find_response(bytes events not None):
    """Return the id of the response that an event stream begins with; None = it names none."""
    return response_of_events(events)
