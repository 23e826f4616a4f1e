"""Decodes compressed bodies: gzip, deflate, zstd and br (no I/O).

What comes out is bounded: a body may not be more than a hundred times as large as what has come, beyond the first MiB."""

cdef class Decoder:
    """Decodes one body, in pieces of any size."""
    cdef object engine          # of the library; None = none was needed yet
    cdef object fresh           # makes the engine of the next member
    cdef Py_ssize_t members
    cdef bint _begin_member(self) except -1
    cdef int kind
    cdef bint bounded           # the engine takes a limit of output
    cdef Py_ssize_t taken, given    # bytes in and out
    # Return what this piece decodes to, or None if the body is broken or expands too much; ``limit``: of all bytes out.
    cdef bytes feed(self, bytes data, Py_ssize_t limit)
    cdef bint is_complete(self)     # the body has ended where its coding says
    cdef bytes _feed_bounded(self, bytes data, Py_ssize_t limit)
    cdef bytes _feed_sliced(self, bytes data, Py_ssize_t limit)
    cdef bint _too_much(self, Py_ssize_t limit) noexcept

cdef Decoder new_decoder(bytes coding)      # None = edge cannot decode this coding
cdef bytes CODINGS                          # those that it can, for Accept-Encoding
