"""Classifies one event of a streamed response as preamble, content, error or end (sans-I/O)."""

from native.codec.event cimport Facts
from native.codec.json_walk cimport Text

cpdef enum Said:            # bits
    SAID_COMMENT = 1        # ": keep-alive", empty lines
    SAID_PREAMBLE = 2       # an event without content: role only, response.created, message_start, ping, usage only
    SAID_CONTENT = 4        # text, reasoning, refusal, tool call or audio: the commit point
    SAID_ERROR = 8          # {"error": ...}, {"object":"error"}, event: error, response.failed; alone, or with SAID_GARBAGE
    SAID_FINISH = 16        # finish_reason, message_stop, response.completed / incomplete; may come without any content
    SAID_DONE = 32          # data: [DONE]
    SAID_ERROR_FIRST = 64   # the error arrived before any content
    SAID_GARBAGE = 128      # data that is no JSON object in UTF-8 and not [DONE]; the only other bit with it is SAID_ERROR
    SAID_CALL = 256         # a part of a tool call
    SAID_CHOICES = 512      # choices as OpenAI's dialects have them, whose streams end with [DONE]

# Returns whether this is UTF-8 (RFC 3629).
cdef bint is_utf8(const unsigned char* p, const unsigned char* end) noexcept nogil
# Returns the bits (Said) of one event, from its data and its event name. whole = False: the data was truncated.
cdef int classify(const char* data, const char* end, const Text* name, bint whole, Facts* facts) noexcept nogil
