"""Reads the model and other options of a model request from its JSON body, in one pass (sans-I/O).

Borrows the buffer and allocates nothing; offsets point into the buffer. Strict about structure: RFC 8259, nesting at
most 128, UTF-8 not validated inside strings (passed through byte for byte)."""

from libc.stdint cimport int64_t
from native.codec.media cimport Media
from native.codec.turns cimport Turns

cpdef enum PeekError:
    PEEK_OK = 0
    PEEK_MALFORMED = 1      # not one JSON value with only white space around it
    PEEK_NOT_OBJECT = 2
    PEEK_DUPLICATE = 3      # a known top-level key occurs twice, or in another case: readers could disagree
    PEEK_TYPE = 4           # "model" not a string, "stream" not a boolean
    PEEK_DEPTH = 5
    PEEK_LONG_NAME = 6      # "model" has more than MODEL_LONGEST bytes, by its length alone; the rest is not read

cdef enum:
    # Bytes of a model's name in UTF-8. No provider's name has a tenth of that. JSON escapes a byte in six at most.
    MODEL_LONGEST = 512
    MODEL_LONGEST_ESCAPED = 6 * 512

cdef struct Peek:
    int error               # enum PeekError
    Py_ssize_t error_at     # byte offset of the first fault
    Py_ssize_t model_start  # first byte inside the quotes; -1 = no model
    Py_ssize_t model_end    # the closing quote
    bint model_escaped      # the name has backslash escapes
    int stream              # 1 true, 0 false or absent
    bint structured         # the answer has to fit a schema, or to be JSON
    bint tools              # it offers tools
    bint reasons            # it asks for reasoning
    int store, background   # 1 true, 0 false (background: or null), -1 absent or something else
    int64_t max_tokens      # the largest of max_tokens, max_completion_tokens, max_output_tokens; -1 = none
    int include_usage       # stream_options.include_usage: 1 true, 0 false or absent
    int64_t choices         # how many answers are asked for: n or best_of, for each prompt; at least 1
    Py_ssize_t object_at    # behind the brace that opens the body
    Py_ssize_t options_start, options_end   # the value of stream_options; -1 = absent
    Py_ssize_t include_start, include_end   # the value of stream_options.include_usage; -1 = absent
    Py_ssize_t previous_start, previous_end     # the text of previous_response_id; -1 = absent, or no text
    Py_ssize_t conversation_start, conversation_end     # the value of conversation; -1 = absent

# Sets what a body without any option says.
cdef void begin_peek(Peek* out) noexcept nogil
# Returns a JSON body with a first member that names the model, which is in JSON's escapes, and sets the offsets of the name.
cdef bytes with_model(bytes body, bytes name, Peek* out)
# Returns out.error. media: receives the pictures, sound and files of messages and input; turns: receives their
# fingerprints; NULL = nobody asks.
cdef int peek_request(const char* data, Py_ssize_t size, Peek* out, Media* media, Turns* turns=*) noexcept nogil
# Returns the body with stream_options.include_usage set to true, and the rest of it as it is.
cdef bytes with_usage(bytes body, const Peek* peek)
