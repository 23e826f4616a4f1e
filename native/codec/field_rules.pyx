from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.list cimport PyList_GET_SIZE
from libc.string cimport memcmp
from native.codec.characters cimport IN_HOST, IN_TARGET, char_class, place_class
from native.codec.field_list cimport FieldView, field_at

# The last host that was asked for, as it was written and as it is compared.
cdef bytes LAST_AUTHORITY = None
cdef bytes LAST_HOST = None


cdef bytes field_value(list fields, bytes name):
    cdef FieldView field
    cdef Py_ssize_t size = PyBytes_GET_SIZE(name)
    cdef Py_ssize_t at
    for at in range(PyList_GET_SIZE(fields)):
        if field_at(fields, at, &field) and field.name_size == size and (
            memcmp(field.name, PyBytes_AS_STRING(name), size) == 0
        ):
            return <bytes>(<tuple>fields[at])[1]
    return None


cdef bint sound_target(bytes value) noexcept:
    """Return whether a request target is visible ASCII without a fragment."""
    cdef const unsigned char* p = <const unsigned char*>PyBytes_AS_STRING(value)
    cdef Py_ssize_t i
    for i in range(PyBytes_GET_SIZE(value)):
        if not char_class[p[i]] & IN_TARGET:
            return False
    return True


cdef bint sound_host(bytes value) noexcept:
    """Return whether a host is a reg-name, an IPv4 or a bracketed IPv6 address, with an optional port."""
    cdef const unsigned char* p = <const unsigned char*>PyBytes_AS_STRING(value)
    cdef Py_ssize_t size = PyBytes_GET_SIZE(value)
    cdef Py_ssize_t i = 0
    cdef Py_ssize_t colon = -1
    cdef unsigned char c
    cdef bint bracketed = size > 0 and p[0] == c"["
    cdef bint closed = False
    if size == 0:
        return False
    while i < size and place_class[p[i]] & IN_HOST:
        i += 1
    for i in range(i, size):
        c = p[i]
        if c == c"[":
            if i != 0:
                return False
        elif c == c"]":
            if not bracketed or closed:
                return False
            closed = True
        elif c == c":":
            if bracketed and not closed:
                continue
            if colon >= 0 or i == 0:
                return False
            colon = i
        elif colon >= 0:
            if c < c"0" or c > c"9":
                return False
        elif bracketed and closed or not place_class[c] & IN_HOST:
            return False
    return not bracketed or closed


cdef bytes host_of(bytes authority):
    """Return the host in lower case, without the port and without the dot that ends a full name (RFC 1034 3.1)."""
    global LAST_AUTHORITY, LAST_HOST
    if authority is not LAST_AUTHORITY:     # HTTP/2 keeps a field that comes again as one object
        LAST_HOST = _without_port(authority.lower() if has_capitals(authority) else authority)
        LAST_AUTHORITY = authority
    return LAST_HOST


cdef bint has_capitals(bytes text) noexcept:
    cdef const char* p = PyBytes_AS_STRING(text)
    cdef Py_ssize_t i
    for i in range(PyBytes_GET_SIZE(text)):
        if c"A" <= p[i] <= c"Z":
            return True
    return False


cdef bytes _without_port(bytes text):
    cdef const char* p = PyBytes_AS_STRING(text)
    cdef Py_ssize_t size = PyBytes_GET_SIZE(text)
    cdef Py_ssize_t colon = size - 1
    if size and p[size - 1] != c"]":        # which ends an IPv6 address without a port
        while colon > 0 and p[colon] != c":":
            colon -= 1
        if colon > 0:
            size = colon
    if size and p[size - 1] == c".":
        size -= 1
    return text if size == PyBytes_GET_SIZE(text) else PyBytes_FromStringAndSize(p, size)
