"""Recognises an event that differs from the one before in its text alone, as most events of a stream do (sans-I/O).

What stands around the text is compared and not parsed again. The text is walked as a JSON string and checked as UTF-8."""

from native.codec.event cimport Facts

cdef enum:
    LONGEST_TEXT = 62               # 64 with its quotes; of a longer one it counts what it begins with (native.codec.spoken)

cdef class RepeatedEvent:
    cdef bytes event                # the data of the last event of this kind; None = there was none
    cdef Py_ssize_t before          # bytes of it up to its text, the opening quote included
    cdef Py_ssize_t behind          # bytes of it from the closing quote on
    cdef int bits                   # what it says
    cdef int misses                 # events in a row that were remembered and did not come again
    # Returns the bits of an event of this kind, and sets the facts of its text; 0 = it has to be classified.
    cdef int recognise(self, const char* data, const char* end, Facts* facts) noexcept
    # Remembers an event that was classified as whole, if it is nothing but text. ``facts`` are its facts. Copies the data.
    cdef int remember(self, const char* data, const char* end, int bits, const Facts* facts) except -1
