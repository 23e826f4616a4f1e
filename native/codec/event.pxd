"""Collects the facts in the data of one event of a streamed response, in one pass and for every dialect (sans-I/O).

Dialects: OpenAI chat, completions, responses, Anthropic messages, Gemini generateContent, vLLM and OpenRouter errors.
Borrows the buffer and allocates nothing."""

from libc.stdint cimport int64_t, uint64_t
from native.codec.json_walk cimport Scan, Text
from native.codec.usage cimport Usage

cdef enum:                  # the facts in the data of one event, as bits
    HAS_CONTENT = 1
    HAS_FINISH = 2
    HAS_ERROR = 4
    HAS_TYPE = 8
    DELTA_SPEAKS = 16       # a delta with content
    DELTA_HOLLOW = 32       # a delta with an empty text
    DONE_SPEAKS = 64        # the text of a Responses "….done" event
    BLOCK_SPEAKS = 128      # an Anthropic content block that starts with more than an empty text
    HAS_CALL = 256          # a part of a tool call
    HAS_CHOICES = 512       # a choice of OpenAI's dialects

cdef struct Facts:
    int has
    int64_t said            # bytes of text in its content, or that cost as much (native.codec.spoken)
    bint repeats            # what it says was said in deltas before
    uint64_t[2] choices     # one bit per index of the choices in it, and of those that end in it; 127 and more share one
    uint64_t[2] ended
    bint keeps              # set by the caller: look for the text in Gemini's parts, too
    const char* text        # the text for the reader, as JSON has it between its quotes; NULL = there is none
    Py_ssize_t text_length
    bint other              # it holds content besides that text
    Usage usage
    Text type

# Walk the value at p. A truncated top-level member sets no bit in facts.has.
cdef const char* walk_event(const char* p, Scan* scan, Facts* facts) noexcept nogil
