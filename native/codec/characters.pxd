"""Declares the character classes of HTTP/1.1; characters.h says which each is. There is no module at run time."""

cdef extern from "native/codec/characters.h" nogil:
    const unsigned char[256] token_char "edge_token"    # in lower case; 0 = no character of a token
    const unsigned char[256] char_class "edge_class"    # IN_VALUE, IN_TARGET and IN_QUOTES, or'ed
    const unsigned char[256] place_class "edge_place"   # IN_PATH and IN_HOST, or'ed
    enum:
        IN_VALUE "EDGE_IN_VALUE"
        IN_TARGET "EDGE_IN_TARGET"
        IN_QUOTES "EDGE_IN_QUOTES"
        IN_PATH "EDGE_IN_PATH"
        IN_HOST "EDGE_IN_HOST"
    Py_ssize_t value_end "edge_value_end" (const unsigned char* p, Py_ssize_t at, Py_ssize_t end) noexcept
    Py_ssize_t name_end "edge_name_end" (const unsigned char* p, Py_ssize_t at, Py_ssize_t end) noexcept
