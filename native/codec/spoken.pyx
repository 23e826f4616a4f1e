from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from libc.string cimport memchr, memcmp
from native.codec.json_walk cimport begin, skip_space, text_is, walk_elements, walk_members, walk_value


cdef Py_ssize_t text_size(const char* p, const char* after) noexcept nogil:
    cdef const char* end = after - 1
    cdef Py_ssize_t size = end - p - 1
    p += 1
    while True:
        p = <const char*>memchr(p, c"\\", end - p) if p < end else NULL
        if p == NULL or end - p < 2:
            return size
        if p[1] == c"u":
            size -= 3           # six characters; the text has one to three bytes, or four for two of them
            p += 6
        else:
            size -= 1
            p += 2


cdef inline bint _begins(const char* p, const char* end, const char* word, Py_ssize_t size) noexcept nogil:
    return end - p >= size and memcmp(p, word, size) == 0


cdef bint _is_label(const Text* key) noexcept nogil:
    """Return whether the member of this name is no output: an id, a type, or an opaque signature."""
    return (
        text_is(key, b"id", 2) or text_is(key, b"type", 4) or text_is(key, b"role", 4) or text_is(key, b"call_id", 7)
        or text_is(key, b"object", 6) or text_is(key, b"format", 6) or text_is(key, b"status", 6)
        or text_is(key, b"item_id", 7) or text_is(key, b"mimeType", 8) or text_is(key, b"mime_type", 9)
        or text_is(key, b"signature", 9) or text_is(key, b"media_type", 10) or text_is(key, b"finish_reason", 13)
        or text_is(key, b"finishReason", 12) or text_is(key, b"thoughtSignature", 16)
        or text_is(key, b"encrypted_content", 17)
    )


cdef int64_t said_by(const char* p, const char* after, const Text* key) noexcept nogil:
    cdef const char* text = p + 1
    if after - p > 64:
        if text_is(key, b"b64_json", 8) or text_is(key, b"result", 6) and memchr(text, c" ", 64) == NULL:
            return PICTURE_SAID
        if _begins(text, after, b"data:image", 10):
            return PICTURE_SAID
        if _begins(text, after, b"data:audio", 10):
            return (after - p) // <int>SOUND_DIVISOR + 1
        if text_is(key, b"partial_image_b64", 17):
            return PARTIAL_PICTURE_SAID
        if text_is(key, b"data", 4) and memchr(text, c" ", 64) == NULL:
            if (_begins(text, after, b"iVBORw0", 7) or _begins(text, after, b"/9j/", 4)
                    or _begins(text, after, b"R0lGOD", 6)):
                return PICTURE_SAID
            return (after - p) // <int>SOUND_DIVISOR + 1
    return text_size(p, after)


cdef const char* _visit_inner(const char* p, Scan* scan, const Text* key, int depth, void* into) noexcept nogil:
    cdef const char* after
    if p[0] == c"{" or p[0] == c"[":
        return walk_spoken(p, scan, depth, <int64_t*>into)
    after = walk_value(p, scan, depth)
    if after != NULL and p[0] == c'"' and (key == NULL or not _is_label(key)):
        (<int64_t*>into)[0] += text_size(p, after) if key == NULL else said_by(p, after, key)
    return after


cdef const char* walk_spoken(const char* p, Scan* scan, int depth, int64_t* said) noexcept nogil:
    cdef const char* after
    if p < scan.end and (p[0] == c"{" or p[0] == c"[") and depth >= 128:
        return walk_value(p, scan, depth)       # which refuses it
    if p < scan.end and p[0] == c"{":
        return walk_members(p, scan, depth, _visit_inner, said)
    if p < scan.end and p[0] == c"[":
        return walk_elements(p, scan, depth, _visit_inner, said)
    after = walk_value(p, scan, depth)
    if after != NULL and p[0] == c'"':
        said[0] += text_size(p, after)
    return after


cdef const char* _visit_answer(const char* p, Scan* scan, const Text* key, int depth, void* into) noexcept nogil:
    if (text_is(key, b"choices", 7) or text_is(key, b"output", 6) or text_is(key, b"content", 7)
            or text_is(key, b"candidates", 10) or text_is(key, b"data", 4)
            or (text_is(key, b"text", 4) and p[0] == c'"')):         # of a transcription; a Response has an object there
        return walk_spoken(p, scan, depth, <int64_t*>into)
    return walk_value(p, scan, depth)


cdef int64_t spoken_in(const char* data, Py_ssize_t size) noexcept nogil:
    cdef Scan scan
    cdef int64_t said = 0
    begin(&scan, data, size)
    walk_members(skip_space(data, scan.end), &scan, 0, _visit_answer, &said)
    return said


def spoken(bytes content not None):
    """Return what a whole answer says, in bytes of text that cost as much. Borrows ``content`` for the call."""
    return spoken_in(PyBytes_AS_STRING(content), PyBytes_GET_SIZE(content))
