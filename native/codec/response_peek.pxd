"""Reads the error and the usage of a complete (not streamed) model response from its JSON body, in one pass (sans-I/O).

Borrows the buffer and allocates nothing. Grammar: RFC 8259, nesting at most 128."""

from native.codec.usage cimport Usage

cdef struct Verdict:
    bint valid              # one well-formed JSON value
    bint is_object
    bint has_error          # a top-level "error" that is not empty, or "object":"error" (vLLM), and no non-empty
                            # "choices"/"output"/"data"/"content"; or such an "error" with "status":"failed"; or an
                            # "error" that is an object, there or in a choice; or a choice's finish_reason "error"
    Usage usage             # from "usage" or "x_groq"

cdef int peek_response(const char* data, Py_ssize_t size, Verdict* out) noexcept nogil     # returns out.valid
