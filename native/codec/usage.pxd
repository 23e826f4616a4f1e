"""Reads the token counts of a usage object, with the names of every dialect (sans-I/O).

Names: OpenAI chat and completions (prompt_tokens, completion_tokens), OpenAI responses and Anthropic (input_tokens,
output_tokens), Gemini (promptTokenCount, candidatesTokenCount)."""

from libc.stdint cimport int64_t
from native.codec.json_walk cimport Scan, Text

cdef struct Usage:
    int64_t prompt_tokens       # -1 = not seen
    int64_t output_tokens

# Reads the usage object at p; a count that is not a plain integer is ignored.
cdef const char* walk_usage(const char* p, Scan* scan, int depth, Usage* usage) noexcept nogil
