"""Watches whether a target takes an upload: bytes that it has still to take must become fewer."""

from libc.stdint cimport uint64_t

cdef struct UploadWatch:
    uint64_t blocked_ns     # since when the target has taken nothing; 0 = it takes what comes
    uint64_t seen_ns        # when that was last looked at
    Py_ssize_t untaken      # bytes that it had still to take then

cdef void upload_blocked(UploadWatch* watch, Py_ssize_t untaken, uint64_t now_ns) noexcept nogil
# Look at it: True = nothing was taken for ``limit_ns``. moved: receives whether something was taken since the last look.
cdef bint upload_stuck(UploadWatch* watch, Py_ssize_t untaken, uint64_t limit_ns, uint64_t now_ns, bint* moved) noexcept nogil
