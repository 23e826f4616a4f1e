"""Lays out the fields of outgoing HTTP/2 heads and trailers for libnghttp2, without a copy where a borrow is safe."""

from native.http.nghttp2 cimport nghttp2_nv

cdef class FieldWriter:
    """The field lists of one connection."""
    cdef list borrowed              # lists of fields that the session points into until it has written them
    cdef int sent_names             # name_bit() of the names that have been sent on this connection
    # Field names are lower case. The list is borrowed until release() and must not change. Returns the next index.
    cdef int add_fields(self, nghttp2_nv* pairs, int at, list fields) except -1
    cdef int release(self) except -1        # everything submitted has been written

# The value is copied; the name must be a constant and is borrowed. Returns the next index.
cdef int add_pair(nghttp2_nv* pairs, int at, bytes name, bytes value) except -1
cdef nghttp2_nv* scratch_pairs(Py_ssize_t count) except NULL    # valid until the next call: the session copies the array
