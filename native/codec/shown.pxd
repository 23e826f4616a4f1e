"""Keeps the plain text that a stream has shown, so that another target can go on with it (sans-I/O)."""

from native.codec.event cimport Facts

cdef class Shown:
    """The text of one stream, as JSON has it between the quotes of a string; copied, and bounded."""
    cdef char* at
    cdef Py_ssize_t size, room
    cdef Py_ssize_t limit           # bytes; a longer text is not kept
    cdef readonly bint spoiled      # something else than one text was shown, or too much of it
    cdef bint halted                # what comes now is not shown
    cdef readonly bint finished     # the text is complete, or its block is: nothing may be added to it
    cdef int parts                  # items or blocks that have begun, where the dialect counts them
    # Add what one event of a stream shows. bits: its native.codec.event_kind.Said.
    cdef int note(self, const Facts* facts, int bits) except -1
    cdef void spoil(self) noexcept
    cdef bytes take(self)           # a copy of the text so far
    cdef int _note_typed(self, const Facts* facts, int bits) except -1
    cdef int _add(self, const char* text, Py_ssize_t length) except -1

cdef Shown new_shown()
