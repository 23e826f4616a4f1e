from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from cpython.mem cimport PyMem_Free, PyMem_Malloc
from native.codec.json_text cimport escape_json
from native.codec.json_walk cimport (
    Scan, Text, begin, skip_space, text_is, walk_elements, walk_members, walk_string, walk_value,
)

cdef struct Places:         # of the values that are replaced, each with its quotes
    Py_ssize_t* ends        # from and to of each; NULL = they are counted only
    Py_ssize_t count


cdef const char* _visit_model(const char* p, Scan* scan, const Text* key, int depth, void* into) noexcept nogil:
    cdef Places* places = <Places*>into
    cdef bint escaped = False
    cdef const char* after
    if p[0] != c'"' or not text_is(key, b"model", 5):
        return walk_value(p, scan, depth)
    after = walk_string(p, scan, &escaped)
    if after != NULL:
        if places.ends != NULL:
            places.ends[2 * places.count] = p - scan.start
            places.ends[2 * places.count + 1] = after - scan.start
        places.count += 1
    return after


cdef const char* _visit_request(const char* p, Scan* scan, const Text* key, int depth, void* into) noexcept nogil:
    return walk_members(p, scan, depth, _visit_model, into)


cdef const char* _visit_body(const char* p, Scan* scan, const Text* key, int depth, void* into) noexcept nogil:
    if p[0] == c"[" and text_is(key, b"requests", 8):
        return walk_elements(p, scan, depth, _visit_request, into)
    if p[0] == c"{" and (text_is(key, b"generateContentRequest", 22) or text_is(key, b"generate_content_request", 24)):
        return walk_members(p, scan, depth, _visit_model, into)
    return _visit_model(p, scan, key, depth, into)


cdef bint find_places(bytes body, Places* places) noexcept:
    cdef Scan scan
    cdef const char* p
    places.count = 0
    begin(&scan, PyBytes_AS_STRING(body), PyBytes_GET_SIZE(body))
    p = skip_space(scan.start, scan.end)
    return p < scan.end and walk_members(p, &scan, 0, _visit_body, places) != NULL


cdef bytes with_body_models(bytes body, bytes name):
    cdef Places places
    cdef list pieces = []
    cdef Py_ssize_t i, at = 0
    cdef bytes written = b'"models/' + escape_json(name) + b'"'
    places.ends = NULL
    if not find_places(body, &places) or not places.count:
        return body
    places.ends = <Py_ssize_t*>PyMem_Malloc(2 * places.count * sizeof(Py_ssize_t))
    if places.ends == NULL:
        raise MemoryError
    try:
        find_places(body, &places)
        for i in range(places.count):
            pieces.append(body[at:places.ends[2 * i]])
            pieces.append(written)
            at = places.ends[2 * i + 1]
    finally:
        PyMem_Free(places.ends)
    pieces.append(body[at:])
    return b"".join(pieces)


def replaced_models(bytes body not None, bytes name not None):
    """Return the body with this model in place of each name that it gives beside its path."""
    return with_body_models(body, name)
