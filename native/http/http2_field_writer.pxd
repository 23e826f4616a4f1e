"""Lays out the fields of outgoing HTTP/2 heads and trailers as libnghttp2 takes them, without copying what it may borrow."""

from native.http.nghttp2 cimport nghttp2_nv

cdef class FieldWriter:
    """The field lists of one connection."""
    cdef list borrowed              # lists of fields that the session points into until it has written them
    cdef int sent_names             # a bit per name whose value differs in each message and that has been sent here
    # Lower-case names. The list is borrowed until release(): nobody changes it. Returns the next place.
    cdef int add_fields(self, nghttp2_nv* pairs, int at, list fields) except -1
    cdef void release(self)         # everything submitted has been written

# The value is copied; the name is a constant, and is not. Returns the next place.
cdef int add_pair(nghttp2_nv* pairs, int at, bytes name, bytes value) except -1
cdef nghttp2_nv* scratch_pairs(Py_ssize_t count) except NULL    # valid until the next call: the session copies the array
