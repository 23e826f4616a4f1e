"""How is a target asked, and how long is it waited for?  From the connection to the first word of an answer, and how
long the silence after it may be."""

from libc.stdint cimport uint64_t
from native.proxy.accounting cimport AttemptCore

cdef class Asking(AttemptCore):
    cdef begin(self)
    cdef forward(self, list fields)
    cdef push_body(self)
    cdef asked(self)
    cdef note_own(self, uint64_t now)
    cdef block(self)
    cdef bint owes(self) noexcept   # it is the target's turn, not that of a client whose request is not here whole
    cdef bint stuck(self, uint64_t now)
    cdef uint64_t patience(self, uint64_t deadline_ns) noexcept
    cdef uint64_t next_deadline(self) noexcept
    cdef bint overdue(self, uint64_t now)
