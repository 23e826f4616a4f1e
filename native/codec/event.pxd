"""What does the data of one event hold?  One walk over a chunk of a streamed answer, in any dialect we know.

Shapes: OpenAI chat, completions and responses, Anthropic messages, Gemini generateContent, vLLM and OpenRouter errors.
Borrows the buffer, allocates nothing."""

from libc.stdint cimport int64_t
from native.codec.json_walk cimport Scan, Text

cdef enum:                  # what the members of one event's data add up to
    HAS_CONTENT = 1
    HAS_FINISH = 2
    HAS_ERROR = 4
    HAS_TYPE = 8
    DELTA_SPEAKS = 16       # a delta with something in it
    DELTA_HOLLOW = 32       # a delta whose text is there and empty
    DONE_SPEAKS = 64        # the text of a Responses "….done" event
    BLOCK_SPEAKS = 128      # an Anthropic content block that starts as more than an empty text

cdef struct Facts:
    int has
    int64_t prompt_tokens, output_tokens
    Text type

# The members of the top-level object; p is after its brace. A member that breaks off leaves no bit in facts.has.
cdef const char* walk_event(const char* p, Scan* scan, Facts* facts) noexcept nogil
