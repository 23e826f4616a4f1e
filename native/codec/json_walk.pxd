"""Walks JSON without building objects, for the peeks and the event reader (sans-I/O).

Borrows the buffer and allocates nothing. Grammar: RFC 8259, nesting at most 128, UTF-8 not validated inside strings
(passed through byte for byte). Each step returns the position behind the text that it consumed, or NULL with the fault
noted in the Scan. depth = arrays and objects already open around p."""

from libc.stdint cimport int64_t
from libc.string cimport memcmp

cdef enum:                  # what stopped a walk; the numbers are those of request_peek.PeekError
    WALK_OK = 0
    WALK_MALFORMED = 1
    WALK_DEPTH = 5

cdef struct Scan:
    const char* start
    const char* end
    const char* fault_at
    int fault

cdef struct Text:           # a decoded JSON string; never copy the struct, because ``at`` may point into ``room``
    const char* quote       # the opening quote, in place
    const char* at          # in place if the string has no escape, else decoded into room; NULL after the last member
    Py_ssize_t size         # -1 = escaped, and too long or not ASCII: text_is() is False for every word
    char[64] room

# Called with p at a value; returns the position behind the value. The key is NULL for the elements of an array.
ctypedef const char* (*Visit)(
    const char* p, Scan* scan, const Text* key, int depth, void* into
) noexcept nogil

cdef void begin(Scan* scan, const char* data, Py_ssize_t size) noexcept nogil
cdef const char* fail(Scan* scan, const char* at, int fault) noexcept nogil
cdef bint at_end(const char* p, Scan* scan) noexcept nogil     # p is not NULL, and only white space follows it
cdef const char* skip_space(const char* p, const char* end) noexcept nogil
cdef const char* walk_value(const char* p, Scan* scan, int depth) noexcept nogil
# Visit each member of the object (each element of the array) at p; a value of another type is walked without visits.
cdef const char* walk_members(const char* p, Scan* scan, int depth, Visit visit, void* into) noexcept nogil
cdef const char* walk_elements(const char* p, Scan* scan, int depth, Visit visit, void* into) noexcept nogil
# p is at the opening quote; sets ``escaped``, but never clears it
cdef const char* walk_string(const char* p, Scan* scan, bint* escaped) noexcept nogil
cdef const char* take_text(const char* p, Scan* scan, Text* text) noexcept nogil
# Reads a number that is a plain integer, saturated at INT64_MAX; -1 = anything else, negative numbers included.
cdef int64_t read_count(const char* p, const char* end) noexcept nogil
# Returns whether the value from p to after is null, false, "", [] or {}.
cdef bint is_empty(const char* p, const char* after) noexcept nogil

cdef inline bint text_is(const Text* text, const char* word, Py_ssize_t size) noexcept nogil:
    return text.size == size and memcmp(text.at, word, size) == 0
