from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from libc.stdint cimport int64_t
from libc.string cimport memchr, memcmp, memset
from native.codec.media cimport FILE, add_file
from native.codec.request_peek cimport (
    MODEL_LONGEST, PEEK_DUPLICATE, PEEK_LONG_NAME, PEEK_MALFORMED, PEEK_OK, PEEK_TYPE, begin_peek,
)
from native.codec.usage cimport read_amount

cdef extern from *:
    """
    #define _GNU_SOURCE 1
    #include <string.h>
    extern void *memmem(const void *, size_t, const void *, size_t);
    """
    void* memmem(const void* within, size_t size, const void* wanted, size_t length) nogil

# A form has fewer parts and shorter heads than this: each costs a step.
cdef int MOST_PARTS = 256
cdef Py_ssize_t LONGEST_HEAD = 4096
cdef int64_t MOST_CHOICES = 1_000
# RFC 2046, 5.1.1: bchars, without the space; those of them that stand without quotes (RFC 2045, 5.1: token).
cdef bytes TOKEN_CHARS = b"'+_-.0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
cdef bytes BOUNDARY_CHARS = TOKEN_CHARS + b"(),/:=?"

cdef enum Known:            # the parts that are read
    OTHER = 0
    MODEL = 1
    STREAM = 2
    N = 4

cdef struct Part:
    const char* name        # NULL = it has none
    Py_ssize_t name_size
    bint is_file            # it has a file's name
    bint coded              # in a transfer coding


cdef bint is_form(bytes content_type):
    return content_type is not None and content_type[:10].lower() == b"multipart/"


cdef bytes boundary_of(bytes content_type):
    cdef bytes found = None
    cdef bytes allowed = TOKEN_CHARS
    cdef bytes name, value
    if content_type is None:
        return None
    kind, *parameters = content_type.split(b";")
    if kind.strip().lower() != b"multipart/form-data":
        return None
    for parameter in parameters:
        name, _, value = parameter.partition(b"=")
        name = name.strip().lower()
        if b"*" in name:
            return None         # RFC 2231: for some readers it is the parameter of that name, or a piece of it
        if not name.startswith(b"boundary"):
            continue
        if found is not None or name != b"boundary":
            return None         # readers could take either
        found = value.strip()
        if len(found) >= 2 and found.startswith(b'"') and found.endswith(b'"'):
            found = found[1:-1]
            allowed = BOUNDARY_CHARS
    if found is None or not 1 <= len(found) <= 70 or found.translate(None, allowed):
        return None
    return found


cdef inline int _lower(char c) noexcept nogil:
    return c | 32 if c"A" <= c <= c"Z" else c


cdef bint _same(const char* p, Py_ssize_t size, const char* word, Py_ssize_t length) noexcept nogil:
    cdef Py_ssize_t i
    if size != length:
        return False
    for i in range(size):
        if _lower(p[i]) != word[i]:
            return False
    return True


cdef const char* _skip_blanks(const char* p, const char* end) noexcept nogil:
    while p < end and (p[0] == c" " or p[0] == c"\t"):
        p += 1
    return p


cdef const char* _end_of_quoted(const char* p, const char* end) noexcept nogil:
    """Return the quote that ends a string for every reader, NULL = there is none.

    For some readers a backslash is an escape before any character, for some only before a quote, for others never. So
    one before a quote is refused, except in the value that ends the line, without a semicolon behind it: wherever that
    value ends for a reader, no parameter follows.
    """
    cdef const char* escaped = NULL
    cdef const char* start = p
    while p < end and p[0] != c'"':
        if p[0] == c"\\" and end - p > 1 and p[1] == c'"':
            if p > start and p[-1] == c"\\":
                return NULL
            if escaped == NULL:
                escaped = p
            p += 1
        p += 1
    if p >= end or (
        escaped != NULL and (memchr(escaped, c";", p - escaped) != NULL or _skip_blanks(p + 1, end) != end)
    ):
        return NULL
    return p


cdef const char* _end_of_token(const char* p, const char* end) noexcept nogil:
    """Return the end of a value without quotes, NULL = readers see different ends."""
    while p < end and p[0] != c";" and p[0] != c" " and p[0] != c"\t":
        if p[0] == c'"' or p[0] == c"\\" or p[0] == c"<":
            return NULL
        p += 1
    return p


cdef bint _read_disposition(const char* p, const char* end, Part* part) noexcept nogil:
    """Read the value of Content-Disposition; False = it is not what every reader understands."""
    cdef const char* at
    cdef const char* name
    cdef const char* stop
    cdef bint quoted, has_file = False, has_coded_file = False
    if end - p < 9 or not _same(p, 9, b"form-data", 9):
        return False
    p = _skip_blanks(p + 9, end)
    while p < end:
        if p[0] != c";":
            return False
        name = p = _skip_blanks(p + 1, end)
        while p < end and p[0] != c"=" and p[0] != c";":
            p += 1
        if p == end or p[0] == c";":
            return False
        stop = p
        p += 1
        quoted = p < end and p[0] == c'"'
        at = p + quoted
        p = _end_of_quoted(at, end) if quoted else _end_of_token(at, end)
        if p == NULL:
            return False
        if _same(name, stop - name, b"name", 4):
            if part.name != NULL or memchr(at, c"\\", p - at) != NULL or memchr(at, c"%", p - at) != NULL or (
                not quoted and memchr(at, c"(", p - at) != NULL         # for some readers a comment
            ):
                return False
            part.name = at
            part.name_size = p - at
        elif _same(name, stop - name, b"filename", 8):
            if has_file:
                return False
            has_file = True
        elif _same(name, stop - name, b"filename*", 9):
            if has_coded_file:
                return False
            has_coded_file = True
        else:
            return False            # name* and name*0 among them (RFC 2231): for some readers they are the name
        p = _skip_blanks(p + quoted, end)
    part.is_file = has_file or has_coded_file
    return part.name != NULL


cdef const char* _read_head(const char* p, const char* end, Part* part) noexcept nogil:
    """Read the head of a part; return where its content begins, NULL = the head is malformed."""
    cdef const char* line
    cdef const char* colon
    cdef const char* limit = p + LONGEST_HEAD if end - p > LONGEST_HEAD else end
    part.name = NULL
    part.name_size = 0
    part.is_file = part.coded = False
    while True:
        line = <const char*>memchr(p, c"\r", limit - p)
        if line == NULL or limit - line < 2 or line[1] != c"\n":
            return NULL
        if line == p:
            if part.name == NULL:
                return NULL
            return p + 2
        colon = <const char*>memchr(p, c":", line - p)
        if colon == NULL or p[0] == c" " or p[0] == c"\t" or memchr(p, c"\n", line - p) != NULL or (
            memchr(p, 0, line - p) != NULL
        ):
            return NULL             # a folded line, or none
        if colon == p or colon[-1] == c" " or colon[-1] == c"\t":
            return NULL             # some readers strip the name
        if _same(p, colon - p, b"content-disposition", 19):
            if part.name != NULL or not _read_disposition(_skip_blanks(colon + 1, line), line, part):
                return NULL
        elif _same(p, colon - p, b"content-transfer-encoding", 25):
            part.coded = True
        p = line + 2


cdef int _known(const Part* part) noexcept nogil:
    if _same(part.name, part.name_size, b"model", 5):
        return MODEL
    if _same(part.name, part.name_size, b"stream", 6):
        return STREAM
    return N if _same(part.name, part.name_size, b"n", 1) else OTHER


cdef bint _is_text(const Part* part) noexcept nogil:
    return not part.is_file and _same(part.name, part.name_size, b"prompt", 6)


cdef int _fail(Peek* out, int error, Py_ssize_t at) noexcept nogil:
    out.error = error
    out.error_at = at
    return error


cdef int _take(Peek* out, int known, const Part* part, const char* data, const char* p, const char* end, bytes boundary) noexcept:
    """Read a part that is known."""
    cdef Py_ssize_t i
    if part.is_file or part.coded:
        return _fail(out, PEEK_TYPE, p - data)
    if known == MODEL:
        if end - p > MODEL_LONGEST:
            return _fail(out, PEEK_LONG_NAME, p - data)
        for i in range(end - p):
            if <unsigned char>p[i] < 0x20:
                return _fail(out, PEEK_TYPE, p + i - data)
        # what is written in its place might be taken for a delimiter
        if memmem(p, end - p, PyBytes_AS_STRING(boundary), PyBytes_GET_SIZE(boundary)) != NULL:
            return _fail(out, PEEK_TYPE, p - data)
        out.model_start = p - data
        out.model_end = end - data
    elif known == STREAM:
        out.stream = _same(p, end - p, b"true", 4) or _same(p, end - p, b"1", 1)
    elif end > p:
        out.choices = min(max(read_amount(p, end), <int64_t>1), MOST_CHOICES)
    return PEEK_OK


cdef const char* _next_delimiter(const char* p, const char* end, const char* mark, Py_ssize_t length) noexcept nogil:
    """Return where the next delimiter begins, NULL = there is none, or what is one for readers of bare line breaks."""
    cdef const char* found
    cdef const char* at = p
    while True:
        found = <const char*>memmem(at, end - at, mark + 2, length - 2)
        if found == NULL or found - p < 2:
            return NULL
        if found[-1] == c"\n" and found[-2] == c"\r":
            return found - 2
        if found[-1] == c"\n" or found[-1] == c"\r":
            return NULL
        at = found + 1


cdef int peek_form(const char* data, Py_ssize_t size, bytes boundary, Kind kind, Peek* out, Media* media) noexcept:
    cdef bytes delimiter = b"\r\n--" + boundary
    cdef const char* mark = PyBytes_AS_STRING(delimiter)
    cdef Py_ssize_t length = PyBytes_GET_SIZE(delimiter)
    cdef const char* end = data + size
    cdef const char* p = data
    cdef const char* stop
    cdef Part part
    cdef int known, seen = 0, parts = 0
    cdef Py_ssize_t text = 0
    begin_peek(out)
    memset(media, 0, sizeof(Media))
    if size < length or memcmp(p, mark + 2, length - 2) != 0:
        return _fail(out, PEEK_MALFORMED, 0)        # a preamble is allowed, but no client sends one
    p += length - 2
    while True:
        if end - p >= 2 and p[0] == c"-" and p[1] == c"-":
            break
        if end - p < 2 or p[0] != c"\r" or p[1] != c"\n" or parts == MOST_PARTS:
            return _fail(out, PEEK_MALFORMED, p - data)
        parts += 1
        stop = p
        p = _read_head(p + 2, end, &part)
        if p == NULL:
            return _fail(out, PEEK_MALFORMED, stop - data)
        # the line break before the delimiter may be that which ends the head
        stop = _next_delimiter(p - 2, end, mark, length)
        if stop == NULL or stop < p:
            return _fail(out, PEEK_MALFORMED, p - data)
        known = _known(&part)
        if known != OTHER:
            if seen & known:
                return _fail(out, PEEK_DUPLICATE, p - data)
            seen |= known
            if _take(out, known, &part, data, p, stop, boundary) != PEEK_OK:
                return out.error
        elif part.is_file:
            add_file(media, kind, stop - p, stop - p >= 4 and memcmp(p, b"RIFF", 4) == 0)
        elif _is_text(&part):
            text += stop - p
        p = stop + length
    p += 2
    if end - p > 2 or (end - p == 2 and (p[0] != c"\r" or p[1] != c"\n")) or end - p == 1:
        return _fail(out, PEEK_MALFORMED, p - data)
    media.size = size - text
    return PEEK_OK


cdef bytes with_model_part(bytes form, bytes boundary, bytes name, Peek* out):
    cdef bytes part = b"--" + boundary + b'\r\nContent-Disposition: form-data; name="model"\r\n\r\n'
    out.model_start = PyBytes_GET_SIZE(part)
    out.model_end = out.model_start + PyBytes_GET_SIZE(name)
    return b"".join((part, name, b"\r\n", form))


def find_boundary(bytes content_type not None):
    """``boundary_of`` for tests."""
    return boundary_of(content_type)


def read_form(bytes form not None, bytes boundary not None):
    """Return (PeekError, offset of the fault, model or None, whether a stream is asked for, bytes that are no text)."""
    cdef Peek out
    cdef Media media
    peek_form(PyBytes_AS_STRING(form), PyBytes_GET_SIZE(form), boundary, FILE, &out, &media)
    model = None if out.error or out.model_start < 0 else form[out.model_start:out.model_end]
    return out.error, out.error_at, model, bool(out.stream), media.size


def name_model(bytes form not None, bytes boundary not None, bytes name not None):
    """Return (a form with a part that names the model, offsets of the name)."""
    cdef Peek out
    form = with_model_part(form, boundary, name, &out)
    return form, out.model_start, out.model_end
