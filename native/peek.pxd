"""What does this JSON body ask for, without parsing it?  One pass, no allocation, strict about structure.

Borrows the buffer; offsets point into it. Grammar: RFC 8259, nesting at most 128, UTF-8 not validated inside strings
(passed through byte for byte)."""

from libc.stdint cimport int64_t
from libc.string cimport memcmp

cpdef enum PeekError:
    PEEK_OK = 0
    PEEK_MALFORMED = 1      # not one JSON value with only white space around it
    PEEK_NOT_OBJECT = 2
    PEEK_DUPLICATE = 3      # a top-level "model", "stream" or "max_tokens" twice: two readers could disagree
    PEEK_TYPE = 4           # "model" not a string, "stream" not a boolean
    PEEK_DEPTH = 5

cdef struct Peek:
    int error               # enum PeekError
    Py_ssize_t error_at     # byte offset of the first fault
    Py_ssize_t model_start  # first byte inside the quotes; -1 = no model
    Py_ssize_t model_end    # the closing quote
    bint model_escaped      # the name holds backslash escapes
    int stream              # 1 true, 0 false or absent
    int64_t max_tokens      # max_tokens, max_completion_tokens or max_output_tokens; -1 = absent
    int include_usage       # stream_options.include_usage: 1 true, 0 false or absent

cdef int peek_request(const char* data, Py_ssize_t size, Peek* out) noexcept nogil
cdef struct Verdict:
    bint valid              # one well-formed JSON value
    bint is_object
    bint has_error          # object with a top-level "error" that says something, or "object":"error" (vLLM), and no non-empty
                            # "choices"/"output"/"data"/"content"; or such an "error" with "status":"failed" (Responses API)
    int64_t prompt_tokens   # from "usage" (prompt_tokens or input_tokens); -1 = absent
    int64_t output_tokens   # completion_tokens or output_tokens
cdef int peek_answer(const char* data, Py_ssize_t size, Verdict* out) noexcept nogil

# scanning primitives, shared with sse: each takes p < end and returns the position after, or NULL on a fault
cdef const char* skip_space(const char* p, const char* end) noexcept nogil
cdef const char* skip_string(const char* p, const char* end) noexcept nogil
cdef const char* skip_value(const char* p, const char* end, int depth) noexcept nogil

# The same walk with the place and the kind of the fault. Each returns the position after what it took, or NULL with
# ``fault_at`` and ``fault`` set. depth = arrays and objects already open around p.
cdef struct Scan:
    const char* start
    const char* end
    const char* fault_at
    int fault               # enum PeekError

cdef struct Text:           # a JSON string as a reader sees it; never copy the struct: ``at`` may point into ``room``
    const char* at          # in place when it holds no escape, else decoded into room; NULL after the last member
    Py_ssize_t size         # -1: escaped, and too long or not ASCII: equal to none of our words
    char[64] room

cdef const char* walk_value(const char* p, Scan* scan, int depth) noexcept nogil
cdef const char* take_text(const char* p, Scan* scan, Text* text) noexcept nogil
# From after "{", or after a member's value, to the next member's value; key.at is NULL when the object has ended.
cdef const char* next_member(const char* p, Scan* scan, bint first, Text* key) noexcept nogil
# The same for an array, to the next element; ended is set when there is none.
cdef const char* next_element(const char* p, Scan* scan, bint first, bint* ended) noexcept nogil
# A number that is a plain integer, saturated at INT64_MAX; -1 for anything else, negative ones included.
cdef int64_t read_count(const char* p, const char* end) noexcept nogil

# Whether the value from p to after says nothing: null, false, "", [] or {}.
cdef bint is_empty(const char* p, const char* after) noexcept nogil

cdef inline bint text_is(const Text* text, const char* word, Py_ssize_t size) noexcept nogil:
    return text.size == size and memcmp(text.at, word, size) == 0

cdef bytes splice(bytes body, Py_ssize_t start, Py_ssize_t end, bytes replacement)   # body[:start] + replacement + body[end:]
cdef bytes escape_json(bytes utf8)      # the content of a JSON string, without its quotes
cdef bytes unescape_json(bytes raw)     # UTF-8; None for lone surrogates and for what no JSON string contains
