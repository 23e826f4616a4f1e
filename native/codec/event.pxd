"""Collects the facts in the data of one event of a streamed response, in one walk, for every dialect (sans-I/O).

Shapes: OpenAI chat, completions and responses, Anthropic messages, Gemini generateContent, vLLM and OpenRouter errors.
Borrows the buffer, allocates nothing."""

from native.codec.json_walk cimport Scan, Text
from native.codec.usage cimport Usage

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
    Usage usage
    Text type

# Walk the value at p. A top-level member that breaks off leaves no bit in facts.has.
cdef const char* walk_event(const char* p, Scan* scan, Facts* facts) noexcept nogil
