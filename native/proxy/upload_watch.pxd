"""Watches the progress of an upload: the bytes that the target has not taken must become fewer."""

from libc.stdint cimport uint64_t

cdef struct UploadWatch:
    uint64_t blocked_ns     # since when the target has taken nothing; 0 = it is not blocked
    uint64_t seen_ns        # when the progress was last checked
    Py_ssize_t untaken      # bytes not taken at that time

cdef void upload_blocked(UploadWatch* watch, Py_ssize_t untaken, uint64_t now_ns) noexcept nogil
# Check the progress: True = nothing was taken for ``limit_ns``. moved: receives whether there was any since the last
# check.
cdef bint upload_stuck(UploadWatch* watch, Py_ssize_t untaken, uint64_t limit_ns, uint64_t now_ns, bint* moved) noexcept nogil
