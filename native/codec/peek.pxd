"""What does this JSON body ask for, without parsing it?  One pass, no allocation, strict about structure.

Borrows the buffer; offsets point into it. Grammar: RFC 8259, nesting at most 128, UTF-8 not validated inside strings
(passed through byte for byte)."""

from libc.stdint cimport int64_t
from native.codec.json_walk cimport skip_space, skip_string, skip_value    # for whoever looks on from where a peek left off

cpdef enum PeekError:
    PEEK_OK = 0
    PEEK_MALFORMED = 1      # not one JSON value with only white space around it
    PEEK_NOT_OBJECT = 2
    PEEK_DUPLICATE = 3      # a top-level key that we act on twice, however spelled: readers could disagree
    PEEK_TYPE = 4           # "model" not a string, "stream" not a boolean
    PEEK_DEPTH = 5

cdef struct Peek:
    int error               # enum PeekError
    Py_ssize_t error_at     # byte offset of the first fault
    Py_ssize_t model_start  # first byte inside the quotes; -1 = no model
    Py_ssize_t model_end    # the closing quote
    bint model_escaped      # the name holds backslash escapes
    int stream              # 1 true, 0 false or absent
    int64_t max_tokens      # the largest of max_tokens, max_completion_tokens, max_output_tokens; -1 = none
    int include_usage       # stream_options.include_usage: 1 true, 0 false or absent

cdef int peek_request(const char* data, Py_ssize_t size, Peek* out) noexcept nogil
cdef struct Verdict:
    bint valid              # one well-formed JSON value
    bint is_object
    bint has_error          # a top-level "error" that says something, or "object":"error" (vLLM), and no non-empty
                            # "choices"/"output"/"data"/"content"; or such an "error" with "status":"failed"
    int64_t prompt_tokens   # from "usage" (prompt_tokens or input_tokens); -1 = absent
    int64_t output_tokens   # completion_tokens or output_tokens
cdef int peek_answer(const char* data, Py_ssize_t size, Verdict* out) noexcept nogil

# body[:start] + replacement + body[end:]; ValueError if the range lies outside
cdef bytes splice(bytes body, Py_ssize_t start, Py_ssize_t end, bytes replacement)
cdef bytes escape_json(bytes utf8)      # the content of a JSON string, without its quotes; itself if plain
cdef bytes unescape_json(bytes raw)     # UTF-8; itself if plain; None for lone surrogates and what no JSON string holds
