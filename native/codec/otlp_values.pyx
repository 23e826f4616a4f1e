from cpython.unicode cimport PyUnicode_AsUTF8AndSize
from native.codec.hex cimport hex_digit


cdef bytes text_key(str name):
    cdef bytes written = name.encode()
    return bytes((KEY, len(written))) + written


cdef bytes number_key(str name):
    cdef bytes key = text_key(name)
    return bytes((ATTRIBUTES, len(key) + 11)) + key + bytes((VALUE, 9, NUMBER))


cdef int read_id(str text, int size, char* out) except -1:
    cdef Py_ssize_t length = 0
    cdef const char* p = PyUnicode_AsUTF8AndSize(text, &length)
    cdef int i, high, low
    if length != 2 * size:
        raise ValueError(f"an id of {length} digits, not {2 * size}")
    for i in range(size):
        high = hex_digit(p[2 * i])
        low = hex_digit(p[2 * i + 1])
        if high < 0 or low < 0:
            raise ValueError(f"{text!r} is no id: it takes lower-case hexadecimal digits")
        out[i] = <char>(high << 4 | low)
    return 0
